/**
 * The kernel gives an IPv6 packet from an uplink to the socket that its NAT port names; one for the uplink's
 * prefix, for a forwarded port, or from a LAN to our own addresses to the socket that `steer(0, port)` names.
 *
 *     right ──wire── left, one socket a worker
 *
 * IPv4's and IPv6's forwards are apart, and what shows no port directly after the fixed header is worker 0's.
 */

import assert from "node:assert/strict";
import { openSockets, type SocketOptions } from "../../../src/io/packet-socket.ts";
import type { Forward } from "../../../src/tables/forwards.ts";
import { steer } from "../../../src/tables/steering-hash.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, makeWire } from "../../support/own-network.ts";
import {
  addressWords6,
  fragmentFields,
  frame,
  GRE,
  ICMPV6,
  type Ipv6Fields,
  icmp6,
  icmpError6,
  ipv6,
  noOptions,
  randomFrom,
  TCP,
  tcp,
  UDP,
  udp,
} from "../../support/raw-packet.ts";

const firstPort = 16384;
const lastPort = 32767;
const ipAt = 24;
const [ours, hosts, theirs] = ["2001:db8:1::2", "2001:db8:101:0:1:2:3:4", "2001:db8:ff::10"];
const prefix6 = { words: addressWords6("2001:db8:101::"), length: 48 };

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
const seed = Date.now() >>> 0;
const random = randomFrom(seed);

for (const workers of [2, 3]) {
  const byPort = (port: number) => port % workers;
  const byEndpoint = (port: number) => steer(0, port, workers);
  check(workers, "to the uplink's address", {}, ours, byPort);
  check(workers, "to the uplink's address, beside a prefix", { prefix6 }, ours, byPort);
  check(workers, "to the uplink's prefix", { prefix6 }, hosts, byEndpoint);
  checkForwards(workers);
  checkLan(workers);
}

/** Every kind of packet whose port, ours, is between `first` and `last`. */
function check(
  workers: number,
  what: string,
  options: Partial<SocketOptions>,
  destination: string,
  workerOf: (port: number) => number,
): void {
  const made = Array.from({ length: 200 }, () => {
    const port = firstPort + random(lastPort - firstPort + 1);
    return randomPacket(port, destination, workerOf(port));
  });
  checkEach(workers, options, made, what);
}

/** Ports that mean another endpoint in IPv4, or nothing. */
function checkForwards(workers: number): void {
  const forwards = Array.from({ length: 64 }, (_, i): Forward => {
    const [first, toPort] = [100 + i * 100, 1 + random(65000)];
    const words = i % 2 === 0 ? { to: 0, to6: addressWords6("fd00:10::2") } : { to: 0xc0a80a02 | 0 };
    const protocol = [TCP, UDP][random(2)]!;
    return { uplinks: 1, protocol, firstPort: first, lastPort: first + 9, ...words, toPort };
  });
  const made = forwards.map(({ protocol, firstPort: first, to6, toPort }): Made => {
    const offset = random(10);
    const port = first + offset;
    const worker = to6 === undefined ? port % workers : steer(0, toPort + offset, workers);
    const segment = (from: number, to: number) => (protocol === TCP ? tcp(from, to) : udp(from, to));
    const far = 1 + random(65535);
    if (random(2) === 0) return { protocol, payload: segment(far, port), destination: ours, worker };
    const inner = ipv6({ source: ours, destination: theirs, protocol, payload: segment(port, far) });
    return { protocol: ICMPV6, payload: icmpError6(1 + random(4), inner), destination: ours, worker };
  });
  // A socket's filter looks at an error's type only: it takes the errors about ports that no IPv6 forward has.
  checkEach(workers, { forwards }, made, "to forwarded ports");
}

function checkLan(workers: number): void {
  const made = Array.from({ length: 100 }, (): Made => {
    const [port, ownPort] = [1 + random(65535), firstPort + random(1000)];
    const protocol = [TCP, UDP][random(2)]!;
    const segment = (from: number, to: number) => (protocol === TCP ? tcp(from, to) : udp(from, to));
    const worker = steer(0, port, workers);
    if (random(2) === 0) return { protocol, payload: segment(port, ownPort), destination: ours, worker };
    const inner = ipv6({ source: ours, destination: theirs, protocol, payload: segment(ownPort, port) });
    return { protocol: ICMPV6, payload: icmpError6(1 + random(4), inner), destination: ours, worker };
  });
  checkEach(workers, { destinations: [], destinations6: [addressWords6(ours)] }, made, "from a LAN");
}

interface Made extends Pick<Ipv6Fields, "protocol" | "payload" | "extensions" | "destination"> {
  worker: number;
}

function randomPacket(port: number, destination: string, worker: number): Made {
  const far = random(65536);
  const datagram = { protocol: UDP, payload: udp(far, port) };
  const errorType = 1 + random(4);
  const error = (protocol: number, payload: Uint8Array) => ({
    protocol: ICMPV6,
    payload: icmpError6(errorType, ipv6({ source: destination, destination: theirs, protocol, payload })),
  });
  const behind = (protocol: number, bytes: readonly number[]) => [{ protocol, bytes }];
  const choices = [
    { ...datagram, worker },
    { protocol: TCP, payload: tcp(far, port), worker },
    { protocol: ICMPV6, payload: icmp6(129, port), worker },
    { protocol: ICMPV6, payload: icmp6(128, port), worker },
    { ...error(UDP, udp(port, far)), worker },
    { ...error(TCP, tcp(port, far)), worker },
    { ...error(ICMPV6, icmp6(128, port)), worker },
    { ...error(GRE, udp(port, far)), worker: 0 },
    { protocol: GRE, payload: udp(far, port), worker: 0 },
    { ...datagram, extensions: behind(60, noOptions), worker: 0 },
    { ...datagram, extensions: behind(44, fragmentFields(0, true, port)), worker: 0 },
    { ...datagram, extensions: behind(44, fragmentFields(1400, false, port)), worker: 0 },
  ];
  return { ...choices[random(choices.length)]!, destination };
}

/** Sends them all and looks where each arrived. */
function checkEach(workers: number, options: Partial<SocketOptions>, made: readonly Made[], what: string): void {
  const usual = { linkHeaderBytes: 14, firstPort, lastPort, forwards: [], destinations: null };
  const [far] = openSockets({ ...usual, interface: "right", ifindex: right.ifindex, workers: 1 });
  const fds = openSockets({ ...usual, ...options, interface: "left", ifindex: left.ifindex, workers });
  const loop = new DeviceLoop([far!, ...fds].map((fd) => ({ fd, kind: "packet" })));
  const expected = new Map<number, number>();
  const found = new Map<number, number>();
  for (const [i, { worker, ...fields }] of made.entries()) {
    const flowLabel = i + 1;
    expected.set(flowLabel, worker);
    loop.send(0, frame(right, left, ipv6({ source: theirs, flowLabel, ...fields })));
    if (flowLabel % 50 !== 0 && flowLabel !== made.length) continue;
    const [, ...perWorker] = loop.drain(50);
    for (const [index, received] of perWorker.entries()) {
      for (const bytes of received) found.set(new DataView(bytes.buffer).getUint32(ipAt) & 0xfffff, index);
    }
  }
  const sorted = new Map([...found].sort(([a], [b]) => a - b));
  assert.deepEqual(sorted, expected, `${workers} workers, ${what}, seed ${seed}`);
  loop.close();
}
