/**
 * The kernel hands over and takes back packets far beyond the MTU, with partial checksums.
 *
 * TUN: a connection of this process to itself through sluice0. What is read is written back with its
 * addresses swapped, which changes no checksum, so 192.0.2.1 seems to be another host:
 *
 *     10.255.255.1:client ──► sluice0 ──(swap)──► 192.0.2.1 as 10.255.255.1:server
 *
 * Packet socket: a TCP super-packet sent on a veth arrives whole, or, without offloads, as segments
 * with full checksums.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import { release } from "node:os";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, ip, makeWire, sysctl } from "../../support/own-network.ts";
import { checksum, concat, frame, ipv4, TCP, tcp, UDP, udp, words } from "../../support/raw-packet.ts";

const needsChecksum = 1;
const gsoTcp4 = 1;
const gsoUdp = 5;
const vnetBytes = 10;
const [client, server] = [0xc0a80a02, 0xc0000205]; // 192.168.10.2, 192.0.2.5

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
const [tunFd] = openTunQueues("sluice0", 1);
ip("addr add 10.255.255.1/30 dev sluice0");
ip("link set sluice0 up");
ip("route add 192.0.2.0/24 dev sluice0");
const sockets = [left, right].map(({ name, ifindex }) => {
  const range = { firstPort: 0, lastPort: 65535 };
  const [fd] = openSockets({
    interface: name,
    ifindex,
    linkHeaderBytes: 14,
    ...range,
    workers: 1,
    forwards: [],
    destinations: null,
  });
  return { fd: fd!, kind: "packet" as const };
});
const [tun, near, far] = [0, 1, 2];
const loop = new DeviceLoop([{ fd: tunFd!, kind: "tun" }, ...sockets]);

await checkStreamThroughTun();
checkTcpOverVeth();
if (Number.parseFloat(release()) >= 6.2) checkUdpIntoTun();

async function checkStreamThroughTun(): Promise<void> {
  const sent = Buffer.alloc(3_000_000, "every byte of the stream is checked");
  const received = createHash("sha256");
  let [receivedBytes, longest, gso, partial] = [0, 0, 0, 0];
  const listener = createServer((accepted) => {
    // Nobody will carry the connection's last packets, so it must not keep this program alive.
    accepted.unref().on("data", (data) => {
      received.update(data);
      receivedBytes += data.length;
    });
  });
  await new Promise<void>((ready) => listener.listen(0, "10.255.255.1", ready));
  const { port } = listener.address() as { port: number };
  const socket = connect({ host: "192.0.2.1", port });
  socket.write(sent);
  const deadline = Date.now() + 10_000;
  while (receivedBytes < sent.length && Date.now() < deadline) {
    for (const packet of loop.turn(1)[tun]!) {
      longest = Math.max(longest, packet.length - vnetBytes);
      if (packet[1] === gsoTcp4) gso++;
      if (packet[0]! & needsChecksum) partial++;
      loop.send(tun, swapAddresses(packet));
    }
    await new Promise(setImmediate);
  }
  socket.destroy();
  listener.close();
  assert.equal(receivedBytes, sent.length, "the whole stream arrived");
  assert.equal(received.digest("hex"), createHash("sha256").update(sent).digest("hex"), "and unchanged");
  assert.ok(longest > 15_000, `packets far beyond the MTU were read, the longest of ${longest} bytes`);
  assert.ok(gso > 0 && partial > 0, "they came with a segment size and a partial checksum");
}

function swapAddresses(packet: Uint8Array): Uint8Array {
  const at = vnetBytes + 12;
  return concat(packet.slice(0, at), packet.slice(at + 4, at + 8), packet.slice(at, at + 4), packet.slice(at + 8));
}

/** A vnet header in the machine's byte order, as the kernel wants it without VIRTIO_F_VERSION_1. */
function vnetHeader(gsoType: number, l4Bytes: number, segmentBytes: number, checksumOffset: number): Uint8Array {
  const l4At = 14 + 20;
  const lengths = new Uint16Array([l4At + l4Bytes, segmentBytes, l4At, checksumOffset]);
  return concat(new Uint8Array([needsChecksum, gsoType]), new Uint8Array(lengths.buffer));
}

/** Puts the pseudo-header's sum, not inverted, where a partial checksum has it. */
function withPartialChecksum(l4: Uint8Array, offset: number, protocol: number): Uint8Array {
  const pseudo = concat(words(client >>> 16, client & 0xffff, server >>> 16, server & 0xffff, protocol, l4.length));
  new DataView(l4.buffer).setUint16(offset, ~checksum(pseudo) & 0xffff);
  return l4;
}

function checkTcpOverVeth(): void {
  const segmentBytes = 1448;
  const data = new Uint8Array(4000).map((_, i) => i);
  const segment = withPartialChecksum(tcp(40000, 443, data), 16, TCP);
  const packet = ipv4({ source: client, destination: server, protocol: TCP, payload: segment });
  const superPacket = frame(left, right, packet, vnetHeader(gsoTcp4, 20, segmentBytes, 16));

  loop.drain();
  loop.send(near, superPacket);
  const whole = loop.drain()[far]!;
  // The header length is a hint: what comes back is how much of the packet lies in one piece of memory.
  for (const bytes of whole) bytes.set(superPacket.slice(2, 4), 2);
  assert.deepEqual(whole, [superPacket], "with offloads it arrives as it was sent");

  execFileSync("ethtool", ["-K", "left", "tso", "off", "gso", "off", "tx", "off"], { stdio: "ignore" });
  loop.send(near, superPacket);
  const segments = loop.drain()[far]!;
  const l4At = vnetBytes + 14 + 20;
  assert.deepEqual(
    segments.map((bytes) => bytes.length - l4At - 20),
    [1448, 1448, 1104],
    "without, as segments",
  );
  for (const bytes of segments) {
    const l4 = bytes.slice(l4At);
    const pseudo = concat(words(client >>> 16, client & 0xffff, server >>> 16, server & 0xffff, TCP, l4.length));
    assert.equal(checksum(concat(pseudo, l4)), 0, "whose checksums are full and right");
  }
  execFileSync("ethtool", ["-K", "left", "tso", "on", "gso", "on", "tx", "on"], { stdio: "ignore" });
}

/** Forwarded from the wire into the TUN: datagrams that came as one leave as one (USO, since Linux 6.2). */
function checkUdpIntoTun(): void {
  sysctl("ipv4/ip_forward", 1);
  sysctl("ipv4/conf/all/rp_filter", 0);
  sysctl("ipv4/conf/left/rp_filter", 0);
  ip("addr add 192.168.10.1/24 dev left");
  const datagrams = withPartialChecksum(udp(5000, 443, new Uint8Array(3000)), 6, UDP);
  const packet = ipv4({ source: client, destination: server, protocol: UDP, payload: datagrams });
  loop.send(far, frame(right, left, packet, vnetHeader(gsoUdp, 8, 1000, 6)));
  const received = loop.drain()[tun]!;
  assert.deepEqual(
    received.map((bytes) => bytes.length),
    [vnetBytes + 20 + 8 + 3000],
  );
  assert.equal(received[0]![1], gsoUdp);
}
