/**
 * Two properties of any sequence of packets from both sides, under every kind of mapping and filtering, with so few
 * ports and rows that they run out: what is translated and turned round comes back as it went, and no two live flows
 * share an external tuple. A failure names the seed and the shortest sequence that does it.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { checkInvariants, openFlows } from "../model/invariants.ts";
import {
  ACK,
  addressNumber,
  echo,
  finishPartial,
  GRE,
  ICMP,
  ip,
  type ParsedPacket,
  parse,
  partialVnet,
  pattern,
  RST,
  SYN,
  TCP,
  tcp,
  UDP,
  UDP_LITE,
  udp,
} from "../support/packets.ts";
import { firstPort, type Left, Rig, uplinkAddresses } from "./rig.ts";

const ports = 5;
const forwards = [
  { uplinks: 3, protocol: TCP, firstPort: 8080, lastPort: 8081, to: addressNumber("192.168.10.2"), toPort: 1 },
  { uplinks: 1, protocol: UDP, firstPort: 8080, lastPort: 8080, to: addressNumber("192.168.10.3"), toPort: 53 },
];

interface Packet {
  protocol: number;
  /** Of the inside and the remote end: host within its network, and port. */
  inside: number;
  insidePort: number;
  remote: number;
  remotePort: number;
  /** Which uplink the scheduler names, or a knock comes in by. */
  uplink: number;
  bytes: number;
  /** The checksum is left to the card. */
  isPartial: boolean;
  dontFragment: boolean;
}

const packet: fc.Arbitrary<Packet> = fc.record({
  protocol: fc.constantFrom(TCP, TCP, TCP, UDP, UDP, ICMP, GRE, UDP_LITE),
  inside: fc.integer({ min: 2, max: 4 }),
  insidePort: fc.constantFrom(1, 2, 53),
  remote: fc.integer({ min: 1, max: 3 }),
  remotePort: fc.constantFrom(80, 81),
  uplink: fc.integer({ min: 0, max: 1 }),
  bytes: fc.integer({ min: 0, max: 60 }),
  isPartial: fc.boolean(),
  dontFragment: fc.boolean(),
});

/** The inside asks; somebody outside knocks at a port, forwarded, of the range or none; time passes; a TCP end gives up. */
const step = fc.oneof(
  { weight: 6, arbitrary: packet.map((each) => ({ kind: "ask" as const, ...each })) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        packet,
        fc.constantFrom(TCP, UDP),
        fc.oneof(
          fc.constantFrom(8080, 8081, 8082),
          fc.nat(ports).map((i) => firstPort + i),
        ),
      )
      .map(([each, protocol, port]) => ({ kind: "knock" as const, ...each, protocol, port })),
  },
  { weight: 1, arbitrary: packet.map((each) => ({ kind: "reset" as const, ...each })) },
  { weight: 1, arbitrary: fc.constantFrom(1000, 100_000, 250_000).map((ms) => ({ kind: "pass" as const, ms })) },
);

const configuration = fc.record({
  endpointIndependent: fc.boolean(),
  filtering: fc.constantFrom(...Object.values(filtering)),
  flows: fc.constantFrom(6, 1000),
  flowsPerHost: fc.constantFrom(4, 1000),
  seed: fc.nat(),
});

function build(given: Packet, source: string, destination: string, isAnswer: boolean): Uint8Array {
  const { protocol, bytes, dontFragment } = given;
  const isPartial = given.isPartial && (protocol === TCP || protocol === UDP);
  const fields = { source, destination, data: pattern(bytes), dontFragment, identification: 7 };
  const checksum = isPartial ? "partial" : "right";
  if (protocol === TCP) {
    // The answer acknowledges the one byte of the SYN and what came with it.
    const numbers = isAnswer ? { sequence: 500, acknowledgment: 101 + bytes } : { sequence: 100 };
    return tcp({ ...fields, ...numbers, checksum, flags: isAnswer ? SYN | ACK : SYN });
  }
  if (protocol === UDP) return udp({ ...fields, checksum });
  const [from, to] = [hostOf(source), hostOf(destination)];
  if (protocol !== ICMP)
    return ip({ ...fields, source: from, destination: to, protocol, payload: pattern(bytes + 8, protocol) });
  const identifier = Number((isAnswer ? destination : source).split(":")[1]);
  return echo({ ...fields, source: from, destination: to, identifier, type: isAnswer ? 0 : 8 });
}

class Story {
  readonly rig: Rig;

  constructor(options: {
    seed: number;
    endpointIndependent: boolean;
    filtering: number;
    flows: number;
    flowsPerHost: number;
  }) {
    this.rig = new Rig({ ...options, links: [14, 0], lastPort: firstPort + ports - 1, forwards });
  }

