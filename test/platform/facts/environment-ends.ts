/**
 * What a thread opened is closed with it, also when it is terminated in the middle of a turn; what other
 * threads still use stays until they are done; the process ends with a worker waiting.
 */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { loadNative } from "../../../src/io/native.ts";
import { openTunQueues } from "../../../src/io/tun.ts";
import { LoopWorker } from "../../support/loop-worker.ts";
import { enterOwnNetwork, ip } from "../../support/own-network.ts";

const timeoutMs = 300;
const workers = 8;

enterOwnNetwork();
const native = loadNative();

await checkTermination();
await checkOrphan();
await checkOwnDescriptors();
leaveWithWorkerWaiting();

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

async function checkTermination(): Promise<void> {
  const [fd] = openTunQueues("sluice0", 1);
  await startAndTerminate(fd!);
  const before = openDescriptors();
  for (let i = 0; i < workers; i++) await startAndTerminate(fd!);
  assert.ok(openDescriptors() <= before, "terminated workers leave no descriptor behind");
  native.close(fd!);
  assert.throws(() => ip("link show sluice0"), /does not exist/, "and hold none of others");
}

async function startAndTerminate(fd: number): Promise<void> {
  const worker = new LoopWorker([{ fd, kind: "tun" }], timeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  assert.throws(() => native.close(fd), { code: "EBUSY" }, "and holds the queue");
  await worker.worker.terminate();
}

/** A worker opens a TUN and ends; the loop of another goes on, and the device goes with that loop. */
async function checkOrphan(): Promise<void> {
  const opener = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
     import(workerData).then((tun) => parentPort.postMessage(tun.openTunQueues("sluice0", 1)[0]));
     parentPort.on("message", () => {});`,
    { eval: true, workerData: new URL("../../../src/io/tun.ts", import.meta.url).href },
  );
  const fd = await new Promise<number>((resolve, reject) => opener.once("message", resolve).once("error", reject));
  const worker = new LoopWorker([{ fd, kind: "tun" }], timeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  await opener.terminate();
  assert.match(ip("link show sluice0"), /sluice0/, "the loop keeps the device");
  const turns = worker.turns;
  assert.ok(
    LoopWorker.until(() => worker.turns > turns + 1),
    "and goes on",
  );
  await worker.stop();
  assert.throws(() => ip("link show sluice0"), /does not exist/, "the last holder closed it");
}

/** The event that every loop worker opens for itself is closed with it. */
async function checkOwnDescriptors(): Promise<void> {
  const [fd] = openTunQueues("sluice0", 1);
  const worker = new LoopWorker([{ fd: fd!, kind: "tun" }], timeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  const { eventFd } = worker;
  native.eventSignal(eventFd);
  await worker.worker.terminate();
  assert.throws(() => native.eventSignal(eventFd), { code: "EBADF" });
  native.close(fd!);
}

function leaveWithWorkerWaiting(): void {
  const [fd] = openTunQueues("sluice0", 1);
  const worker = new LoopWorker([{ fd: fd!, kind: "tun" }], timeoutMs);
  assert.ok(
    LoopWorker.until(() => worker.turns > 0),
    "the worker turns",
  );
  process.exit(0);
}
