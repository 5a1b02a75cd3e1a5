/** ICMPv6 errors: those of others about our flows, translated with what they quote, and our own. */
import { describe, expect, test } from "vitest";
import { pattern, SYN } from "../support/packets.ts";
import {
  echo6,
  fragmentsOf6,
  HOP_BY_HOP,
  icmpError6,
  ip6,
  padding,
  parse6,
  partialVnet6,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { client6, openRig6, otherServer6, type Rig, server6, uplinkAddresses6 } from "./rig.ts";

const mapped = uplinkAddresses6[0]!;
const hop = "2001:db8:77::1";
const ends = { source: `[${client6}]:5000`, destination: `[${server6}]:53` };

/** What quotes a packet need not have all of it. */
function quotedOf(packet: Uint8Array) {
  const padded = packet.slice();
  new DataView(padded.buffer).setUint16(4, padded.length - 40);
  return parse6(padded);
}

const packets: [string, Uint8Array][] = [
  ["UDP", udp6({ ...ends, data: pattern(100) })],
  ["UDP behind options", udp6({ ...ends, data: pattern(20), extensions: [padding(HOP_BY_HOP)] })],
  ["TCP", tcp6({ ...ends, flags: SYN, data: pattern(30) })],
  ["a ping", echo6({ source: client6, destination: server6, identifier: 77, data: pattern(40) })],
  ["GRE", ip6({ source: client6, destination: server6, protocol: 47, payload: pattern(50) })],
];

describe.each(packets)("about %s", (name, packet) => {
  test("an error from outside comes in to the host that sent it, quoting what it sent", () => {
    for (const [type, code] of [
      [1, 4],
      [2, 0],
      [3, 0],
      [4, 1],
    ] as const) {
      const rig = openRig6();
      const left = rig.outOne6(packet);
      const error = { source: hop, destination: mapped, type, code, mtu: type === 2 ? 1400 : 0 };
      const told = rig.inOne6(icmpError6({ ...error, quoted: left.bytes }));
      expect(told).toMatchObject({ source: hop, destination: client6, type, code, checksumOk: true });
      expect(told.mtu).toBe(error.mtu);
      expect(Buffer.from(told.data).toString("hex")).toBe(Buffer.from(packet).toString("hex"));
    }
  });

  test("an error that quotes as little as 8 bytes behind the headers is translated too", () => {
    const rig = openRig6();
    const left = rig.outOne6(packet);
    const quoted = left.bytes.slice(0, left.l4 + 8);
    const told = rig.inOne6(icmpError6({ source: hop, destination: mapped, type: 1, quoted }));
    expect(told.checksumOk).toBe(true);
    const [seen, sent] = [quotedOf(told.data), quotedOf(packet.slice(0, left.l4 + 8))];
    expect([seen.source, seen.sourcePort, seen.identifier]).toEqual([sent.source, sent.sourcePort, sent.identifier]);
    const less = left.bytes.slice(0, left.l4 + 7);
    expect(rig.in6(icmpError6({ source: hop, destination: mapped, type: 1, quoted: less }))).toEqual([]);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 1 });
  });

  test("an error from inside goes out with the mapped source, quoting what the remote sent", () => {
    const rig = openRig6();
    const left = rig.outOne6(packet);
    const back = { source: left.destination, destination: left.source };
    let answer: Uint8Array;
    if (name === "a ping") answer = echo6({ ...back, type: 129, identifier: left.identifier, data: pattern(8) });
    else if (name === "GRE") answer = ip6({ ...back, protocol: left.protocol, payload: left.payload });
    else {
      const to = { source: `[${server6}]:53`, destination: `[${mapped}]:${left.sourcePort}` };
      answer = name === "TCP" ? tcp6({ ...to, flags: SYN | 16, acknowledgment: 32 }) : udp6(to);
    }
    const arrived = rig.inOne6(answer);
    // The router's own kernel, whose address is another one, says so.
    const error = { source: "fd00:10::1", destination: server6, type: 1, code: 4, quoted: arrived.bytes };
    const told = rig.outOne6(icmpError6(error));
    expect(told).toMatchObject({ source: mapped, destination: server6, type: 1, code: 4, checksumOk: true });
    expect(Buffer.from(told.data).toString("hex")).toBe(Buffer.from(answer).toString("hex"));
  });
});

