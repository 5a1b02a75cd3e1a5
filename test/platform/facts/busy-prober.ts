/**
 * A thread that is busy while answers come in still counts them, with the time that they took: a probe must not call an
 * uplink dead because the daemon had something else to do.
 *
 *     main thread: probers, and busy for longer than their timeout        worker: the servers
 */

import assert from "node:assert/strict";
import { Worker } from "node:worker_threads";
import type { ProbeConfig } from "../../../src/control/config-types.ts";
import { type ProbeRound, type Prober, startProber } from "../../../src/control/probes/prober.ts";
import { enterOwnNetwork } from "../../support/own-network.ts";

const timeoutMs = 1500;
const busyMs = 2500;

enterOwnNetwork();
const servers = new Worker(
  `require("node:http").createServer((_, response) => response.end("here")).listen(80, "127.0.0.1", () => {
     const dns = require("node:dgram").createSocket("udp4");
     // The question with the bit of an answer.
     dns.on("message", (question, from) => dns.send(Buffer.from(question).fill(question[2] | 0x80, 2, 3), from.port, from.address));
     dns.bind(53, "127.0.0.1", () => require("node:worker_threads").parentPort.postMessage("ready"));
   });`,
  { eval: true },
);
await new Promise((resolve) => servers.once("message", resolve));

const probes: [ProbeConfig["type"], string][] = [
  ["icmp", "127.0.0.1"],
  ["tcp", "127.0.0.1:80"],
  ["tcp", "127.0.0.1:81"],
  ["http", "http://127.0.0.1/"],
  ["dns", "127.0.0.1"],
];
// The kernel begins to time packets some moments after the first socket that asks for it (net_enable_timestamp in
// net/core/dev.c defers it); until then each seems to have come when it was read. So one socket is there before.
await ask("icmp", "127.0.0.1", () => {});
for (let tries = 0; tries < 100; tries++) {
  const round = ask("icmp", "127.0.0.1", (prober) => prober.stop());
  sleep(40);
  if ((await round).rttMs! < 40) break;
}
const rounds = probes.map(([type, target]) => ask(type, target, (prober) => prober.stop()));
sleep(busyMs);
for (const [i, { reason, rttMs }] of (await Promise.all(rounds)).entries()) {
  const what = probes[i]!.join(" ");
  assert.equal(reason, "", what);
  // Of a reset the kernel does not tell what it took: it may seem to have taken all the time that it had.
  assert.ok(rttMs! <= timeoutMs, `${what}: ${rttMs} ms`);
}
await servers.terminate();
process.exit();

/** Keeps the thread from everything else. */
function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** The first round of a prober, which goes to `then` after it. */
function ask(type: ProbeConfig["type"], target: string, then: (prober: Prober) => void): Promise<ProbeRound> {
  const none = { lossRatio: null, latencyMs: null, jitterMs: null };
  const config = {
    type,
    targets: [target],
    quorum: 1,
    intervalMs: 60_000,
    timeoutMs,
    down: 1,
    up: 1,
    window: 5,
    ...none,
  };
  const path = { interface: "lo", ifindex: 1, address: "127.0.0.1", gateway: null, address6: null, gateway6: null };
  return new Promise((resolve) => {
    const report = (round: ProbeRound) => {
      then(prober);
      resolve(round);
    };
    const prober = startProber(
      { ...path, linkHeaderBytes: 14 },
      { ...config, query: "example.com", degraded: none },
      report,
    );
  });
}
