/**
 * The kernel gives a packet from an uplink to the socket that its NAT port names, fragments put
 * together first; and the order of the sockets survives the link going down and up.
 *
 *     right ──wire── left, one socket a worker
 *
 * That the program's offsets count from the IP header, not from the MAC header, is part of the fact. A
 * forwarded port names the worker that has the inside endpoint it leads to, as `steer` says; so do the errors about it.
 * Protocols without ports, and the errors about them, are all worker 0's. On a LAN, what is for our own
 * addresses goes to the worker that has the inside endpoint it comes from, as on the TUN.
 */

import assert from "node:assert/strict";
import { openSockets } from "../../../src/io/packet-socket.ts";
import type { Forward } from "../../../src/tables/forwards.ts";
import { steer } from "../../../src/tables/steering-hash.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, interruptLink, makeWire } from "../../support/own-network.ts";
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

const firstPort = 16384;
const lastPort = 32767;
const ipAt = 24;
const [ours, theirs] = [0xcb007102, 0xc000020a]; // 203.0.113.2, 192.0.2.10

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
const seed = Date.now() >>> 0;
const random = randomFrom(seed);

for (const workers of [2, 3]) {
  const loop = openLoop(workers, []);
  checkRandomPackets(loop, workers, "after joining");
  interruptLink(left, right);
  loop.drain();
  checkRandomPackets(loop, workers, "after the link went down and up");
  checkReassembly(loop, workers);
  loop.close();
}
for (const workers of [2, 3, 7]) checkRandomForwards(workers);
for (const workers of [2, 3]) checkLan(workers);
checkFragmentsPassOneSocket();

/** Device 0 sends from the far end, device n+1 is worker n's socket. */
function openLoop(
  workers: number,
  forwards: readonly Forward[],
  destinations: readonly number[] | null = null,
): DeviceLoop {
  const options = { linkHeaderBytes: 14, firstPort, lastPort, forwards, destinations };
  const [far] = openSockets({ ...options, destinations: null, interface: "right", ifindex: right.ifindex, workers: 1 });
  const fds = openSockets({ ...options, interface: "left", ifindex: left.ifindex, workers });
  return new DeviceLoop([far!, ...fds].map((fd) => ({ fd, kind: "packet" })));
}

function checkRandomPackets(loop: DeviceLoop, workers: number, when: string): void {
  const made = Array.from({ length: 200 }, () => {
    const port = firstPort + random(lastPort - firstPort + 1);
    return randomPayload(port, port % workers);
  });
  checkEach(loop, made, `${workers} workers, ${when}`);
}

/** As many forwards as a configuration may have, to anywhere; each is asked for three of its ports. */
function checkRandomForwards(workers: number): void {
  for (let round = 0; round < 2; round++) {
    const forwards = Array.from({ length: 64 }, (_, i): Forward => {
      const first = 100 + i * 200 + random(100);
      const ports = random(3) === 0 ? 1 + random(100) : 1;
      const toPort = 1 + random(65536 - ports);
      const to = (0xc0a80000 + random(0x10000)) | 0;
      return {
        uplinks: 1,
        protocol: [TCP, UDP][random(2)]!,
        firstPort: first,
        lastPort: first + ports - 1,
        to,
        toPort,
      };
    });
    const loop = openLoop(workers, forwards);
    const made = forwards.flatMap((forward) =>
      [0, forward.lastPort - forward.firstPort, random(forward.lastPort - forward.firstPort + 1)].map((offset) =>
        forwardedPayload(forward, offset, workers),
      ),
    );
    checkEach(loop, made, `${workers} workers, forwards ${JSON.stringify(forwards)}`);
    checkRandomPackets(loop, workers, "beside forwards");
    loop.close();
  }
}

function forwardedPayload(forward: Forward, offset: number, workers: number): Payload {
  const { protocol, to, toPort } = forward;
  const port = forward.firstPort + offset;
  const worker = steer(to, toPort + offset, workers);
  const far = 1 + random(65535);
  const segment = (from: number, to: number) => (protocol === TCP ? tcp(from, to) : udp(from, to));
  if (random(3) > 0) return { protocol, payload: segment(far, port), worker };
  const inner = ipv4({
    source: ours,
    destination: theirs,
    protocol,
    payload: segment(port, far),
    optionWords: random(3),
  });
  return { protocol: ICMP, payload: icmpError([3, 11, 12][random(3)]!, inner), worker };
}

