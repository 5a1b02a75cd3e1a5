/**
 * A turn takes half a megabyte from a device and leaves the rest for the next, in order and without loss:
 * datagrams of 60,000 bytes, 15 on a TUN and then 15 on a veth, of which eight stay below that and nine do not.
 */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";

const datagramBytes = 60_000;
const datagrams = 15;
const payloadAt = { tun: 10 + 20 + 8, packet: 10 + 14 + 20 + 8 };

enterOwnNetwork();
const [near, far] = makeWire("near", "far");
const [tunFd] = openTunQueues("sluice0", 1);
ip("addr add 10.255.255.1/30 dev sluice0");
ip("link set sluice0 mtu 65535 up");
ip("addr add 10.1.0.1/24 dev near");
for (const { name } of [near, far]) ip(`link set ${name} mtu 65535`);
ip(
  `neigh add 10.1.0.2 lladdr ${Buffer.from(far.mac)
    .toString("hex")
    .replace(/..(?!$)/g, "$&:")} dev near nud permanent`,
);
const [socketFd] = openSockets({
  interface: far.name,
  ifindex: far.ifindex,
  linkHeaderBytes: 14,
  firstPort: 0,
  lastPort: 65535,
  workers: 1,
  forwards: [],
  destinations: null,
});
const loop = new DeviceLoop([
  { fd: tunFd!, kind: "tun" },
  { fd: socketFd!, kind: "packet" },
]);

await check("10.255.255.2", 0, payloadAt.tun);
await check("10.1.0.2", 1, payloadAt.packet);

async function check(destination: string, device: number, at: number): Promise<void> {
  const sender = createSocket({ type: "udp4", sendBufferSize: 4_000_000 });
  for (let number = 0; number < datagrams; number++) {
    const datagram = Buffer.alloc(datagramBytes, number);
    await new Promise<void>((sent, failed) =>
      sender.send(datagram, 9, destination, (error) => (error === null ? sent() : failed(error))),
    );
  }
  sender.close();
  const turns: number[][] = [];
  while (turns.flat().length < datagrams) {
    const received = loop.turn(1000)[device]!;
    assert.ok(received.length > 0, `${turns.flat().length} of ${datagrams} datagrams for ${destination} came`);
    turns.push(received.map((packet) => packet[at]!));
  }
  const [first] = turns;
  // A packet socket counts messages, so that it leaves out the one that a TUN would let pass the bound.
  assert.ok([8, 9].includes(first!.length), `the first turn stops at the bound, not after ${first!.length} datagrams`);
  assert.equal(turns.length, 2, "the second turn brings the rest");
  assert.deepEqual(turns.flat(), [...Array(datagrams).keys()], "in order");
}