  ask(given: Packet): void {
    const { rig } = this;
    rig.steerTo(given.uplink);
    const source = `192.168.10.${given.inside}:${given.insidePort}`;
    const destination = `192.0.2.${given.remote}:${given.remotePort}`;
    const sent = build(given, source, destination, false);
    this.#inject(-1, sent, given);
    const [uplink, left] = this.#whatLeft();
    if (left === undefined) return;
    expectSame(left, parse(sent), given, "source");
    expect(left.source).toBe(uplinkAddresses[uplink]);

    const mapped = `${left.source}:${left.protocol === ICMP ? left.identifier : left.sourcePort}`;
    const answer = build(given, destination, mapped, true);
    this.#inject(uplink, answer, given);
    const [arrived, ...more] = rig.left(-1);
    expect(more).toHaveLength(0);
    if (arrived === undefined)
      throw new Error(`the answer to ${source} did not come back: ${JSON.stringify(rig.drops)}`);
    expectSame(arrived, parse(answer), given, "destination");
    expect(endpointOf(arrived, "destination")).toBe(endpointOf(parse(sent), "source"));
    // And the other way round, the question's own way, again.
    this.#inject(-1, sent, given);
    const [again, second] = this.#whatLeft();
    expect([again, endpointOf(second!, "source")]).toEqual([uplink, endpointOf(left, "source")]);
  }

  knock(given: Packet, port: number): void {
    const { rig } = this;
    const source = `192.0.2.${given.remote}:${given.remotePort}`;
    const destination = `${uplinkAddresses[given.uplink]}:${port}`;
    const sent = build(given, source, destination, false);
    this.#inject(given.uplink, sent, given);
    const [arrived] = rig.left(-1);
    if (arrived === undefined) return;
    expectSame(arrived, parse(sent), given, "destination");
    const inside = endpointOf(arrived, "destination");
    const answer = build(given, inside, source, true);
    this.#inject(-1, answer, given);
    const [uplink, left] = this.#whatLeft();
    if (left === undefined) throw new Error(`the answer to ${source} did not leave: ${JSON.stringify(rig.drops)}`);
    expect([uplink, endpointOf(left, "source")]).toEqual([given.uplink, destination]);
    expectSame(left, parse(answer), given, "source");
  }

  /** A TCP connection that there may be is given up, so that its port and row may be had by others. */
  reset({ inside, insidePort, remote, remotePort }: Packet): void {
    const source = `192.168.10.${inside}:${insidePort}`;
    this.rig.out(tcp({ source, destination: `192.0.2.${remote}:${remotePort}`, flags: RST, sequence: 101 }));
    this.#whatLeft();
    this.rig.left(-1);
  }

  check(): void {
    const { rig } = this;
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
    const tuples = openFlows(rig.forwarder.conntrack).map(
      ({ protocol, remote, remotePort, mapped, mappedPort }) =>
        `${protocol} ${remote}:${remotePort} ${mapped}:${mappedPort}`,
    );
    expect(new Set(tuples).size, "no two flows share an external tuple").toBe(tuples.length);
  }

  #inject(uplink: number, bytes: Uint8Array, given: Packet): void {
    const isPartial = given.isPartial && (given.protocol === TCP || given.protocol === UDP);
    if (uplink < 0) this.rig.injectInside(bytes, isPartial ? partialVnet(bytes) : {});
    else this.rig.injectUplink(uplink, bytes, isPartial ? partialVnet(bytes, this.rig.links[uplink]) : {});
    this.rig.run();
  }

  /** The one packet that left on an uplink, and on which; whatever went inside (a refusal) is taken away when there is none. */
  #whatLeft(): [number, Left | undefined] {
    for (const uplink of [0, 1]) {
      const left = this.rig.left(uplink);
      expect(left.length).toBeLessThanOrEqual(1);
      if (left.length === 1) return [uplink, left[0]];
    }
    this.rig.left(-1);
    return [-1, undefined];
  }
}

/** Nothing but one endpoint, the checksums and, on the way out, the identification of what may be cut has changed. */
function expectSame(after: Left, before: ParsedPacket, given: Packet, side: "source" | "destination"): void {
  const other = side === "source" ? "destination" : "source";
  expect(endpointOf(after, other)).toBe(endpointOf(before, other));
  const kept = ({ protocol, ttl, tos, flags, type, code, data, dontFragment }: ParsedPacket) =>
    JSON.stringify([protocol, ttl, tos, flags, type, code, dontFragment, Buffer.from(data).toString("hex")]);
  // UDP-Lite has a checksum within what counts as data here.
  if (given.protocol !== UDP_LITE) expect(kept(after)).toBe(kept(before));
  if (side === "destination" || given.dontFragment) expect(after.identification).toBe(before.identification);
  if (given.protocol === GRE || given.protocol === UDP_LITE) return;
  const isPartial = given.isPartial && given.protocol !== ICMP;
  expect(parse(isPartial ? finishPartial(after.bytes) : after.bytes).checksumOk, "checksum").toBe(true);
}

function endpointOf(packet: ParsedPacket, side: "source" | "destination"): string {
  const port = side === "source" ? packet.sourcePort : packet.destinationPort;
  return `${packet[side]}:${packet.protocol === ICMP && packet.type === (side === "source" ? 8 : 0) ? packet.identifier : port}`;
}

function hostOf(text: string): string {
  return text.split(":")[0]!;
}

describe("whatever comes from either side", () => {
  test("is translated and turned round as it went, and no two live flows share an external tuple", () => {
    fc.assert(
      fc.property(configuration, fc.array(step, { minLength: 25, maxLength: 60 }), (options, steps) => {
        const story = new Story(options);
        for (const each of steps) {
          if (each.kind === "ask") story.ask(each);
          else if (each.kind === "knock") story.knock(each, each.port);
          else if (each.kind === "reset") story.reset(each);
          else story.rig.pass(each.ms);
          story.check();
        }
      }),
      { numRuns: 100 },
    );
  });
});
