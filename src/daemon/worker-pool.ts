/**
 * The worker threads, from outside: start, ask, stop, and the promise that none dies unnoticed. A
 * worker that ends without having been told to takes the daemon down with its reason; half the
 * traffic silently gone would be worse than none.
 */
import { Worker } from "node:worker_threads";
import type { FlowTuple, FoundFlow, ListedFlow } from "../dataplane/flow-list.ts";
import type { FlowPolicy } from "../dataplane/flow-policy.ts";
import { loadNative } from "../io/native.ts";
import { counter, type SharedState } from "../tables/shared-state.ts";
import type { Answer, Request, WorkerStart } from "../worker-protocol.ts";

/** A worker that does not answer within this time is stuck. */
const answerMs = 10_000;

export class WorkerPool {
  readonly #shared: SharedState;
  readonly #eventFds: readonly number[];
  readonly #workers: Worker[] = [];
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #ready: Promise<number>[] = [];
  readonly #lastTurns: number[] = [];
  #nextId = 1;
  #stopping = false;

  /** Starts the workers. `onDeath` is called once for each that ends on its own. */
  constructor(shared: SharedState, starts: readonly WorkerStart[], onDeath: (reason: string) => void) {
    this.#shared = shared;
    this.#eventFds = starts[0]!.eventFds;
    for (const start of starts) this.#startOne(start, onDeath);
  }

  /** Resolves when all loops run, to the bytes that their tables and packet memory take. */
  async ready(): Promise<number> {
    const bytes = await Promise.all(this.#ready);
    return bytes.reduce((sum, one) => sum + one, 0);
  }

  /** At most `limit` flows of all workers, of one uplink or of all (-1). */
  async flows(uplink: number, limit: number): Promise<ListedFlow[]> {
    const lists = await Promise.all(this.#workers.map((_, worker) => this.#askFlows(worker, uplink, limit)));
    return lists.flat().slice(0, limit);
  }

  /** The flow of a tuple, and where its source is mapped to, whichever worker has it. */
  async find(tuple: FlowTuple): Promise<FoundFlow> {
    const all = await Promise.all(
      this.#workers.map(async (_, worker) => {
        const answer = await this.#ask(worker, (id) => ({ kind: "find", id, tuple }));
        return answer.kind === "found" ? answer.found : { flow: null, mappedUplink: -1 };
      }),
    );
    return {
      flow: all.find(({ flow }) => flow !== null)?.flow ?? null,
      mappedUplink: Math.max(...all.map(({ mappedUplink }) => mappedUplink)),
    };
  }

  /** Has the workers open flows by another policy. */
  follow(policy: FlowPolicy): void {
    for (const worker of this.#workers.keys()) this.#post(worker, { kind: "policy", policy });
  }

  /** Whether every loop has turned since the last time this was asked. */
  isAlive(): boolean {
    return this.#workers.every((_, worker) => {
      const turns = this.#shared.counters(worker)[counter.turns]!;
      const moved = turns !== this.#lastTurns[worker];
      this.#lastTurns[worker] = turns;
      return moved;
    });
  }

  /** Ends the waits of all loops, so that they look at what has changed now. */
  wake(): void {
    for (const fd of this.#eventFds) loadNative().eventSignal(fd);
  }

  /** Ends the workers; their loops are closed when this resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const ended = this.#workers.map((worker) => new Promise<void>((resolve) => worker.once("exit", () => resolve())));
    const alive = this.#workers.map((worker) => worker.threadId !== -1);
    for (const worker of this.#workers.keys()) if (alive[worker]) this.#post(worker, { kind: "stop" });
    const timer = setTimeout(() => this.#workers.forEach((worker) => void worker.terminate()), answerMs);
    await Promise.all(ended.filter((_, worker) => alive[worker]));
    clearTimeout(timer);
  }

  #startOne(start: WorkerStart, onDeath: (reason: string) => void): void {
    const worker = new Worker(new URL("../worker.ts", import.meta.url), { workerData: start });
    let reason = "it ended by itself";
    const ready = new Promise<number>((resolve, reject) => {
      worker.on("message", (answer: Answer) => {
        if (answer.kind === "ready") resolve(answer.memoryBytes);
        else this.#waiting.get(answer.id)?.(answer);
      });
      worker.on("error", (error) => {
        reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
      });
      worker.on("exit", () => {
        if (this.#stopping) return;
        const message = `worker ${start.worker} died: ${reason}`;
        reject(new Error(message));
        onDeath(message);
      });
    });
    // Whoever awaits `ready` hears of it; a death after that goes to `onDeath` alone.
    ready.catch(() => {});
    this.#ready.push(ready);
    this.#workers.push(worker);
  }

  async #askFlows(worker: number, uplink: number, limit: number): Promise<ListedFlow[]> {
    const answer = await this.#ask(worker, (id) => ({ kind: "flows", id, uplink, limit }));
    return answer.kind === "flows" ? answer.flows : [];
  }

  #ask(worker: number, request: (id: number) => Request): Promise<Answer> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`worker ${worker} did not answer within ${answerMs / 1000} s`));
      }, answerMs);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(answer);
      });
      this.#post(worker, request(id));
    });
  }

  #post(worker: number, request: Request): void {
    this.#workers[worker]!.postMessage(request);
    this.#shared.announceRequest(worker);
    loadNative().eventSignal(this.#eventFds[worker]!);
  }
}
