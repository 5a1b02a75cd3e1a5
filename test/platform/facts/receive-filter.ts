/**
 * An uplink's socket takes what the translator may be concerned with, and leaves the rest in the kernel.
 *
 *     right ──wire── left, one socket
 */

import assert from "node:assert/strict";
import { openSockets, type SocketOptions } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { describeLink, enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";
import {
  addressWords6,
  concat,
  fragmentFields,
  frame,
  GRE,
  ICMP,
  ICMPV6,
  type Ipv6Fields,
  icmp6,
  icmpEcho,
  icmpError,
  ipv4,
  ipv6,
  noOptions,
  TCP,
  tcp,
  UDP,
  udp,
  words,
} from "../../support/raw-packet.ts";

const range = { firstPort: 16384, lastPort: 32767 };
const inside = { uplinks: 1, to: 0xc0a80a02 | 0, toPort: 80 };
/** As many as a configuration may have, the last with port 164. */
const forwards = [
  { ...inside, protocol: TCP, firstPort: 8080, lastPort: 8080 },
  { ...inside, protocol: UDP, firstPort: 7000, lastPort: 7009 },
  ...Array.from({ length: 62 }, (_, i) => ({ ...inside, protocol: UDP, firstPort: 103 + i, lastPort: 103 + i })),
];
const [ours, theirs] = [0xcb007102, 0xc000020a]; // 203.0.113.2, 192.0.2.10

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
const cases: [string, boolean, Uint8Array][] = [
  ["UDP to the first port", true, to(UDP, udp(53, range.firstPort))],
  ["UDP to the last port", true, to(UDP, udp(53, range.lastPort))],
  ["UDP to the port before", false, to(UDP, udp(range.firstPort, range.firstPort - 1))],
  ["UDP to the port after", false, to(UDP, udp(range.firstPort, range.lastPort + 1))],
  ["TCP to a port of the range", true, to(TCP, tcp(443, 20000))],
  ["TCP to a port of the range, behind options", true, to(TCP, tcp(443, 20000), { optionWords: 3 })],
  ["TCP to another port", false, to(TCP, tcp(20000, 443))],
  ["an echo reply of the first identifier", true, to(ICMP, icmpEcho(0, range.firstPort))],
  [
    "an echo reply of the last identifier, behind options",
    true,
    to(ICMP, icmpEcho(0, range.lastPort), { optionWords: 2 }),
  ],
  ["an echo reply of the identifier before", false, to(ICMP, icmpEcho(0, range.firstPort - 1))],
  ["an echo reply of the identifier after", false, to(ICMP, icmpEcho(0, range.lastPort + 1))],
  ["a fragment of an echo reply", true, to(ICMP, icmpEcho(0, 1), { fragment: 0x2000 })],
  ["an echo request of any identifier", true, to(ICMP, icmpEcho(8, 1))],
  ["an ICMP error", true, to(ICMP, icmpError(3, to(UDP, udp(53, 1))))],
  ["a first fragment to another port", true, to(UDP, udp(53, 80), { fragment: 0x2000 })],
  ["a later fragment", true, to(UDP, udp(53, 80), { fragment: 0x0010 })],
  ["UDP to another port that must not be fragmented", false, to(UDP, udp(53, 80), { fragment: 0x4000 })],
  ["GRE", true, to(GRE, udp(53, 80))],
  ["a fragment of GRE", true, to(GRE, udp(53, 80), { fragment: 0x0010 })],
  ["ESP", true, to(50, udp(53, 80))],
  ["SCTP", true, to(132, tcp(53, 80))],
  ["a datagram without any layer 4", true, to(253, new Uint8Array())],
  ["TCP to a forwarded port", true, to(TCP, tcp(443, 8080))],
  ["TCP to the port before a forwarded one", false, to(TCP, tcp(443, 8079))],
  ["TCP to the port after a forwarded one", false, to(TCP, tcp(443, 8081))],
  ["UDP to the first port of a forwarded range", true, to(UDP, udp(53, 7000), { optionWords: 5 })],
  ["UDP to the last port of a forwarded range", true, to(UDP, udp(53, 7009))],
  ["UDP to the port after a forwarded range", false, to(UDP, udp(53, 7010))],
  ["UDP to the last of 64 forwards", true, to(UDP, udp(53, 164))],
  ["UDP to the port after the last of 64 forwards", false, to(UDP, udp(53, 165))],
  // A first sieve: a forward's protocol is the data plane's to check.
  ["UDP to a port that is forwarded for TCP", true, to(UDP, udp(53, 8080))],
];

const [ours6, theirs6] = ["2001:db8:1::2", "2001:db8:ff::10"];
const cases6: [string, boolean, Uint8Array][] = [
  ["UDP to the first port", true, to6(UDP, udp(53, range.firstPort))],
  ["UDP to the port before", false, to6(UDP, udp(range.firstPort, range.firstPort - 1))],
  ["TCP to the last port", true, to6(TCP, tcp(443, range.lastPort))],
  ["TCP to the port after", false, to6(TCP, tcp(range.lastPort, range.lastPort + 1))],
  ["TCP to a forwarded port", true, to6(TCP, tcp(443, 8080))],
  ["an echo reply of the first identifier", true, to6(ICMPV6, icmp6(129, range.firstPort))],
  ["an echo reply of the last identifier", true, to6(ICMPV6, icmp6(129, range.lastPort))],
  ["an echo reply of the identifier before", false, to6(ICMPV6, icmp6(129, range.firstPort - 1))],
  ["an echo reply of the identifier after", false, to6(ICMPV6, icmp6(129, range.lastPort + 1))],
  ["an echo request", true, to6(ICMPV6, icmp6(128, 1))],
  ["the first ICMPv6 error", true, to6(ICMPV6, icmp6(1, 0))],
  ["the last ICMPv6 error", true, to6(ICMPV6, icmp6(4, 0))],
  ["ICMPv6 type 5", false, to6(ICMPV6, icmp6(5, 0))],
  ["ICMPv6 type 127", false, to6(ICMPV6, icmp6(127, 0))],
  ["a router advertisement", false, to6(ICMPV6, icmp6(134, 0))],
  ["a neighbour advertisement", false, to6(ICMPV6, icmp6(136, 0))],
  ["a multicast listener's report", false, to6(ICMPV6, icmp6(143, 0))],
  ["a fragment", true, to6(UDP, udp(53, 80), { extensions: [{ protocol: 44, bytes: fragmentFields(0, true, 1) }] })],
  ["destination options", true, to6(UDP, udp(53, 80), { extensions: [{ protocol: 60, bytes: noOptions }] })],
  ["GRE", true, to6(GRE, udp(53, 80))],
  ["UDP to a link-local address", false, to6(UDP, udp(53, range.firstPort), { destination: "fe80::2" })],
  ["UDP to a multicast address", false, to6(UDP, udp(53, range.firstPort), { destination: "ff02::1" })],
];

checkEthernet();
checkDestinations();
checkDestinations6();
checkPrefix();
checkPointToPoint();

function to(protocol: number, payload: Uint8Array, more: { fragment?: number; optionWords?: number } = {}): Uint8Array {
  return ipv4({ source: theirs, destination: ours, protocol, payload, ...more });
}

function to6(protocol: number, payload: Uint8Array, more: Partial<Ipv6Fields> = {}): Uint8Array {
  return ipv6({ source: theirs6, destination: ours6, protocol, payload, ...more });
}

function checkEthernet(): void {
  const loop = new DeviceLoop([openOn("right", right.ifindex, 14), openOn("left", left.ifindex, 14)]);
  const good = cases[0]![2];
  const someoneElse = { ...left, mac: new Uint8Array([2, 0, 0, 0, 0, 9]) };
  const everyone = { ...left, mac: new Uint8Array(6).fill(0xff) };
  const tagged = concat(new Uint8Array(10), left.mac, right.mac, words(0x8100, 5, 0x0800), good);
  const priorityTagged = concat(new Uint8Array(10), left.mac, right.mac, words(0x8100, 0xe000, 0x0800), good);
  const other = concat(new Uint8Array(10), left.mac, right.mac, words(0x88b5), good);
  ip("link set left promisc on");
  for (const [name, taken, bytes] of [
    ...cases.map(([name, taken, packet]) => [name, taken, frame(right, left, packet)] as const),
    ...cases6.map(([name, taken, packet]) => [`IPv6: ${name}`, taken, frame(right, left, packet)] as const),
    ["a frame to another station", false, frame(right, someoneElse, good)] as const,
    ["a broadcast frame", false, frame(right, everyone, good)] as const,
    ["a frame of VLAN 5", false, tagged] as const,
    ["a frame with a priority tag only", true, priorityTagged] as const,
    ["a frame that is not IP", false, other] as const,
  ]) {
    loop.send(0, bytes);
    const [, received] = loop.drain(20);
    assert.equal(received!.length, taken ? 1 : 0, `Ethernet: ${name}`);
  }
  loop.close();
}

/** On a LAN only what is for one of our own addresses is taken: the rest comes by the TUN. */
function checkDestinations(): void {
  const others = [0x01020304, 0xc0000263 | 0];
  for (const [destinations, taken] of [
    [[], false],
    [others, false],
    [[...others, ours | 0], true],
  ] as const) {
    const loop = new DeviceLoop([openOn("right", right.ifindex, 14), openOn("left", left.ifindex, 14, destinations)]);
    for (const [name, , packet] of cases.filter(([, isTaken]) => isTaken)) {
      loop.send(0, frame(right, left, packet));
      const [, received] = loop.drain(20);
      assert.equal(received!.length, taken ? 1 : 0, `${name}, with ${destinations.length} own addresses`);
    }
    loop.close();
  }
}

function checkDestinations6(): void {
  const others = ["2001:db8:1::3", "2001:db8:2::2"].map(addressWords6);
  for (const [destinations6, taken] of [
    [[], false],
    [others, false],
    [[...others, addressWords6(ours6)], true],
  ] as const) {
    const fds = [openOn("right", right.ifindex, 14), openOn("left", left.ifindex, 14, [ours | 0], { destinations6 })];
    const loop = new DeviceLoop(fds);
    for (const [name, , packet] of cases6.filter(([, isTaken]) => isTaken)) {
      loop.send(0, frame(right, left, packet));
      const [, received] = loop.drain(20);
      assert.equal(received!.length, taken ? 1 : 0, `IPv6: ${name}, with ${destinations6.length} own addresses`);
    }
    loop.close();
  }
}

/** All that is for an uplink's prefix is taken, whatever its port, and nothing beside it. */
function checkPrefix(): void {
  for (const [length, inside, outside] of [
    [20, "2001:fff:1fff::1", "2001:1db8:101::1"],
    [48, "2001:db8:101:ffff::1", "2001:db8:102::1"],
    [60, "2001:db8:101:f::1", "2001:db8:101:10::1"],
    [64, "2001:db8:101:0:ffff::1", "2001:db8:101:1::1"],
  ] as const) {
    const prefix6 = { words: addressWords6("2001:db8:101::"), length };
    const fds = [openOn("right", right.ifindex, 14), openOn("left", left.ifindex, 14, null, { prefix6 })];
    const loop = new DeviceLoop(fds);
    for (const [destination, taken] of [
      [inside, true],
      [outside, false],
    ] as const) {
      loop.send(0, frame(right, left, to6(TCP, tcp(443, 22), { destination })));
      const [, received] = loop.drain(20);
      assert.equal(received!.length, taken ? 1 : 0, `TCP to ${destination}, with a prefix of ${length} bits`);
    }
    loop.close();
  }
}

/** A TUN device plays the link without a MAC header: what is written to it arrives on it. */
function checkPointToPoint(): void {
  const [tunFd] = openTunQueues("ptp0", 1);
  ip("link set ptp0 up");
  const { ifindex } = describeLink("ptp0");
  const loop = new DeviceLoop([
    { fd: tunFd!, kind: "tun" },
    { ...openOn("ptp0", ifindex, 0), sendProtocol: 0x0800 },
  ]);
  for (const [name, taken, packet] of [...cases, ...cases6]) {
    const bytes = concat(new Uint8Array(10), packet);
    loop.send(0, bytes);
    const [, received] = loop.drain(20);
    assert.deepEqual(received, taken ? [bytes] : [], `point to point: ${name}`);
  }
  for (const [, , packet] of [cases[0]!, cases6[0]!]) {
    const outgoing = concat(new Uint8Array(10), packet);
    loop.send(1, outgoing);
    assert.deepEqual(
      loop.drain(20),
      [[outgoing], []],
      "what the socket sends leaves by the link and does not come back",
    );
  }
  loop.close();
}

function openOn(
  name: string,
  ifindex: number,
  linkHeaderBytes: number,
  destinations: readonly number[] | null = null,
  more: Partial<SocketOptions> = {},
): { fd: number; kind: "packet" } {
  const [fd] = openSockets({
    interface: name,
    ifindex,
    linkHeaderBytes,
    ...range,
    workers: 1,
    forwards,
    destinations,
    ...more,
  });
  return { fd: fd!, kind: "packet" };
}