/** The inside, on the far end of the wire, sends to us: itself, or an error about what it got. */
function checkLan(workers: number): void {
  const loop = openLoop(workers, [], [ours | 0]);
  const made = Array.from({ length: 200 }, (): Payload => {
    const [port, ownPort] = [1 + random(65535), firstPort + random(1000)];
    const protocol = [TCP, UDP][random(2)]!;
    const segment = (from: number, to: number) => (protocol === TCP ? tcp(from, to) : udp(from, to));
    const worker = steer(theirs, port, workers);
    if (random(3) > 0) return { protocol, payload: segment(port, ownPort), worker };
    const inner = ipv4({
      source: ours,
      destination: theirs,
      protocol,
      payload: segment(ownPort, port),
      optionWords: random(3),
    });
    return { protocol: ICMP, payload: icmpError([3, 11, 12][random(3)]!, inner), worker };
  });
  checkEach(loop, made, `a LAN, ${workers} workers`);
  loop.close();
}

/** Sends them all and looks where each arrived. */
function checkEach(loop: DeviceLoop, made: readonly Payload[], what: string): void {
  const expected = new Map<number, number>();
  const found = new Map<number, number>();
  for (const [i, { protocol, payload, worker }] of made.entries()) {
    const identification = i + 1;
    const packet = ipv4({
      source: theirs,
      destination: ours,
      protocol,
      payload,
      identification,
      optionWords: random(3),
    });
    expected.set(identification, worker);
    loop.send(0, frame(right, left, packet));
    if (identification % 50 === 0 || identification === made.length) {
      const [, ...perWorker] = loop.drain(50);
      for (const [index, received] of perWorker.entries()) {
        for (const bytes of received) found.set(new DataView(bytes.buffer).getUint16(ipAt + 4), index);
      }
    }
  }
  assert.deepEqual(new Map([...found].sort(([a], [b]) => a - b)), expected, `${what}, seed ${seed}`);
}

interface Payload {
  protocol: number;
  payload: Uint8Array;
  worker: number;
}

function randomPayload(port: number, worker: number): Payload {
  const inner = (protocol: number, payload: Uint8Array) =>
    icmpError(
      [3, 4, 5, 11, 12][random(5)]!,
      ipv4({ source: ours, destination: theirs, protocol, payload, optionWords: random(3) }),
    );
  switch (random(12)) {
    case 0:
      return { protocol: UDP, payload: udp(random(65536), port), worker };
    case 1:
      return { protocol: TCP, payload: tcp(random(65536), port), worker };
    case 2:
      return { protocol: ICMP, payload: icmpEcho(0, port), worker };
    case 3:
      return { protocol: ICMP, payload: icmpEcho(8, port), worker };
    case 4:
      return { protocol: ICMP, payload: inner(UDP, udp(port, random(65536))), worker };
    case 5:
      return { protocol: ICMP, payload: inner(TCP, tcp(port, random(65536))), worker };
    case 6:
      return { protocol: ICMP, payload: inner(ICMP, icmpEcho(8, port)), worker };
    case 7:
      return { protocol: ICMP, payload: icmpEcho(14, port), worker };
    case 8:
      return { protocol: ICMP, payload: inner(ICMP, icmpEcho(13, port)), worker };
    case 9:
      return { protocol: GRE, payload: udp(port, port), worker: 0 };
    case 10:
      return { protocol: ICMP, payload: inner(50 + random(200), udp(port, port)), worker: 0 };
    default:
      return { protocol: ICMP, payload: icmpError(6, udp(1, 2)), worker: 0 };
  }
}

/** Three pieces, the last first: one datagram for the worker that its port names. */
function checkReassembly(loop: DeviceLoop, workers: number): void {
  for (let port = firstPort; port < firstPort + workers; port++) {
    for (const packet of fragmentsOf(port).reverse()) loop.send(0, frame(right, left, packet));
    const [, ...perWorker] = loop.drain(50);
    const lengths = perWorker.map((received) => received.map((bytes) => bytes.length - ipAt));
    const expected = lengths.map((_, worker) => (worker === port % workers ? [20 + 8 + 3000] : []));
    assert.deepEqual(lengths, expected, `a datagram in three pieces to port ${port} of ${workers} workers`);
  }
}

/** One worker needs no fanout: fragments arrive as they are, later ones too, which carry no port. */
function checkFragmentsPassOneSocket(): void {
  const loop = openLoop(1, []);
  for (const packet of fragmentsOf(firstPort)) loop.send(0, frame(right, left, packet));
  const [, received] = loop.drain(50);
  assert.deepEqual(
    received!.map((bytes) => bytes.length - ipAt),
    [20 + 1400, 20 + 1400, 20 + 208],
  );
  loop.close();
}

function fragmentsOf(port: number): Uint8Array[] {
  const datagram = udp(53, port, new Uint8Array(3000));
  const fields = { source: theirs, destination: ours, protocol: UDP, identification: port };
  return [0, 1400, 2800].map((at) => {
    const payload = datagram.slice(at, at + 1400);
    return ipv4({ ...fields, payload, fragment: (at / 8) | (at + 1400 < datagram.length ? 0x2000 : 0) });
  });
}
