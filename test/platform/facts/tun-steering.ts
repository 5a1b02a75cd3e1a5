/**
 * The kernel, with our program, chooses the TUN queue that `steer` names.
 *
 *     right ──wire── left ──(kernel forwards)── sluice0, three queues
 *
 * Six hundred random packets of every kind go in; each is found again by its identification. Protocols without
 * ports all go to queue 0, whose worker is the one that the fanout program of the uplinks brings them to.
 */

import assert from "node:assert/strict";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { steer } from "../../../src/tables/steering-hash.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, ip, makeWire, sysctl } from "../../support/own-network.ts";
import {
  frame,
  GRE,
  ICMP,
  icmpEcho,
  icmpError,
  ipv4,
  randomFrom,
  TCP,
  tcp,
  UDP,
  udp,
} from "../../support/raw-packet.ts";

const queues = 3;
const packets = 600;
const vnetBytes = 10;
const server = 0xc0000205; // 192.0.2.5

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
sysctl("ipv4/ip_forward", 1);
sysctl("ipv4/conf/all/rp_filter", 0);
sysctl("ipv4/conf/left/rp_filter", 0);
ip("addr add 192.168.10.1/24 dev left");
ip("route add 192.168.0.0/16 dev left");
const tunFds = openTunQueues("sluice0", queues);
ip("link set sluice0 up");
ip("route add 192.0.2.0/24 dev sluice0");

const [wireFd] = openSockets({
  interface: "right",
  ifindex: right.ifindex,
  linkHeaderBytes: 14,
  firstPort: 1,
  lastPort: 65535,
  workers: 1,
  forwards: [],
  destinations: null,
});
const loop = new DeviceLoop([{ fd: wireFd!, kind: "packet" }, ...tunFds.map((fd) => ({ fd, kind: "tun" as const }))]);

const seed = Date.now() >>> 0;
const random = randomFrom(seed);
const expected = new Map<number, { queue: number; kind: string }>();
const found = new Map<number, number>();

for (let identification = 1; identification <= packets; identification++) {
  const source = 0xc0a80000 + 0xb00 + random(0xf000); // somewhere in 192.168/16, but not the router
  const [port, farPort] = [random(65536), random(65536)];
  const { kind, protocol, payload, endpoint, fragment } = randomPayload(source, port, farPort);
  const packet = ipv4({
    source,
    destination: server,
    protocol,
    payload,
    identification,
    optionWords: random(3),
    ...(fragment === undefined ? {} : { fragment }),
  });
  const queue = endpoint === null ? 0 : steer(endpoint.address, endpoint.port, queues);
  expected.set(identification, { queue, kind });
  loop.send(0, frame(right, left, packet));
  if (identification % 32 === 0) collect();
}
collect();

assert.equal(found.size, packets, `every packet arrives, seed ${seed}`);
for (const [identification, { queue, kind }] of expected) {
  assert.equal(found.get(identification), queue, `queue of packet ${identification} (${kind}), seed ${seed}`);
}
assert.equal(new Set(found.values()).size, queues, "every queue was used");

interface Choice {
  kind: string;
  protocol: number;
  payload: Uint8Array;
  /** The inside endpoint that the packet is about; null when it has no port and belongs to queue 0. */
  endpoint: { address: number; port: number } | null;
  fragment?: number;
}

function randomPayload(source: number, port: number, farPort: number): Choice {
  const inside = 0xc0a80b00 + random(0xf000);
  const inner = (protocol: number, payload: Uint8Array, fragment = 0) =>
    ipv4({ source: server, destination: inside, protocol, payload, optionWords: random(3), fragment });
  const errorType = [3, 4, 5, 11, 12][random(5)]!;
  const about = (kind: string, packet: Uint8Array, innerPort: number | null): Choice => ({
    kind: `ICMP type ${errorType} about ${kind}`,
    protocol: ICMP,
    payload: icmpError(errorType, packet),
    endpoint: innerPort === null ? null : { address: inside, port: innerPort },
  });
  const other = (protocol: number): Choice => ({
    kind: `protocol ${protocol}`,
    protocol,
    payload: udp(port, farPort),
    endpoint: null,
  });
  const choices: (() => Choice)[] = [
    () => ({ kind: "UDP", protocol: UDP, payload: udp(port, farPort), endpoint: { address: source, port } }),
    () => ({ kind: "TCP", protocol: TCP, payload: tcp(port, farPort), endpoint: { address: source, port } }),
    () => ({ kind: "echo request", protocol: ICMP, payload: icmpEcho(8, port), endpoint: { address: source, port } }),
    () => ({ kind: "echo reply", protocol: ICMP, payload: icmpEcho(0, port), endpoint: { address: source, port } }),
    () => ({ kind: "timestamp", protocol: ICMP, payload: icmpEcho(13, port), endpoint: { address: source, port } }),
    () => other(GRE),
    () => other(50 + random(200)),
    () => ({ ...other(GRE), kind: "first fragment of GRE", fragment: 0x2000 }),
    () => ({ ...other(GRE), kind: "last fragment of GRE", fragment: 0x0010 }),
    () => about("UDP", inner(UDP, udp(farPort, port)), port),
    () => about("TCP", inner(TCP, tcp(farPort, port)), port),
    () => about("echo", inner(ICMP, icmpEcho(8, port)), port),
    () => about("GRE", inner(GRE, udp(farPort, port)), null),
    () => about("a later fragment", inner(UDP, udp(farPort, port), 0x0010), 0),
    () => about("a first fragment", inner(UDP, udp(farPort, port), 0x2000), port),
    () => ({ ...choices[0]!(), kind: "first fragment", fragment: 0x2000, endpoint: { address: source, port: 0 } }),
    () => ({ ...choices[0]!(), kind: "last fragment", fragment: 0x0010, endpoint: { address: source, port: 0 } }),
    () => ({ ...choices[0]!(), kind: "UDP, don't fragment", fragment: 0x4000 }),
  ];
  return choices[random(choices.length)]!();
}

function collect(): void {
  const [, ...perQueue] = loop.drain(50);
  for (const [queue, received] of perQueue.entries()) {
    for (const packet of received) {
      const view = new DataView(packet.buffer, vnetBytes);
      if (view.getUint32(16) === server) found.set(view.getUint16(4), queue);
    }
  }
}
