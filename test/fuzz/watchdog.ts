/**
 * Ends a process whose input does not end: a thread that sees the same input run for too long names it and kills the
 * process, since nothing else can interrupt a loop.
 */
import { Worker } from "node:worker_threads";

const longestRunMs = 10_000;
const mostBytes = 8192;

export interface Watchdog {
  /** Notes the input that runs now. */
  watch(input: Uint8Array): void;
  close(): Promise<unknown>;
}

export function startWatchdog(): Watchdog {
  const memory = new SharedArrayBuffer(8 + mostBytes);
  /** [inputs so far, length of this one] */
  const words = new Int32Array(memory, 0, 2);
  const bytes = new Uint8Array(memory, 8);
  const worker = new Worker(`(${look})(require("node:worker_threads").workerData)`, {
    eval: true,
    workerData: { memory, longestRunMs },
  });
  worker.unref();
  return {
    watch: (input) => {
      bytes.set(input.subarray(0, mostBytes));
      words[1] = input.length;
      words[0]!++;
    },
    close: () => worker.terminate(),
  };
}

/** Runs in the thread, from its text. */
function look({ memory, longestRunMs }: { memory: SharedArrayBuffer; longestRunMs: number }): void {
  const words = new Int32Array(memory, 0, 2);
  let last = -1;
  setInterval(() => {
    if (words[0] === last && last > 0) {
      const input = Buffer.from(new Uint8Array(memory, 8, words[1]).slice());
      process.stderr.write(`an input runs for more than ${longestRunMs} ms: ${input.toString("base64")}\n`, () =>
        process.kill(process.pid, "SIGKILL"),
      );
    }
    last = words[0]!;
  }, longestRunMs);
}
