/** IPv6 between a client and a server, masqueraded behind the uplink's address: what ipv4's tests hold, for the other family. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tcpState } from "../../src/dataplane/tcp-state.ts";
import { counter, noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, type Checksum, FIN, pattern, SYN, UDP_LITE, udp, words } from "../support/packets.ts";
import {
  address6Words,
  DESTINATION_OPTIONS,
  echo6,
  finishPartial6,
  HOP_BY_HOP,
  ip6,
  type ParsedPacket6,
  padding,
  parse6,
  partialVnet6,
  ROUTING,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import {
  client,
  client6,
  firstPort,
  linkHeader6,
  openRig6,
  otherClient6,
  otherServer6,
  server,
  server6,
  uplinkAddresses6,
} from "./rig.ts";

const mapped = uplinkAddresses6[0]!;
const source = `[${client6}]:5000`;
const destination = `[${server6}]:53`;

describe("UDP", () => {
  test("leaves with the uplink's address, a port of the range and a right checksum, and its answer comes back", () => {
    const rig = openRig6();
    const left = rig.outOne6(udp6({ source, destination, data: pattern(33), flowLabel: 0x12345, trafficClass: 0xb9 }));
    expect(left).toMatchObject({ source: mapped, destination: server6, destinationPort: 53, checksumOk: true });
    expect(left.sourcePort).toBeGreaterThanOrEqual(firstPort);
    expect(left).toMatchObject({ flowLabel: 0x12345, trafficClass: 0xb9, hopLimit: 64, data: pattern(33) });
    expect(left.ethernet).toEqual(linkHeader6(0));
    const back = rig.inOne6(
      udp6({ source: destination, destination: `[${mapped}]:${left.sourcePort}`, data: pattern(9) }),
    );
    expect(back).toMatchObject({ source: server6, sourcePort: 53, destination: client6, destinationPort: 5000 });
    expect(back).toMatchObject({ checksumOk: true, data: pattern(9) });
  });

  test("keeps one mapping for all remotes (RFC 4787, REQ-1), whatever the flow label", () => {
    const rig = openRig6();
    const one = rig.outOne6(udp6({ source, destination, flowLabel: 1 }));
    const two = rig.outOne6(udp6({ source, destination: `[${otherServer6}]:53`, flowLabel: 2 }));
    const three = rig.outOne6(udp6({ source, destination, flowLabel: 3 }));
    expect(two.sourcePort).toBe(one.sourcePort);
    expect(three.sourcePort).toBe(one.sourcePort);
    expect(rig.openFlows).toBe(2);
    expect(rig.outOne6(udp6({ source: `[${otherClient6}]:5000`, destination })).sourcePort).not.toBe(one.sourcePort);
  });

  test("of both families takes ports of one pool", () => {
    const rig = openRig6({ lastPort: firstPort + 1 });
    const one = rig.outOne6(udp6({ source, destination }));
    const two = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    expect(new Set([one.sourcePort, two.sourcePort]).size).toBe(2);
  });
});

test("TCP is followed from SYN to FIN, with the MSS clamped to the MTU less 60 on both ways", () => {
  const rig = openRig6({ mtu: 1400 });
  const offer = (mss: number) => words(0x0204, mss);
  const ends = { source, destination: `[${server6}]:80` };
  const left = rig.outOne6(tcp6({ ...ends, flags: SYN, tcpOptions: offer(1440) }));
  expect(left.payload.slice(20, 24)).toEqual(offer(1340));
  expect(left.checksumOk).toBe(true);
  const back = { source: ends.destination, destination: `[${mapped}]:${left.sourcePort}` };
  const answer = rig.inOne6(tcp6({ ...back, flags: SYN | ACK, acknowledgment: 2, tcpOptions: offer(9000) }));
  expect(answer.payload.slice(20, 24)).toEqual(offer(1340));
  expect(answer.checksumOk).toBe(true);
  rig.outOne6(tcp6({ ...ends, sequence: 2, acknowledgment: 2 }));
  expect(rig.forwarder.conntrack.state(1)).toBe(tcpState.established);
  rig.outOne6(tcp6({ ...ends, sequence: 2, acknowledgment: 2, flags: FIN | ACK }));
  rig.inOne6(tcp6({ ...back, sequence: 2, acknowledgment: 3, flags: FIN | ACK }));
  rig.outOne6(tcp6({ ...ends, sequence: 3, acknowledgment: 3 }));
  expect(rig.forwarder.conntrack.state(1)).toBe(tcpState.timeWait);
  rig.pass(250_000);
  expect([rig.openFlows, rig.forwarder.conntrack.names.count]).toEqual([0, 1]);
});

test("a ping is told from others by its identifier, and its answer comes back", () => {
  const rig = openRig6();
  const one = rig.outOne6(echo6({ source: client6, destination: server6, identifier: 7, data: pattern(56) }));
  const two = rig.outOne6(echo6({ source: otherClient6, destination: server6, identifier: 7 }));
  expect(one).toMatchObject({ source: mapped, type: 128, checksumOk: true, data: pattern(56) });
  expect(two.identifier).not.toBe(one.identifier);
  const answer = { source: server6, destination: mapped, type: 129 };
  expect(rig.inOne6(echo6({ ...answer, identifier: two.identifier }))).toMatchObject({
    ...{ destination: otherClient6, type: 129, identifier: 7, checksumOk: true },
  });
  expect(rig.inOne6(echo6({ ...answer, identifier: one.identifier }))).toMatchObject({ destination: client6 });
  expect(rig.counter(counter.flowsIcmp)).toBe(2);
});

test("a protocol without ports is told by its remote, and a second host's is a clash", () => {
  const rig = openRig6();
  const gre = { source: client6, destination: server6, protocol: 47, payload: pattern(40) };
  expect(rig.outOne6(ip6(gre))).toMatchObject({ source: mapped, payload: pattern(40) });
  expect(rig.inOne6(ip6({ ...gre, source: server6, destination: mapped }))).toMatchObject({ destination: client6 });
  rig.out6(ip6({ ...gre, source: otherClient6 }));
  expect(rig.drops).toEqual({ "protocol-clash": 1 });
});

test("UDP-Lite's checksum is kept right, which covers the addresses", () => {
  const rig = openRig6();
  const payload = udp6({ source, destination, data: pattern(20) }).slice(40);
  // With a coverage of 0 its sum is that of UDP, but for the protocol in the pseudo-header and the length's place.
  const ends = { source: client6, destination: server6 };
  const left = rig.outOne6(ip6({ ...ends, protocol: UDP_LITE, payload }));
  const asUdp = parse6(ip6({ source: left.source, destination: server6, protocol: 17, payload: left.payload }));
  expect(asUdp.checksumOk).toBe(true);
});

describe("offloads", () => {
  test.each([
    ["TCP", tcp6({ source, destination: `[${server6}]:80`, data: pattern(40_000), checksum: "partial" }), 1428],
    ["UDP", udp6({ source, destination, data: pattern(12_000), checksum: "partial" }), 1200],
  ])("a super-packet of %s goes out and comes in whole", (name, packet, gsoSize) => {
    const rig = openRig6();
    if (name === "TCP") rig.outOne6(tcp6({ source, destination: `[${server6}]:80`, flags: SYN }));
    const left = rig.outOne6(packet, 0, partialVnet6(packet, 0, gsoSize));
    expect(left.vnet).toEqual(partialVnet6(left.bytes, 14, gsoSize));
    expect(parse6(finishPartial6(left.bytes)).checksumOk).toBe(true);
    const fields = { source: `[${server6}]:${left.destinationPort}`, destination: `[${mapped}]:${left.sourcePort}` };
    const answer = (name === "TCP" ? tcp6 : udp6)({ ...fields, data: pattern(9000), checksum: "partial" });
    const arrived = rig.inOne6(answer, 0, partialVnet6(answer, 14, gsoSize));
    expect(arrived.vnet).toEqual(partialVnet6(arrived.bytes, 0, gsoSize));
    expect(parse6(finishPartial6(arrived.bytes))).toMatchObject({ checksumOk: true, destination: client6 });
    const { txPackets, rxPackets } = rig.uplinkCounters(0);
    expect([txPackets, rxPackets]).toEqual(name === "TCP" ? [1 + 29, 7] : [10, 8]);
  });

  test("a vnet header that speaks of the other family's segments is dropped", () => {
    const rig = openRig6();
    const packet = tcp6({ source, destination, data: pattern(4000), checksum: "partial" });
    rig.out6(packet, 0, { ...partialVnet6(packet, 0, 1400), gsoType: 1 });
    rig.out6(packet, 0, { ...partialVnet6(packet, 0, 1400), checksumStart: 20 });
    expect(rig.drops).toEqual({ "vnet-header": 2 });
  });
});

describe("extension headers", () => {
  test("go along, and what stands behind them is translated", () => {
    const rig = openRig6();
    const extensions = [padding(HOP_BY_HOP), padding(DESTINATION_OPTIONS, 2)];
    const left = rig.outOne6(udp6({ source, destination, extensions, data: pattern(8) }));
    expect(left).toMatchObject({ source: mapped, extensions: [HOP_BY_HOP, DESTINATION_OPTIONS], checksumOk: true });
    const back = { source: destination, destination: `[${mapped}]:${left.sourcePort}`, extensions };
    expect(rig.inOne6(udp6(back))).toMatchObject({ destination: client6, destinationPort: 5000, checksumOk: true });
  });

  test("that route by the source, or make no sense, are dropped", () => {
    const rig = openRig6();
    const left = { kind: ROUTING, bytes: Uint8Array.of(4, 1, 0, 0, 0, 0) };
    rig.out6(udp6({ source, destination, extensions: [left] }));
    rig.out6(udp6({ source, destination, extensions: [{ kind: ROUTING, bytes: new Uint8Array(6) }] }));
    const many = Array.from({ length: 9 }, () => padding(DESTINATION_OPTIONS));
    rig.out6(udp6({ source, destination, extensions: many }));
    rig.out6(ip6({ source: client6, destination: server6, protocol: 59, payload: pattern(4) }));
    expect(rig.drops).toEqual({ "source-route": 2, "extension-header": 1, "protocol-unsupported": 1 });
  });
});

describe("what is of the link, or of nobody,", () => {
  test.each([
    ["a link-local source", "fe80::1", server6, "link-local"],
    ["the unspecified source", "::", server6, "bad-source"],
    ["the loopback", "::1", server6, "bad-source"],
    ["a multicast source", "ff02::1", server6, "bad-source"],
    ["an IPv4 address in disguise", "::ffff:192.0.2.1", server6, "bad-source"],
    ["a link-local destination", client6, "fe80::1", "link-local"],
    ["a multicast destination", client6, "ff02::fb", "bad-destination"],
  ])("%s is dropped, from either side", (_, from, to, reason) => {
    const rig = openRig6();
    const packet = udp6({ source: `[${from}]:1`, destination: `[${to}]:2` });
    expect(rig.out6(packet)).toEqual([]);
    expect(rig.in6(packet)).toEqual([]);
    expect(rig.drops).toEqual({ [reason]: 2 });
  });

  test.each([130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 143])(
    "ICMPv6 of type %i is dropped: neighbour discovery, MLD, redirects and the like",
    (type) => {
      const rig = openRig6();
      const packet = echo6({ source: client6, destination: server6, type });
      expect(rig.out6(packet)).toEqual([]);
      expect(rig.in6(packet)).toEqual([]);
      expect(rig.drops).toEqual({ "icmp-type": 2 });
    },
  );

  test("a source that is the uplink's own address, or the destination's, is dropped", () => {
    const rig = openRig6();
    rig.out6(udp6({ source: `[${mapped}]:1`, destination }));
    rig.out6(udp6({ source: `[${server6}]:1`, destination }));
    rig.in6(udp6({ source: `[${uplinkAddresses6[0]}]:1`, destination: `[${mapped}]:${firstPort}` }));
    expect(rig.drops).toEqual({ "own-address": 1, "bad-source": 2 });
    expect(rig.forwarder.conntrack.names.count).toBe(1);
  });

  test("ICMP of IPv4 in an IPv6 packet is dropped", () => {
    const rig = openRig6();
    rig.out6(ip6({ source: client6, destination: server6, protocol: 1, payload: pattern(8) }));
    expect(rig.drops).toEqual({ "protocol-unsupported": 1 });
  });

  test("a ping with a wrong checksum is dropped", () => {
    const rig = openRig6();
    rig.out6(echo6({ source: client6, destination: server6, checksum: "wrong" }));
    expect(rig.drops).toEqual({ "icmp-checksum": 1 });
  });
});

describe("what nobody asked for", () => {
  test("is dropped, and leaves nothing behind", () => {
    const rig = openRig6();
    const left = rig.outOne6(udp6({ source, destination }));
    const { count } = rig.forwarder.conntrack.names;
    rig.in6(udp6({ source: `[${otherServer6}]:53`, destination: `[${mapped}]:${left.sourcePort}` }));
    rig.in6(tcp6({ source: destination, destination: `[${mapped}]:80`, flags: SYN }));
    rig.in6(echo6({ source: server6, destination: mapped }));
    rig.in6(udp6({ source: destination, destination: `[${client6}]:5000` }));
    expect(rig.drops).toEqual({ unsolicited: 4 });
    expect(rig.forwarder.conntrack.names.count).toBe(count);
  });

  test("is let in where the filtering says so", () => {
    for (const [filtering, fromHost, fromAnybody] of [
      [1, 1, 0],
      [2, 1, 1],
    ] as const) {
      const rig = openRig6({ filtering });
      const left = rig.outOne6(udp6({ source, destination }));
      const to = `[${mapped}]:${left.sourcePort}`;
      expect(rig.in6(udp6({ source: `[${server6}]:99`, destination: to }))).toHaveLength(fromHost);
      expect(rig.in6(udp6({ source: `[${otherServer6}]:99`, destination: to }))).toHaveLength(fromAnybody);
    }
  });

  test("comes in by a forward, to a host inside, and its answer goes out by it", () => {
    const forward = { uplinks: 1, protocol: 6, firstPort: 8080, lastPort: 8089, to: 0, toPort: 80 };
    const rig = openRig6({ forwards: [{ ...forward, to6: address6Words(client6) }] });
    const ask = tcp6({ source: `[${server6}]:4000`, destination: `[${mapped}]:8081`, flags: SYN });
    expect(rig.inOne6(ask)).toMatchObject({ destination: client6, destinationPort: 81, checksumOk: true });
    const answer = tcp6({
      source: `[${client6}]:81`,
      destination: `[${server6}]:4000`,
      flags: SYN | ACK,
      acknowledgment: 2,
    });
    expect(rig.outOne6(answer)).toMatchObject({ source: mapped, sourcePort: 8081, checksumOk: true });
    rig.in6(udp6({ source: `[${server6}]:4000`, destination: `[${mapped}]:8081` }));
    expect(rig.drops).toEqual({ unsolicited: 1 });
  });
});

describe("uplinks", () => {
  test("have a table of their own for IPv6: one without an address gets nothing", () => {
    const rig = openRig6({ links: [14, 14] });
    rig.setUplink(0, { ready6: 0, address6: "" });
    rig.shared.lookups6[0]!.fill(1);
    expect(rig.outOne6(udp6({ source, destination }), 1).source).toBe(uplinkAddresses6[1]);
    expect(rig.outOne(udp({ source: `${client}:1`, destination: `${server}:53` }), 0).source).toBe("203.0.113.2");
  });

  test("by none of which IPv6 can go: the sender is told, from whatever address there is", () => {
    const rig = openRig6({ links: [14, 14] });
    rig.shared.lookups6[0]!.fill(noUplink);
    rig.out6(udp6({ source, destination, data: pattern(2000) }));
    const [told] = rig.left6(-1);
    expect(told).toMatchObject({ source: mapped, destination: client6, type: 1, code: 0, checksumOk: true });
    expect(told!.bytes).toHaveLength(1280);
    expect(rig.drops).toEqual({ "no-uplink": 1 });
    rig.setUplink(0, { address6: "" });
    rig.setUplink(1, { address6: "" });
    rig.out6(udp6({ source, destination }));
    expect(rig.left6(-1)).toEqual([]);
  });

  test("a flow keeps its uplink for life, but for an uplink that has got another address", () => {
    const rig = openRig6({ links: [14, 14] });
    rig.outOne6(udp6({ source, destination }));
    rig.steerTo(1);
    rig.outOne6(udp6({ source, destination }));
    rig.setUplink(0, { address6: "2001:db8:1::99" });
    expect(rig.outOne6(udp6({ source, destination }), 1).source).toBe(uplinkAddresses6[1]);
    expect(rig.openFlows).toBe(1);
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });

  test("an answer by another uplink than the flow's is dropped", () => {
    const rig = openRig6({ links: [14, 14] });
    const left = rig.outOne6(udp6({ source, destination }));
    rig.in6(udp6({ source: destination, destination: `[${mapped}]:${left.sourcePort}` }), 1);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
    expect(rig.uplinkCounters(0).flows).toBe(1);
  });

  test("the balance key is the address and not what it happens to be called", () => {
    const uplinks = (order: number[]) => {
      const rig = openRig6({ links: [14, 14], policy: { ...plainPolicy, balanceKey: 2 }, mtu: 1500 });
      rig.steerTo((hash) => hash & 1);
      const chosen = new Map<number, number>();
      for (const host of order) {
        const left = rig.out6(udp6({ source: `[fd00:10::${host}]:5`, destination }));
        chosen.set(host, left.length === 1 ? 0 : 1);
        rig.left6(1);
      }
      return order.map((_, i) => chosen.get(i + 1));
    };
    const order = Array.from({ length: 40 }, (_, i) => i + 1);
    expect(uplinks(order)).toEqual(uplinks(order.toReversed()));
    expect(new Set(uplinks(order)).size).toBe(2);
  });
});

test("a table that is full of names gives way to nobody who has not asked, and serves again when flows have ended", () => {
  const rig = openRig6({ flows: 4, flowsPerHost: 4 });
  for (let host = 1; host <= 6; host++) rig.out6(udp6({ source: `[fd00:10::${host}]:5`, destination }));
  rig.left6(-1);
  expect(rig.openFlows).toBe(4);
  rig.pass(400_000);
  expect([rig.openFlows, rig.forwarder.conntrack.names.count]).toEqual([0, 1]);
  rig.outOne6(udp6({ source: "[fd00:10::9]:5", destination }));
});

interface Sample {
  protocol: "tcp" | "udp" | "echo";
  inside: string;
  remote: string;
  data: Uint8Array;
  answer: Uint8Array;
  checksum: Checksum;
  extensions: { kind: number; bytes: Uint8Array }[];
  trafficClass: number;
  flowLabel: number;
  hopLimit: number;
}

const group = fc.integer({ min: 0, max: 0xffff });
const host = fc.tuple(group, group, group).map((groups) => groups.map((each) => each.toString(16)).join(":"));
const port = fc.integer({ min: 1, max: 65_535 });
const sample: fc.Arbitrary<Sample> = fc.record({
  protocol: fc.constantFrom("tcp", "udp", "echo"),
  inside: fc.tuple(host, port).map(([low, number]) => `[fd00:10::1:${low}]:${number}`),
  remote: fc.tuple(host, port).map(([low, number]) => `[2001:db8:ff::1:${low}]:${number}`),
  data: fc.uint8Array({ maxLength: 1200 }),
  answer: fc.uint8Array({ maxLength: 1200 }),
  checksum: fc.constantFrom<Checksum>("right", "right", "partial", "wrong"),
  extensions: fc.constantFrom([], [], [padding(HOP_BY_HOP)], [padding(DESTINATION_OPTIONS, 3)]),
  trafficClass: fc.integer({ min: 0, max: 255 }),
  flowLabel: fc.integer({ min: 0, max: 0xfffff }),
  hopLimit: fc.integer({ min: 1, max: 255 }),
});

function build(given: Sample, from: string, to: string, data: Uint8Array, isOut: boolean): Uint8Array {
  const fields = { ...given, source: from, destination: to, data };
  if (given.protocol === "udp") return udp6(fields);
  if (given.protocol === "tcp")
    return tcp6({ ...fields, flags: isOut ? SYN : SYN | ACK, acknowledgment: isOut ? 0 : 2 });
  const identifier = Number((isOut ? from : to).split("]:")[1]);
  const [source, destination] = [addressOf(from), addressOf(to)];
  return echo6({ ...fields, source, destination, checksum: "right", type: isOut ? 128 : 129, identifier });
}

function addressOf(text: string): string {
  return text.slice(1, text.indexOf("]"));
}

test("any packet comes back as it went when its answer is translated in reverse", () => {
  const rig = openRig6({ flows: 8192, flowsPerHost: 8192, lastPort: 32_767, mtu: 1600 });
  const pass = (given: Sample, packet: Uint8Array, isOut: boolean) => {
    const isPartial = given.checksum === "partial" && given.protocol !== "echo";
    const vnet = isPartial ? partialVnet6(packet, isOut ? 0 : 14) : {};
    const after = isOut ? rig.outOne6(packet, 0, vnet) : rig.inOne6(packet, 0, vnet);
    const kept = ({ trafficClass, flowLabel, hopLimit, extensions, flags, type, code, data }: ParsedPacket6) => {
      return { trafficClass, flowLabel, hopLimit, extensions, flags, type, code, data };
    };
    const before = parse6(packet);
    expect(kept(after)).toEqual(kept(before));
    if (isPartial) expect(parse6(finishPartial6(after.bytes)).checksumOk).toBe(true);
    else expect(after.checksumOk).toBe(before.checksumOk);
    return after;
  };
  fc.assert(
    fc.property(sample, (given) => {
      const left = pass(given, build(given, given.inside, given.remote, given.data, true), true);
      expect(left.source).toBe(mapped);
      const outside = `[${mapped}]:${given.protocol === "echo" ? left.identifier : left.sourcePort}`;
      const arrived = pass(given, build(given, given.remote, outside, given.answer, false), false);
      const { identifier, destinationPort } = arrived;
      const back = `[${arrived.destination}]:${given.protocol === "echo" ? identifier : destinationPort}`;
      expect(back).toBe(
        `[${new URL(`http://[${addressOf(given.inside)}]`).hostname.slice(1, -1)}]:${given.inside.split("]:")[1]}`,
      );
    }),
    { numRuns: 600 },
  );
});
