/** Processes for tests: run one to its end, or keep one and look at what it says. Both bounded in time. */

import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";

export interface RunOptions {
  /** Written to its standard input, which is empty otherwise. */
  input?: string;
  /** Default 30,000. */
  timeoutMs?: number;
  /** Return a failed command's result instead of throwing. */
  mayFail?: boolean;
  env?: Record<string, string>;
}

export interface RunResult {
  /** Exit status; 128 + the signal's number when a signal ended it, as a shell says it. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end. Throws when it fails, with all it said, unless `mayFail`; when it outlives `timeoutMs` always. */
export async function runCommand(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const running = new Running(command, options.env ?? {}, options.input ?? "");
  const status = await withDeadline(running.exited, timeoutMs);
  if (status === late) {
    await running.stop("SIGKILL");
    throw new Error(`${command.join(" ")}: still running after ${timeoutMs} ms\n${running.output}`);
  }
  if (status !== 0 && !options.mayFail) {
    throw new Error(`${command.join(" ")}: exit status ${status}\n${running.output}`);
  }
  return { status, stdout: running.stdout, stderr: running.stderr };
}

export class Running {
  readonly command: readonly string[];
  stdout = "";
  stderr = "";
  /** Resolves with the exit status when the process has ended and all its output is here. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  #listeners: (() => void)[] = [];
  #ended = false;

  constructor(command: readonly string[], env: Record<string, string> = {}, input = "") {
    this.command = command;
    this.#child = spawn(command[0]!, command.slice(1), { env: { ...process.env, ...env } });
    this.#child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#tell();
    });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
      this.#tell();
    });
    // A command that does not read its input closes the pipe first: its business.
    this.#child.stdin!.on("error", () => {});
    this.#child.stdin!.end(input);
    this.exited = new Promise((resolve) => {
      const end = (status: number) => {
        this.#ended = true;
        this.#tell();
        resolve(status);
      };
      this.#child.on("error", (error) => {
        this.stderr += String(error);
        end(127);
      });
      this.#child.on("close", (status, signal) => end(status ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Standard output and standard error, one after the other. */
  get output(): string {
    return this.stdout + this.stderr;
  }

  /** Waits until the output matches. Throws, with the output, when the process ends or `timeoutMs` passes before. */
  async waitFor(pattern: RegExp, timeoutMs = 10_000): Promise<void> {
    let look = () => {};
    const seen = new Promise<void>((resolve, reject) => {
      look = () => {
        if (pattern.test(this.output)) resolve();
        else if (this.#ended) reject(new Error(`${this.command.join(" ")} ended without ${pattern}:\n${this.output}`));
      };
      this.#listeners.push(look);
      look();
    });
    try {
      if ((await withDeadline(seen, timeoutMs)) === late) {
        throw new Error(`${this.command.join(" ")}: no ${pattern} within ${timeoutMs} ms:\n${this.output}`);
      }
    } finally {
      // Or each later word of a talkative process would be searched for it, and all before it too.
      this.#listeners = this.#listeners.filter((listener) => listener !== look);
    }
  }

  /** Ends it and returns its exit status; SIGKILL after ten seconds. Returns at once when it has ended already. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    this.#child.kill(signal);
    const status = await withDeadline(this.exited, 10_000);
    if (status !== late) return status;
    this.#child.kill("SIGKILL");
    return this.exited;
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

const late = Symbol("late");

async function withDeadline<T>(promise: Promise<T>, timeoutMs: number): Promise<T | typeof late> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<typeof late>((resolve) => {
    timer = setTimeout(() => resolve(late), timeoutMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
