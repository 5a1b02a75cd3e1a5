/**
 * A worker thread that turns a loop over devices opened by the main thread, and reports what it sees.
 * The main thread talks to it by words in shared memory, as the real workers are: a thread that sits in
 * a turn hears no messages.
 */

import { parentPort, Worker, workerData } from "node:worker_threads";
import { DeviceLoop, type TestDevice } from "./device-loop.ts";

/** Words of the shared memory. */
const word = { stop: 0, turns: 1, packets: 2, eventFd: 3 } as const;

/** The main thread's side. */
export class LoopWorker {
  readonly #words = new Int32Array(new SharedArrayBuffer(64));
  readonly worker: Worker;

  constructor(devices: readonly TestDevice[], timeoutMs: number) {
    this.worker = new Worker(new URL(import.meta.url), { workerData: { words: this.#words, devices, timeoutMs } });
  }

  /** Turns begun so far. */
  get turns(): number {
    return Atomics.load(this.#words, word.turns);
  }

  /** Packets received on all devices so far. */
  get packets(): number {
    return Atomics.load(this.#words, word.packets);
  }

  get eventFd(): number {
    return Atomics.load(this.#words, word.eventFd);
  }

  /** Blocks until `condition` holds, 5 s at most; whether it does. */
  static until(condition: () => boolean): boolean {
    for (let tries = 0; tries < 500 && !condition(); tries++)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    return condition();
  }

  /** Ends after the current turn. Rejects when the loop had failed. */
  async stop(): Promise<void> {
    Atomics.store(this.#words, word.stop, 1);
    await new Promise<void>((resolve, reject) => {
      this.worker.once("error", reject).once("exit", () => resolve());
    });
  }
}

function runLoop(data: { words: Int32Array; devices: readonly TestDevice[]; timeoutMs: number }): void {
  const { words, devices, timeoutMs } = data;
  const loop = new DeviceLoop(devices);
  Atomics.store(words, word.eventFd, loop.eventFd);
  while (Atomics.load(words, word.stop) === 0) {
    Atomics.add(words, word.turns, 1);
    Atomics.add(words, word.packets, loop.native.turn(loop.handle, timeoutMs));
  }
  loop.close();
}

if (parentPort) runLoop(workerData);
