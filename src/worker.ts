/**
 * A worker thread: one loop over one TUN queue and one packet socket per uplink, with tables of its
 * own. It never returns to the event loop while it runs; the main thread reaches it by a message, a
 * counter in shared memory that says there is one, and an event that ends its wait.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { findFlow, listFlows } from "./dataplane/flow-list.ts";
import { FlowMemory } from "./dataplane/flow-memory.ts";
import { Forwarder } from "./dataplane/forwarder.ts";
import { loadNative } from "./io/native.ts";
import { openPacketLoop } from "./io/packet-loop.ts";
import { queueWords } from "./tables/packet-memory.ts";
import { SharedState } from "./tables/shared-state.ts";
import type { Answer, Request, WorkerStart } from "./worker-protocol.ts";

/** Packets a device may deliver in one turn: enough to spread the cost of a system call, few enough to stay in the cache. */
const receiveSlots = 32;
/** Own ICMP errors, pieces of cut packets and mail in one turn. */
const scratchSlots = 64;
/** The longest wait: flows age and the watchdog is fed without traffic too. */
const waitMs = 250;
/** What reading a TUN queue gives when its device was deleted (drivers/net/tun.c). Node's table of errnos lacks it. */
const EBADFD = 77;

const start = workerData as WorkerStart;
/** Every thread's `performance.now` begins with the thread. */
const clockOffsetMs = performance.timeOrigin - start.timeOrigin;
const clock = () => performance.now() + clockOffsetMs;
const port = parentPort!;
run();

function run(): void {
  const shared = new SharedState(start.shared);
  const native = loadNative();
  // Packets then gather while whoever sends them runs on: with eight streams on two cores 16 % faster, small packets 5 %.
  native.scheduleBatch();
  const io = openPacketLoop({
    tunFd: start.tunFd,
    links: [...start.uplinks, ...start.lans],
    eventFd: start.eventFds[start.worker]!,
    receiveSlots,
    scratchSlots,
  });
  const [key0, key1, balanceKey0, balanceKey1] = start.secret;
  const forwarder = new Forwarder({
    ...start,
    uplinks: start.uplinks.length,
    io,
    shared,
    memory: new FlowMemory(start.memory, start.workers),
    key0,
    key1,
    balanceKey0,
    balanceKey1,
    random: Math.random,
    clock,
    wake: (worker) => native.eventSignal(start.eventFds[worker]!),
  });
  answer({ kind: "ready", memoryBytes: forwarder.memoryBytes + io.layout.totalBytes });
  const tun = io.devices[0]!;
  let seen = 0;
  let running = true;
  while (running) {
    forwarder.breath(waitMs);
    if (tun.counts[queueWords.lastErrno] === EBADFD) throw new Error("the TUN device is gone: somebody deleted it");
    if (shared.requests(start.worker) === seen) continue;
    seen = shared.requests(start.worker);
    running = serve(forwarder);
  }
  io.close();
}

/** Answers what waits at the port; false when the loop shall end. */
function serve(forwarder: Forwarder): boolean {
  for (let waiting = receiveMessageOnPort(port); waiting !== undefined; waiting = receiveMessageOnPort(port)) {
    const request = waiting.message as Request;
    if (request.kind === "stop") return false;
    if (request.kind === "policy") {
      forwarder.followPolicy(request.policy);
      continue;
    }
    if (request.kind === "find") {
      answer({ kind: "found", id: request.id, found: findFlow(forwarder.conntrack, request.tuple, clock()) });
      continue;
    }
    const flows = listFlows(forwarder.conntrack, request.uplink, request.limit, clock());
    answer({ kind: "flows", id: request.id, flows });
  }
  return true;
}

function answer(message: Answer): void {
  port.postMessage(message);
}
