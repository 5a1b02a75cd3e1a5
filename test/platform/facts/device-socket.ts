/**
 * Sockets of one interface: they send by it whatever the routes say, are told of answers by the event loop, know when
 * those came, and end with the thread that opened them.
 *
 *     left ──wire── right        the kernel's only route leads to `other`
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { type DeviceSocket, explainSocketError, openDeviceSocket } from "../../../src/io/device-socket.ts";
import type { Datagram, SocketKind } from "../../../src/io/native.ts";
import { enterOwnNetwork, ip, makeWire } from "../../support/own-network.ts";

const room = new Uint8Array(2048);
const echoRequest = Buffer.from("0800b7fe40000001", "hex");
const echoReply = "0000bffe40000001";

enterOwnNetwork();
const [left, right] = makeWire("left", "right");
makeWire("other", "another");
ip("address add 203.0.113.2/24 dev left");
ip("address add 198.51.100.2/24 dev other");
ip("route add default via 198.51.100.1");

await checkEcho();
await checkInterface();
await checkRefusals();
await checkWaiting();
await checkThreads();

function open(kind: SocketKind, device = "lo", ifindex = 1, address = "127.0.0.1"): DeviceSocket {
  return openDeviceSocket({ kind, interface: device, ifindex, address });
}

/** Datagrams and errors of a socket, as they come. */
async function* watch(socket: DeviceSocket): AsyncGenerator<Datagram & { hex: string }> {
  let wake = () => {};
  socket.onReadable(() => wake());
  for (;;) {
    const datagram = socket.receive(room);
    if (datagram !== null) yield { ...datagram, hex: Buffer.from(room.subarray(0, datagram.bytes)).toString("hex") };
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}

async function checkEcho(): Promise<void> {
  const socket = open("icmp");
  socket.send(echoRequest, "127.0.0.1");
  for await (const { hex, from } of watch(socket)) {
    assert.equal(from, "127.0.0.1");
    if (hex.slice(40) === echoReply) break;
  }
  socket.close();

  const socket6 = openDeviceSocket({ kind: "icmp6", interface: "lo", ifindex: 1, address: "::1" });
  socket6.send(Buffer.from("8000000040000001", "hex"), "::1");
  for await (const { hex, from, hopLimit } of watch(socket6)) {
    assert.equal(from, "::1");
    assert.equal(hopLimit, hex.startsWith("80") ? 255 : 64, "the kernel says how far it had come");
    if (hex === "81003eba40000001") break;
  }
  socket6.close();
}

/** What the only default route would send by `other` leaves by `left`, and what comes in by another interface is not received. */
async function checkInterface(): Promise<void> {
  const socket = open("udp", "left", left.ifindex, "203.0.113.2");
  socket.connect("192.0.2.10", 53);
  socket.send(Buffer.from("question"), null);
  const arp = openDeviceSocket({ kind: "arp", interface: "right", ifindex: right.ifindex, address: null });
  assert.deepEqual(Buffer.from(arp.macAddress()!), right.mac);
  const stranger = openDeviceSocket({ kind: "arp", interface: "lo", ifindex: 1, address: null });
  assert.equal(stranger.macAddress(), null, "loopback is no Ethernet");
  // Without a gateway on that interface, the kernel takes the target for a neighbour there, and asks for it.
  for await (const { hex } of watch(arp)) {
    if (hex.slice(0, 16) === "0001080006040001" && hex.endsWith("c000020a")) break;
  }
  assert.equal(stranger.receive(room), null);
  for (const each of [arp, socket, stranger]) each.close();
}

async function checkRefusals(): Promise<void> {
  const explain = (attempt: () => unknown): string => {
    try {
      attempt();
      return "nothing failed";
    } catch (error) {
      return explainSocketError(error, "wan0");
    }
  };
  assert.equal(
    explain(() => open("udp", "left", left.ifindex, "192.0.2.1")),
    "the address is not on wan0 (EADDRNOTAVAIL)",
  );
  const tcp = open("tcp");
  assert.throws(() => tcp.handshakeMs(), /ENOTCONN/);
  tcp.connect("127.0.0.1", 1);
  await new Promise<void>((resolve) => tcp.onWritable(resolve));
  assert.equal(
    explain(() => tcp.handshakeMs()),
    "refused (ECONNREFUSED)",
  );
  tcp.close();

  const udp = open("udp");
  const failed = new Promise<void>((resolve) => udp.onReadable(resolve));
  udp.connect("127.0.0.1", 1);
  udp.send(new Uint8Array(1), null);
  await failed;
  assert.equal(
    explain(() => udp.receive(room)),
    "refused (ECONNREFUSED)",
  );
  udp.close();
}

/** Somebody who comes late to a datagram is told how late. */
async function checkWaiting(): Promise<void> {
  const socket = open("icmp");
  socket.send(echoRequest, "127.0.0.1");
  await new Promise((resolve) => setTimeout(resolve, 200));
  const { waitedMs } = socket.receive(room)!;
  assert.ok(waitedMs >= 150, `it waited ${waitedMs} ms`);
  socket.close();
}

/** Threads that end with sockets open and watched leave none behind, whether they are told to or go by themselves. */
async function checkThreads(): Promise<void> {
  const source = `
    import(${JSON.stringify(import.meta.resolve("../../../src/io/device-socket.ts"))}).then(({ openDeviceSocket }) => {
      const open = () => openDeviceSocket({ kind: "udp", interface: "lo", ifindex: 1, address: "127.0.0.1" });
      open().onReadable(() => {});
      const brief = open();
      brief.onReadable(() => {});
      brief.close();
      require("node:worker_threads").parentPort.postMessage("open");
      require("node:worker_threads").parentPort.once("message", () => process.exit());
    });`;
  const run = async (isTold: boolean) => {
    const worker = new Worker(source, { eval: true });
    await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    if (isTold) worker.postMessage("end");
    else await worker.terminate();
    await ended;
  };
  await run(true);
  const before = readdirSync("/proc/self/fd").length;
  for (let i = 0; i < 8; i++) await run(i % 2 === 0);
  assert.ok(readdirSync("/proc/self/fd").length <= before, "ended threads leave no descriptor behind");
}
