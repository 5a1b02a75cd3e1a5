/**
 * The kernel gives a packet from an uplink to the socket that its NAT port names, fragments put
 * together first; and the order of the sockets survives the link going down and up.
 *
 *     right ──wire── left, one socket a worker
 *
 * That the program's offsets count from the IP header, not from the MAC header, is part of the fact.
 */

import assert from "node:assert/strict";
import { openUplinkSockets } from "../../../src/io/packet-socket.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";
import { frame, ICMP, icmpEcho, icmpError, ipv4, randomFrom, TCP, tcp, UDP, udp } from "../../support/raw-packet.ts";

const firstPort = 16384;
const lastPort = 32767;
const ipAt = 24;
const [ours, theirs] = [0xcb007102, 0xc000020a]; // 203.0.113.2, 192.0.2.10

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
const seed = Date.now() >>> 0;
const random = randomFrom(seed);

for (const workers of [2, 3]) {
  const loop = openLoop(workers);
  checkRandomPackets(loop, workers, "after joining");
  ip("link set left down");
  ip("link set left up");
  loop.drain();
  checkRandomPackets(loop, workers, "after the link went down and up");
  checkReassembly(loop, workers);
  loop.close();
}
checkFragmentsPassOneSocket();

/** Device 0 sends from the far end, device n+1 is worker n's socket. */
function openLoop(workers: number): DeviceLoop {
  const options = { linkHeaderBytes: 14, firstPort, lastPort };
  const [far] = openUplinkSockets({ ...options, interface: "right", ifindex: right.ifindex, workers: 1 });
  const fds = openUplinkSockets({ ...options, interface: "left", ifindex: left.ifindex, workers });
  return new DeviceLoop([far!, ...fds].map((fd) => ({ fd, kind: "packet" })));
}

function checkRandomPackets(loop: DeviceLoop, workers: number, when: string): void {
  const expected = new Map<number, number>();
  const found = new Map<number, number>();
  const count = 150;
  for (let identification = 1; identification <= count; identification++) {
    const port = firstPort + random(lastPort - firstPort + 1);
    const { protocol, payload, worker } = randomPayload(port, port % workers);
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
    if (identification % 50 === 0) {
      const [, ...perWorker] = loop.drain(50);
      for (const [index, received] of perWorker.entries()) {
        for (const bytes of received) found.set(new DataView(bytes.buffer).getUint16(ipAt + 4), index);
      }
    }
  }
  assert.deepEqual(
    new Map([...found].sort(([a], [b]) => a - b)),
    expected,
    `${workers} workers, ${when}, seed ${seed}`,
  );
}

function randomPayload(port: number, worker: number): { protocol: number; payload: Uint8Array; worker: number } {
  const inner = (protocol: number, payload: Uint8Array) =>
    icmpError(
      [3, 4, 5, 11, 12][random(5)]!,
      ipv4({ source: ours, destination: theirs, protocol, payload, optionWords: random(3) }),
    );
  switch (random(8)) {
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
    default:
      return { protocol: ICMP, payload: icmpError(13, udp(1, 2)), worker: 0 };
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
  const loop = openLoop(1);
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
