/**
 * Protocols without a port that a translator could change: GRE, ESP, SCTP and whatever there is. The address alone is
 * translated, so one host inside at a time can talk to a remote by such a protocol.
 */
import { describe, expect, test } from "vitest";
import { counter } from "../../src/tables/shared-state.ts";
import {
  DCCP,
  ESP,
  fragmentsOf,
  GRE,
  icmpError,
  ip,
  layer4Checksum,
  parse,
  pattern,
  reassemble,
  SCTP,
  UDP_LITE,
  words,
} from "../support/packets.ts";
import { client, openWorkers, otherClient, otherServer, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const hop = "198.51.100.77";

interface Fields {
  protocol?: number;
  source?: string;
  destination?: string;
  payload?: Uint8Array;
}

function out({ protocol = GRE, source = client, destination = server, payload = pattern(40) }: Fields = {}) {
  return ip({ protocol, source, destination, payload });
}

function back({ protocol = GRE, source = server, destination = mapped, payload = pattern(60, 9) }: Fields = {}) {
  return ip({ protocol, source, destination, payload });
}

/** A datagram of a protocol whose checksum, at the place of UDP's, covers the addresses. */
function checked(protocol: number, source: string, destination: string, data: Uint8Array): Uint8Array {
  const payload = Uint8Array.from([...words(0x1234, 0x5678, 0, 0), ...data]);
  const checksum = layer4Checksum(payload, protocol, source, destination);
  payload.set(words(protocol === UDP_LITE && checksum === 0 ? 0xffff : checksum), 6);
  return ip({ protocol, source, destination, payload });
}

describe.each([
  ["GRE", GRE],
  ["ESP", ESP],
  ["SCTP", SCTP],
  ["IP in IP", 4],
  ["IPv6 in IP", 41],
  ["an unknown protocol", 253],
])("%s", (_, protocol) => {
  test("goes out from the uplink's address and comes back to its host, nothing else touched", () => {
    const rig = new Rig();
    const sent = out({ protocol, payload: pattern(1000, 3) });
    expect(rig.outOne(sent)).toMatchObject({
      source: mapped,
      destination: server,
      protocol,
      payload: pattern(1000, 3),
    });
    expect(rig.inOne(back({ protocol }))).toMatchObject({
      source: server,
      destination: client,
      payload: pattern(60, 9),
    });
    expect(rig.counter(counter.flowsOther)).toBe(1);
    expect(rig.openFlows).toBe(1);
  });

  test("may be of any length, none included", () => {
    const rig = new Rig();
    expect(rig.outOne(out({ protocol, payload: new Uint8Array() })).bytes).toHaveLength(20);
    expect(rig.inOne(back({ protocol, payload: Uint8Array.of(1) })).payload).toEqual(Uint8Array.of(1));
  });

  test("of a second host to the same remote is a counted drop, to another remote it is none", () => {
    const rig = new Rig();
    rig.outOne(out({ protocol }));
    expect(rig.out(out({ protocol, source: otherClient }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "protocol-clash": 1 });
    expect(rig.left(-1), "no error: the host could do nothing about it").toHaveLength(0);
    expect(rig.outOne(out({ protocol, source: otherClient, destination: otherServer })).source).toBe(mapped);
    expect(rig.inOne(back({ protocol })).destination).toBe(client);
    expect(rig.inOne(back({ protocol, source: otherServer })).destination).toBe(otherClient);
  });

  test("from somebody who was not asked is dropped in silence", () => {
    const rig = new Rig();
    expect(rig.in(back({ protocol }))).toHaveLength(0);
    rig.outOne(out({ protocol }));
    expect(rig.in(back({ protocol, source: otherServer }))).toHaveLength(0);
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 2 });
    expect(rig.openFlows).toBe(1);
  });
});

test("protocols do not clash with each other, nor with what has ports", () => {
  const rig = new Rig();
  for (const [i, protocol] of [GRE, ESP, SCTP, UDP_LITE].entries()) {
    rig.outOne(out({ protocol, source: `192.168.10.${10 + i}` }));
  }
  for (const [i, protocol] of [GRE, ESP, SCTP, UDP_LITE].entries()) {
    expect(rig.inOne(back({ protocol })).destination).toBe(`192.168.10.${10 + i}`);
  }
});

test("two hosts may use two uplinks towards one remote, and an answer on the wrong one is dropped", () => {
  const rig = new Rig({ links: [14, 14] });
  rig.steerTo(0);
  rig.outOne(out(), 0);
  rig.steerTo(1);
  expect(rig.outOne(out({ source: otherClient }), 1).source).toBe(uplinkAddresses[1]);
  expect(rig.inOne(back({ destination: uplinkAddresses[0]! }), 0).destination).toBe(client);
  expect(rig.inOne(back({ destination: uplinkAddresses[1]! }), 1).destination).toBe(otherClient);
  expect(rig.in(back({ destination: uplinkAddresses[0]! }), 1)).toHaveLength(0);
  expect(rig.drops).toEqual({ "wrong-uplink": 1 });
});

test("a host keeps its remote until it has been silent for the timeout of such protocols, either side counting", () => {
  const rig = new Rig();
  rig.outOne(out());
  rig.pass(599_000);
  rig.inOne(back());
  rig.pass(599_000);
  expect(rig.out(out({ source: otherClient }))).toHaveLength(0);
  rig.pass(2000);
  expect(rig.openFlows).toBe(0);
  expect(rig.outOne(out({ source: otherClient })).source).toBe(mapped);
  expect(rig.inOne(back()).destination).toBe(otherClient);
});