describe("an error", () => {
  function asked(rig: Rig) {
    return rig.outOne6(udp6({ ...ends, data: pattern(8) }));
  }

  test("that is about no flow, or for another than the flow's address, or on another uplink, is dropped", () => {
    const rig = openRig6({ links: [14, 14] });
    const { bytes } = asked(rig);
    const error = { source: hop, destination: mapped, type: 1, quoted: bytes };
    const strange = udp6({ source: `[${mapped}]:99`, destination: `[${server6}]:53`, data: pattern(8) });
    rig.in6(icmpError6({ ...error, quoted: strange }));
    rig.in6(icmpError6({ ...error, destination: uplinkAddresses6[1]! }));
    rig.in6(icmpError6({ ...error, quoted: bytes.slice(0, 39) }));
    rig.in6(icmpError6({ ...error, quoted: pattern(60) }));
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 4 });
    rig.in6(icmpError6(error), 1);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 4, "wrong-uplink": 1 });
  });

  test("with a wrong checksum is dropped", () => {
    const rig = openRig6();
    const { bytes } = asked(rig);
    rig.in6(icmpError6({ source: hop, destination: mapped, type: 1, quoted: bytes, checksum: "wrong" }));
    expect(rig.drops).toEqual({ "icmp-checksum": 1 });
  });

  test("neither ends nor refreshes a flow (RFC 5508, REQ-6)", () => {
    const rig = openRig6();
    const { bytes } = asked(rig);
    rig.pass(200_000);
    rig.inOne6(icmpError6({ source: hop, destination: mapped, type: 1, quoted: bytes }));
    expect(rig.openFlows).toBe(1);
    rig.pass(102_000);
    expect(rig.openFlows).toBe(0);
  });

  test("that asks for packets smaller than every link takes, asks for 1280 bytes (RFC 8201)", () => {
    const rig = openRig6();
    const { bytes } = asked(rig);
    const error = { source: hop, destination: mapped, type: 2, quoted: bytes };
    for (const [mtu, expected] of [
      [0, 1280],
      [1279, 1280],
      [1280, 1280],
      [1499, 1499],
    ] as const)
      expect(rig.inOne6(icmpError6({ ...error, mtu }))).toMatchObject({ mtu: expected, checksumOk: true });
  });

  test("about a later fragment is dropped: it names no flow", () => {
    const rig = openRig6();
    asked(rig);
    const whole = udp6({ source: `[${mapped}]:5000`, destination: `[${server6}]:53`, data: pattern(2000) });
    const quoted = fragmentsOf6(whole, 1000)[1]!;
    rig.in6(icmpError6({ source: hop, destination: mapped, type: 3, quoted }));
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 1 });
  });
});

describe("our own", () => {
  test("'packet too big' tells the MTU, from the uplink's address, and quotes what fits 1280 bytes", () => {
    const rig = openRig6({ mtu: 1400 });
    const packet = udp6({ ...ends, data: pattern(1353) });
    expect(rig.out6(packet)).toEqual([]);
    const [told] = rig.left6(-1);
    expect(told).toMatchObject({ source: mapped, destination: client6, type: 2, code: 0, mtu: 1400, checksumOk: true });
    expect(told!.bytes).toHaveLength(1280);
    expect(told!.data).toEqual(packet.slice(0, 1232));
    expect(rig.drops).toEqual({ "too-big": 1 });
    expect(rig.out6(udp6({ ...ends, data: pattern(1352) }))).toHaveLength(1);
  });

  test("'packet too big' is told about a super-packet whose segments do not fit", () => {
    const rig = openRig6({ mtu: 1400 });
    const packet = udp6({ ...ends, data: pattern(6000), checksum: "partial" });
    expect(rig.out6(packet, 0, partialVnet6(packet, 0, 1353))).toEqual([]);
    expect(rig.left6(-1)).toMatchObject([{ type: 2, mtu: 1400 }]);
    expect(rig.out6(packet, 0, partialVnet6(packet, 0, 1352))).toHaveLength(1);
  });

  test("'prohibited' is told to a host that has its share of flows", () => {
    const rig = openRig6({ flowsPerHost: 1, flows: 8 });
    // One that is answered gives way to nobody.
    const left = rig.outOne6(udp6(ends));
    rig.inOne6(udp6({ source: ends.destination, destination: `[${mapped}]:${left.sourcePort}` }));
    rig.out6(udp6({ ...ends, destination: `[${otherServer6}]:53` }));
    expect(rig.left6(-1)).toMatchObject([{ type: 1, code: 1, destination: client6, checksumOk: true }]);
    expect(rig.drops).toEqual({ "host-flow-limit": 1 });
  });

  test("are told at a limited rate", () => {
    const rig = openRig6({ mtu: 1400, receiveSlots: 128, scratchSlots: 128 });
    const packet = udp6({ ...ends, data: pattern(1400) });
    rig.out6(Array.from({ length: 100 }, () => packet));
    expect(rig.left6(-1)).toHaveLength(50);
  });
});
