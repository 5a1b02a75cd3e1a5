/**
 * An interface is deleted and made again while a worker polls its socket: the new socket takes the old
 * one's number and the worker goes on. Nothing spins meanwhile, and a removed TUN does not make a loop
 * spin either.
 *
 *     right ──wire── left, twice
 */

import assert from "node:assert/strict";
import { loadNative } from "../../../src/io/native.ts";
import { openSockets, reopenSockets } from "../../../src/io/packet-socket.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { LoopWorker } from "../../support/loop-worker.ts";
import { describeLink, enterOwnNetwork, ip, type Link, makeWire, waitUntilUp } from "../../support/own-network.ts";
import { concat, frame, ipv4, UDP, udp } from "../../support/raw-packet.ts";

/** A loop that spins makes tens of thousands of turns in this time, one that waits a handful. */
const idleMs = 1000;
const idleTurns = 100;
const longTimeoutMs = 60_000;

enterOwnNetwork();
const native = loadNative();
const range = { linkHeaderBytes: 14, firstPort: 16384, lastPort: 32767, workers: 1, forwards: [], destinations: null };

await checkReplacement();
await checkRemovedTun();
checkPointToPoint();

async function checkReplacement(): Promise<void> {
  let [left, right] = makeWire("left", "right");
  const fds = openSockets({ ...range, interface: "left", ifindex: left.ifindex });
  const worker = new LoopWorker([{ fd: fds[0]!, kind: "packet" }], longTimeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  sendOne(left, right);
  assert.ok(
    LoopWorker.until(() => worker.packets === 1),
    "it receives on the first interface",
  );

  ip("link del left");
  await checkIdle(worker, "the interface is gone");

  [left, right] = makeWire("left", "right");
  reopenSockets(fds, { ...range, interface: "left", ifindex: left.ifindex });
  native.eventSignal(worker.eventFd);
  sendOne(left, right);
  assert.ok(
    LoopWorker.until(() => worker.packets === 2),
    "it receives on the second interface, by the same number",
  );

  ip("link set left down");
  await checkIdle(worker, "the link is down");
  ip("link set left up");
  waitUntilUp(left);
  waitUntilUp(right);
  sendOne(left, right);
  assert.ok(
    LoopWorker.until(() => worker.packets === 3),
    "it receives when the link is back",
  );

  assert.throws(() => native.close(fds[0]!), { code: "EBUSY" }, "the worker still holds the socket");
  await stop(worker);
  native.close(fds[0]!);
}

async function checkRemovedTun(): Promise<void> {
  const [fd] = openTunQueues("sluice0", 1);
  const worker = new LoopWorker([{ fd: fd!, kind: "tun" }], longTimeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  ip("link del sluice0");
  await checkIdle(worker, "the TUN was removed");
  await stop(worker);
}

/** Without a MAC header every packet names its interface, which is another one after the replacement. */
function checkPointToPoint(): void {
  const options = () => ({ ...range, interface: "ptp0", ifindex: describeLink("ptp0").ifindex, linkHeaderBytes: 0 });
  const packet = concat(
    new Uint8Array(10),
    ipv4({ source: 0xcb007102, destination: 0xc000020a, protocol: UDP, payload: udp(20000, 53) }),
  );
  let [tunFd] = openTunQueues("ptp0", 1);
  ip("link set ptp0 up");
  const fds = openSockets(options());
  const loop = new DeviceLoop([{ fd: fds[0]!, kind: "packet", sendProtocol: 0x0800 }]);
  native.close(tunFd!);
  [tunFd] = openTunQueues("ptp0", 1);
  ip("link set ptp0 up");
  reopenSockets(fds, options());
  loop.send(0, packet);
  loop.turn();
  const farEnd = new DeviceLoop([{ fd: tunFd!, kind: "tun" }]);
  assert.deepEqual(farEnd.drain(), [[packet]], "it leaves by the new interface");
}

async function checkIdle(worker: LoopWorker, when: string): Promise<void> {
  const before = worker.turns;
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const turns = worker.turns - before;
  assert.ok(turns < idleTurns, `the loop waits while ${when}: ${turns} turns in ${idleMs} ms`);
}

async function stop(worker: LoopWorker): Promise<void> {
  const stopped = worker.stop();
  native.eventSignal(worker.eventFd);
  await stopped;
}

function sendOne(to: Link, from: Link): void {
  const [fd] = openSockets({ ...range, interface: from.name, ifindex: from.ifindex });
  const loop = new DeviceLoop([{ fd: fd!, kind: "packet" }]);
  const packet = ipv4({ source: 0xc000020a, destination: 0xcb007102, protocol: UDP, payload: udp(53, 20000) });
  loop.send(0, frame(from, to, packet));
  loop.turn();
  assert.equal(loop.dropped(0), 0);
  loop.close();
  native.close(fd!);
}
