/**
 * A packet socket on ETH_P_ALL sees packets that an nft ingress chain drops, so the router's own stack
 * can be kept from answering for the translator's ports; and one that ignores outgoing packets does not
 * see what this machine sends.
 *
 *     right ──wire── left 203.0.113.2, nft ingress drop
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { loadNative } from "../../../src/io/native.ts";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";
import { frame, ipv4, TCP, tcp } from "../../support/raw-packet.ts";

const range = { firstPort: 16384, lastPort: 32767 };

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
ip("addr add 203.0.113.2/24 dev left");
ip(
  `neigh add 203.0.113.9 lladdr ${Buffer.from(right.mac)
    .toString("hex")
    .replace(/..(?=.)/g, "$&:")} dev left`,
);
const [farFd] = openSockets({
  interface: "right",
  ifindex: right.ifindex,
  linkHeaderBytes: 14,
  ...wide(),
  workers: 1,
  forwards: [],
  destinations: null,
});
const [nearFd] = openSockets({
  interface: "left",
  ifindex: left.ifindex,
  linkHeaderBytes: 14,
  ...range,
  workers: 1,
  forwards: [],
  destinations: null,
});
const loop = new DeviceLoop([
  { fd: farFd!, kind: "packet" },
  { fd: nearFd!, kind: "packet" },
]);
/** From 203.0.113.9 to a closed port: the stack answers with a RST, if it gets to see it. */
const stray = frame(
  right,
  left,
  ipv4({ source: 0xcb007109, destination: 0xcb007102, protocol: TCP, payload: strayTcp() }),
);

loop.send(0, stray);
const [withoutChain, tappedWithout] = loop.drain(200);
assert.equal(tappedWithout!.length, 1, "the socket sees the packet");
assert.equal(withoutChain!.length, 1, "without the chain the stack answers (so this test can fail)");

nft("add table netdev t");
nft("add chain netdev t c { type filter hook ingress device left priority 0; policy accept; }");
nft(`add rule netdev t c tcp dport ${range.firstPort}-${range.lastPort} counter drop`);
loop.send(0, stray);
const [withChain, tappedWith] = loop.drain(200);
assert.equal(tappedWith!.length, 1, "the socket sees the packet that the chain drops");
assert.equal(withChain!.length, 0, "the stack did not answer");
assert.match(nft("list ruleset"), /counter packets 1 /, "the chain dropped it");

checkOutgoing();

/** Without a filter, which would also leave out what is not addressed to this machine. */
function checkOutgoing(): void {
  const packet = ipv4({ source: 0xcb007102, destination: 0xcb007109, protocol: TCP, payload: tcp(20000, 443) });
  for (const ignoreOutgoing of [true, false]) {
    const open = (ifindex: number) => {
      const options = { ifindex, protocol: 3, vnetHeader: true, ignoreOutgoing, filter: null };
      const fd = loadNative().packetOpen({ ...options, receiveBufferBytes: 1 << 20, sendBufferBytes: 1 << 20 });
      return { fd, kind: "packet" as const };
    };
    const [sender, witness, receiver] = [open(left.ifindex), open(left.ifindex), open(right.ifindex)];
    const wire = new DeviceLoop([sender, witness, receiver]);
    wire.send(0, frame(left, right, packet));
    const [, seen, arrived] = wire.drain(100);
    assert.equal(arrived!.length, 1, "what is sent arrives at the other end");
    assert.equal(seen!.length, ignoreOutgoing ? 0 : 1, `seen with ignoreOutgoing ${ignoreOutgoing}`);
    wire.close();
  }
}

function strayTcp(): Uint8Array {
  const segment = tcp(443, 20000);
  // Checksum over pseudo-header and segment, or the stack drops it in silence.
  let sum = 0xcb00 + 0x7109 + 0xcb00 + 0x7102 + TCP + segment.length;
  const view = new DataView(segment.buffer);
  for (let at = 0; at < segment.length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(16, ~sum & 0xffff);
  return segment;
}

function wide(): { firstPort: number; lastPort: number } {
  return { firstPort: 0, lastPort: 65535 };
}

function nft(command: string): string {
  return execFileSync("nft", [command], { encoding: "utf8" });
}