describe.each([
  ["UDP-Lite", UDP_LITE],
  ["DCCP", DCCP],
])("%s", (_, protocol) => {
  test("has a checksum over the addresses, which stays right both ways", () => {
    const rig = new Rig();
    const asked = rig.outOne(checked(protocol, client, server, pattern(300)));
    expect(asked.source).toBe(mapped);
    expect(layer4Checksum(asked.payload, protocol, mapped, server)).toBe(0);
    const answered = rig.inOne(checked(protocol, server, mapped, pattern(21)));
    expect(layer4Checksum(answered.payload, protocol, server, client)).toBe(0);
  });

  test("with a wrong checksum goes on with a wrong one", () => {
    const rig = new Rig();
    const broken = checked(protocol, client, server, pattern(300));
    broken[40]! ^= 1;
    expect(layer4Checksum(rig.outOne(broken).payload, protocol, mapped, server)).not.toBe(0);
  });

  test("never goes out with a checksum of 0, which UDP-Lite forbids", () => {
    const rig = new Rig();
    // As translated, without data, it would have this checksum; with that as data, 0.
    const sum = layer4Checksum(Uint8Array.from([...words(0x1234, 0x5678, 0, 0, 0)]), protocol, mapped, server);
    const left = rig.outOne(checked(protocol, client, server, words(sum)));
    expect(left.payload.slice(6, 8)).toEqual(words(0xffff));
    expect(layer4Checksum(left.payload, protocol, mapped, server)).toBe(0);
  });
});

describe("fragments", () => {
  test("of such protocols follow their first, both ways and in any order", () => {
    const rig = new Rig();
    const asked = rig.out(fragmentsOf(out({ protocol: ESP, payload: pattern(4000) }), 1480).reverse());
    const whole = parse(reassemble(asked.map(({ bytes }) => bytes)));
    expect(whole).toMatchObject({ source: mapped, payload: pattern(4000) });
    const answered = rig.in(fragmentsOf(back({ protocol: ESP, payload: pattern(3000) }), 1480).reverse());
    expect(parse(reassemble(answered.map(({ bytes }) => bytes)))).toMatchObject({ destination: client });
  });

  test("are cut here where the uplink is too narrow and DF is not set, and refused where it is", () => {
    const rig = new Rig({ mtu: 1400 });
    expect(rig.out(out({ payload: pattern(1450) }))).toHaveLength(2);
    const fields = parse(out({ payload: pattern(1450) }));
    expect(rig.out(ip({ ...fields, dontFragment: true }))).toHaveLength(0);
    expect(rig.left(-1)[0]).toMatchObject({ type: 3, code: 4, destination: client });
  });

  test("stay with the worker that the kernel brings them to: such protocols have one owner", () => {
    const [first, second] = openWorkers(2);
    for (const piece of fragmentsOf(out({ payload: pattern(4000) }), 1480).reverse()) first!.injectInside(piece);
    first!.run();
    expect(first!.left(0)).toHaveLength(3);
    expect(first!.woken).toEqual([]);
    second!.run();
    expect(second!.openFlows).toBe(0);
  });
});

describe("an ICMP error", () => {
  test("from outside reaches the host, about the packet as it sent it", () => {
    const rig = new Rig();
    const left = rig.outOne(out({ protocol: ESP, payload: pattern(700) }));
    for (const bytes of [28, left.bytes.length]) {
      const quoted = left.bytes.slice(0, bytes);
      const error = icmpError({ source: hop, destination: mapped, type: 3, code: 4, nextHopMtu: 1300, quoted });
      const arrived = rig.inOne(error);
      expect(arrived).toMatchObject({ source: hop, destination: client, type: 3, code: 4, checksumOk: true });
      expect([...arrived.data.slice(12, 20)]).toEqual([192, 168, 10, 2, 192, 0, 2, 10]);
      expect(arrived.data.slice(20)).toEqual(pattern(700).slice(0, bytes - 20));
    }
  });

  test("from the inside goes out from the uplink's address, about the packet as the remote sent it", () => {
    const rig = new Rig();
    rig.outOne(out({ protocol: ESP }));
    const answer = back({ protocol: ESP });
    const quoted = rig.inOne(answer).bytes;
    const error = rig.outOne(icmpError({ source: client, destination: server, type: 3, code: 2, quoted }));
    expect(error).toMatchObject({ source: mapped, type: 3, code: 2, checksumOk: true });
    expect(error.data).toEqual(answer);
  });

  test("about a protocol that nobody uses towards that remote is dropped", () => {
    const rig = new Rig();
    const left = rig.outOne(out({ protocol: ESP }));
    const quoted = ip({ ...left, protocol: GRE });
    expect(rig.in(icmpError({ source: hop, destination: mapped, type: 3, quoted }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 1 });
  });
});

test("a vnet header that wants a checksum finished or a segmentation is refused: no card can", () => {
  const rig = new Rig();
  rig.out(out(), 0, { flags: 1, checksumStart: 20, checksumOffset: 6 });
  rig.out(out(), 0, { flags: 1, gsoType: 1, gsoSize: 100, checksumStart: 20, checksumOffset: 16 });
  expect(rig.drops).toEqual({ "vnet-header": 2 });
});
