/**
 * One run of a hook's program: without a shell, in a process group of its own, with its input closed.
 *
 * What it prints is kept up to 4 KB; the rest is read and thrown away, so that it never waits for us. A run is over when the program
 * itself has ended. What it left in the background is its own business, and may keep its standard output: nobody reads it any more.
 * A program that is told to end and does not is killed, with all of its group; one that cannot even be killed (it waits for a dead
 * disk, say) is given up.
 */

import { type ChildProcess, spawn } from "node:child_process";

/** From being told to end until being killed, and from there until nobody waits for it. */
const graceMs = 2000;
/** What is in the pipe when the program has ended arrives within this. */
const lastWordsMs = 100;
export const maxOutputBytes = 4096;

export interface HookResult {
  /** Empty when it went well. */
  failure: string;
  /** Both outputs as they came, without the white space at the end. */
  output: string;
}

export interface HookRun {
  /** Never rejects. */
  readonly ended: Promise<HookResult>;
  /** Tells it to end; `why` becomes its failure. */
  end(why: string): void;
}

/** Starts a program, which has `timeoutMs` to end. */
export function runHook(program: string, env: NodeJS.ProcessEnv, timeoutMs: number): HookRun {
  let child: ChildProcess;
  try {
    child = spawn(program, [], { env, cwd: "/", detached: true, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    return { ended: Promise.resolve({ failure: startFailure(error as Error), output: "" }), end() {} };
  }
  const output = collect(child);
  const { promise, resolve } = Promise.withResolvers<HookResult>();
  const timers: NodeJS.Timeout[] = [];
  const after = (delayMs: number, task: () => void) => timers.push(setTimeout(task, delayMs));
  let endedBy = "";

  function finish(failure: string): void {
    for (const timer of timers) clearTimeout(timer);
    // Whatever of its group did not end with it was to end as well.
    if (endedBy !== "") killGroup(child, "SIGKILL");
    child.unref();
    const told = () => resolve({ failure: endedBy || failure, output: output.text() });
    const drained = setTimeout(told, lastWordsMs);
    child.once("close", () => {
      clearTimeout(drained);
      told();
    });
    if (child.pid === undefined) told();
  }

  function end(why: string): void {
    if (endedBy !== "") return;
    endedBy = why;
    killGroup(child, "SIGTERM");
    after(graceMs, () => killGroup(child, "SIGKILL"));
    after(2 * graceMs, () => finish(""));
  }

  child.once("error", (error) => finish(startFailure(error)));
  child.once("exit", (code, signal) => finish(exitFailure(code, signal)));
  after(timeoutMs, () => end(`did not end within ${timeoutMs} ms`));
  return { ended: promise.finally(() => output.close()), end };
}

function collect(child: ChildProcess) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      const kept = chunk.subarray(0, Math.max(maxOutputBytes - bytes, 0));
      if (kept.length > 0) chunks.push(kept);
      bytes += chunk.length;
    });
    stream?.on("error", () => {});
  }
  return {
    text() {
      const text = Buffer.concat(chunks).toString("utf8").trimEnd();
      return bytes > maxOutputBytes ? `${text} ... (${bytes - maxOutputBytes} bytes more)` : text;
    },
    close() {
      child.stdout?.destroy();
      child.stderr?.destroy();
    },
  };
}

/** The group's number is the program's: it was started as the leader of one. */
function killGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nobody is left in it.
  }
}

function startFailure({ code, message }: Error & { code?: unknown }): string {
  switch (code) {
    case "ENOENT":
      return "there is no such program, or no interpreter that its first line names";
    case "EACCES":
      return "it is not executable";
    default:
      return message;
  }
}

function exitFailure(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `ended by ${signal}`;
  return code === 0 ? "" : `exit code ${code}`;
}
