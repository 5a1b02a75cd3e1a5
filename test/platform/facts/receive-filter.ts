/**
 * An uplink's socket takes what the translator may be concerned with, and leaves the rest in the kernel.
 *
 *     right ──wire── left, one socket
 */

import assert from "node:assert/strict";
import { openUplinkSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { describeLink, enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";
import { concat, frame, GRE, ICMP, icmpEcho, ipv4, TCP, tcp, UDP, udp, words } from "../../support/raw-packet.ts";

const range = { firstPort: 16384, lastPort: 32767 };
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
  ["ICMP", true, to(ICMP, icmpEcho(0, 1))],
  ["a first fragment to another port", true, to(UDP, udp(53, 80), { fragment: 0x2000 })],
  ["a later fragment", true, to(UDP, udp(53, 80), { fragment: 0x0010 })],
  ["UDP to another port that must not be fragmented", false, to(UDP, udp(53, 80), { fragment: 0x4000 })],
  ["GRE", false, to(GRE, udp(53, 20000))],
  ["a fragment of GRE", false, to(GRE, udp(53, 20000), { fragment: 0x0010 })],
];

checkEthernet();
checkPointToPoint();

function to(protocol: number, payload: Uint8Array, more: { fragment?: number; optionWords?: number } = {}): Uint8Array {
  return ipv4({ source: theirs, destination: ours, protocol, payload, ...more });
}

function checkEthernet(): void {
  const loop = new DeviceLoop([openOn("right", right.ifindex, 14), openOn("left", left.ifindex, 14)]);
  const good = cases[0]![2];
  const someoneElse = { ...left, mac: new Uint8Array([2, 0, 0, 0, 0, 9]) };
  const everyone = { ...left, mac: new Uint8Array(6).fill(0xff) };
  const tagged = concat(new Uint8Array(10), left.mac, right.mac, words(0x8100, 5, 0x0800), good);
  const priorityTagged = concat(new Uint8Array(10), left.mac, right.mac, words(0x8100, 0xe000, 0x0800), good);
  const ipv6 = concat(new Uint8Array(10), left.mac, right.mac, words(0x86dd), good);
  ip("link set left promisc on");
  for (const [name, taken, bytes] of [
    ...cases.map(([name, taken, packet]) => [name, taken, frame(right, left, packet)] as const),
    ["a frame to another station", false, frame(right, someoneElse, good)] as const,
    ["a broadcast frame", false, frame(right, everyone, good)] as const,
    ["a frame of VLAN 5", false, tagged] as const,
    ["a frame with a priority tag only", true, priorityTagged] as const,
    ["a frame that is not IPv4", false, ipv6] as const,
  ]) {
    loop.send(0, bytes);
    const [, received] = loop.drain(20);
    assert.equal(received!.length, taken ? 1 : 0, `Ethernet: ${name}`);
  }
  loop.close();
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
  for (const [name, taken, packet] of cases) {
    const bytes = concat(new Uint8Array(10), packet);
    loop.send(0, bytes);
    const [, received] = loop.drain(20);
    assert.deepEqual(received, taken ? [bytes] : [], `point to point: ${name}`);
  }
  const outgoing = concat(new Uint8Array(10), cases[0]![2]);
  loop.send(1, outgoing);
  assert.deepEqual(loop.drain(20), [[outgoing], []], "what the socket sends leaves by the link and does not come back");
  loop.close();
}

function openOn(name: string, ifindex: number, linkHeaderBytes: number): { fd: number; kind: "packet" } {
  const [fd] = openUplinkSockets({ interface: name, ifindex, linkHeaderBytes, ...range, workers: 1 });
  return { fd: fd!, kind: "packet" };
}
