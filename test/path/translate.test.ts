/** What becomes of one packet and its answer: the addresses, the ports, the checksums and everything else. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ACK,
  type Checksum,
  echo,
  finishPartial,
  type ParsedPacket,
  PSH,
  parse,
  partialVnet,
  pattern,
  SYN,
  tcp,
  UDP,
  udp,
} from "../support/packets.ts";
import { client, firstPort, linkHeader, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;

describe("a packet from the inside", () => {
  test("leaves with the uplink's address and a port of the range, for the same destination", () => {
    const left = new Rig().outOne(udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(30) }));
    expect(left).toMatchObject({ source: mapped, destination: server, destinationPort: 53, checksumOk: true });
    expect(left.sourcePort).toBeGreaterThanOrEqual(firstPort);
    expect(left.sourcePort).toBeLessThan(firstPort + 1024);
    expect(left.data).toEqual(pattern(30));
  });

  test("carries the Ethernet header of its uplink", () => {
    const rig = new Rig({ links: [14, 14] });
    const packet = (port: number) => udp({ source: `${client}:${port}`, destination: `${server}:53` });
    expect(rig.outOne(packet(5000), 0).ethernet).toEqual(linkHeader(0));
    rig.steerTo(1);
    expect(rig.outOne(packet(5001), 1).ethernet).toEqual(linkHeader(1));
  });

  test("has no MAC header on a point-to-point uplink", () => {
    const rig = new Rig({ links: [0] });
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(5) }));
    expect(left.ethernet).toHaveLength(0);
    expect(left).toMatchObject({ source: mapped, destination: server, checksumOk: true });
    const answer = udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data: pattern(9) });
    expect(rig.inOne(answer)).toMatchObject({ destination: client, destinationPort: 5000, data: pattern(9) });
  });

  test("keeps its time to live, which the kernel counts, and its type of service and options", () => {
    const options = Uint8Array.of(148, 4, 0, 0, 1); // router alert and a no-operation
    const packet = udp({ source: `${client}:5000`, destination: `${server}:53`, ttl: 7, tos: 0xb9, options });
    expect(new Rig().outOne(packet)).toMatchObject({ ttl: 7, tos: 0xb9, options: parse(packet).options });
  });

  test("loses the trailer that a link has padded it with", () => {
    const rig = new Rig();
    const padded = new Uint8Array(46).fill(0xaa);
    const packet = udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(2) });
    padded.set(packet);
    expect(rig.outOne(padded).bytes).toHaveLength(packet.length);
  });
});

describe("an answer", () => {
  test("comes back to the host and the port that asked", () => {
    const rig = new Rig();
    const asked = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const answer = udp({ source: `${server}:53`, destination: `${mapped}:${asked.sourcePort}`, data: pattern(100) });
    expect(rig.inOne(answer)).toMatchObject({
      source: server,
      sourcePort: 53,
      destination: client,
      destinationPort: 5000,
      checksumOk: true,
      data: pattern(100),
    });
  });

  test("of a ping has the identifier that the client chose, zero included", () => {
    const rig = new Rig();
    for (const identifier of [0, 1, 0xffff]) {
      const asked = rig.outOne(echo({ source: client, destination: server, identifier, sequence: 9 }));
      expect(asked).toMatchObject({ source: mapped, destination: server, type: 8, checksumOk: true });
      const answer = echo({ source: server, destination: mapped, type: 0, identifier: asked.identifier, sequence: 9 });
      expect(rig.inOne(answer)).toMatchObject({ destination: client, type: 0, identifier, checksumOk: true });
    }
  });

  test("of a timestamp query is translated like that of a ping", () => {
    const rig = new Rig();
    const asked = rig.outOne(
      echo({ source: client, destination: server, type: 13, identifier: 77, data: pattern(12) }),
    );
    const { identifier } = asked;
    const answer = echo({ source: server, destination: mapped, type: 14, identifier, data: pattern(12, 3) });
    expect(rig.inOne(answer)).toMatchObject({ destination: client, type: 14, identifier: 77, checksumOk: true });
  });
});

interface Sample {
  protocol: "tcp" | "udp" | "echo";
  inside: string;
  remote: string;
  data: Uint8Array;
  answer: Uint8Array;
  checksum: Checksum;
  options: Uint8Array;
  tos: number;
  ttl: number;
  identification: number;
  dontFragment: boolean;
}

const port = fc.integer({ min: 1, max: 65_535 });
const byte = fc.integer({ min: 0, max: 255 });
const sample: fc.Arbitrary<Sample> = fc.record({
  protocol: fc.constantFrom("tcp", "udp", "echo"),
  inside: fc.tuple(byte, port).map(([host, number]) => `192.168.10.${host}:${number}`),
  remote: fc.tuple(byte, port).map(([host, number]) => `192.0.2.${host}:${number}`),
  data: fc.uint8Array({ maxLength: 1400 }),
  answer: fc.uint8Array({ maxLength: 1400 }),
  checksum: fc.constantFrom<Checksum>("right", "right", "partial", "none", "wrong"),
  options: fc.constantFrom(
    new Uint8Array(),
    Uint8Array.of(1, 1, 1, 0),
    Uint8Array.of(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0),
  ),
  tos: byte,
  ttl: fc.integer({ min: 1, max: 255 }),
  identification: fc.integer({ min: 0, max: 65_535 }),
  dontFragment: fc.boolean(),
});

describe("any packet", () => {
  const rigs = [new Rig({ flows: 8192, lastPort: 32_767, mtu: 1600 }), new Rig({ links: [0], flows: 8192, mtu: 1600 })];

  test("comes back as it went when its answer is translated in reverse", () => {
    const check = (given: Sample, isEthernet: boolean) => {
      const rig = rigs[isEthernet ? 0 : 1]!;
      const out = build(given, given.inside, given.remote, given.data, true);
      const outVnet = given.checksum === "partial" && given.protocol !== "echo" ? partialVnet(out) : {};
      const left = rig.outOne(out, 0, outVnet);
      expectOnlyMoved(parse(out), left, given);
      // Without DF it gets another, as the datagrams of many hosts have one source now (RFC 6864, section 5.3).
      if (given.dontFragment) expect(left.identification).toBe(given.identification);
      expect(left.source).toBe(mapped);
      expect(endpointOf(left, "destination")).toBe(given.protocol === "echo" ? addressOf(given.remote) : given.remote);

      const outside = `${mapped}:${given.protocol === "echo" ? left.identifier : left.sourcePort}`;
      const back = build(given, given.remote, outside, given.answer, false);
      const backVnet =
        given.checksum === "partial" && given.protocol !== "echo" ? partialVnet(back, rig.links[0]!) : {};
      const arrived = rig.inOne(back, 0, backVnet);
      expectOnlyMoved(parse(back), arrived, given);
      expect(arrived.identification).toBe(given.identification);
      expect(arrived.destination).toBe(addressOf(given.inside));
      if (given.protocol === "echo") expect(arrived.identifier).toBe(Number(given.inside.split(":")[1]));
      else expect(endpointOf(arrived, "destination")).toBe(given.inside);
    };
    fc.assert(fc.property(sample, fc.boolean(), check), { numRuns: 1500 });
  });
});

/** One packet of the sample's connection; `isOut` says whether it asks or answers. */
function build(given: Sample, source: string, destination: string, data: Uint8Array, isOut: boolean): Uint8Array {
  const { checksum, options, tos, ttl, identification, dontFragment } = given;
  const header = { options, tos, ttl, identification, dontFragment, data };
  if (given.protocol === "udp") return udp({ ...header, source, destination, checksum });
  if (given.protocol === "tcp") {
    const flags = isOut ? SYN : SYN | ACK | PSH;
    return tcp({ ...header, source, destination, checksum: checksum === "none" ? "right" : checksum, flags });
  }
  const identifier = Number((isOut ? source : destination).split(":")[1]);
  const type = isOut ? 8 : 0;
  return echo({ ...header, source: addressOf(source), destination: addressOf(destination), type, identifier });
}

/** Everything but addresses, ports, identification and checksums stands as it was, and a checksum is as good as it was. */
function expectOnlyMoved(before: ParsedPacket, after: ParsedPacket & { bytes: Uint8Array }, given: Sample): void {
  const kept = ({ tos, ttl, dontFragment, options, flags, type, code, data }: ParsedPacket) => {
    return { tos, ttl, dontFragment, options, flags, type, code, data };
  };
  expect(kept(after)).toEqual(kept(before));
  if (given.checksum === "partial" && given.protocol !== "echo") {
    expect(after.checksumOk).toBe(false);
    expect(parse(finishPartial(after.bytes)).checksumOk).toBe(true);
  } else expect(after.checksumOk).toBe(before.checksumOk);
  if (before.protocol === UDP) expect(after.checksum === 0).toBe(before.checksum === 0);
}

function endpointOf(packet: ParsedPacket, side: "source" | "destination"): string {
  const isEcho = packet.sourcePort === 0;
  return isEcho ? packet[side] : `${packet[side]}:${side === "source" ? packet.sourcePort : packet.destinationPort}`;
}

function addressOf(text: string): string {
  return text.split(":")[0]!;
}
