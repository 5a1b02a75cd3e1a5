/**
 * Tells that something about the uplinks may have changed: `ip monitor`, restarted when it ends.
 *
 * setpriv has the kernel end the child with us, also when we are killed: `ip monitor` alone would
 * only notice at its next line, which on a quiet machine may be hours away. A session of its own keeps
 * the terminal's Ctrl-C from it.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { commandEnvironment, startFailure } from "./command.ts";

const firstRestartMs = 500;
const longestRestartMs = 30_000;
/** A child that lived this long was fine; the next restart is quick again. */
const healthyMs = 60_000;

const program = "setpriv";
const programArguments = ["--pdeathsig", "KILL", "ip", "-oneline", "monitor", "link", "address", "neigh", "route"];

/** What tells a neighbour's line from a route's: its MAC address or its state (iproute2's ipneigh.c). */
const neighbourLine = /\b(lladdr|INCOMPLETE|REACHABLE|STALE|DELAY|PROBE|FAILED|NOARP|PERMANENT|NONE)\b/;

export class Monitor {
  readonly #uplinks: () => readonly string[];
  readonly #lans: readonly string[];
  readonly #onTrigger: () => void;
  readonly #onProblem: (message: string) => void;
  #child: ChildProcess | null = null;
  #restart: NodeJS.Timeout | null = null;
  #restartMs = firstRestartMs;
  #closed = false;

  constructor(
    uplinks: () => readonly string[],
    lans: readonly string[],
    onTrigger: () => void,
    onProblem: (message: string) => void,
  ) {
    this.#uplinks = uplinks;
    this.#lans = lans;
    this.#onTrigger = onTrigger;
    this.#onProblem = onProblem;
    this.#start();
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  #start(): void {
    const startedAt = performance.now();
    const child = spawn(program, programArguments, {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: commandEnvironment,
    });
    this.#child = child;
    let complaint = "";
    child.on("error", (error) => {
      complaint = startFailure(program, error);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(0, 500);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (this.#concerns(line)) this.#onTrigger();
    });
    child.once("close", (code, signal) => {
      this.#child = null;
      if (this.#closed) return;
      if (performance.now() - startedAt > healthyMs) this.#restartMs = firstRestartMs;
      const why = complaint.trim() || (signal === null ? `exit code ${code}` : signal);
      this.#onProblem(`ip monitor ended (${why}); starts again in ${this.#restartMs} ms`);
      this.#restart = setTimeout(() => {
        this.#start();
        // What happened meanwhile printed no line.
        this.#onTrigger();
      }, this.#restartMs);
      this.#restartMs = Math.min(this.#restartMs * 2, longestRestartMs);
    });
  }

  /**
   * Link and address lines begin with the interface's number, and count all: a rename tells only the
   * new name. Neighbour and route lines are many on a busy router and count when they name an uplink; of a LAN's, with
   * its many neighbours, only the routes do.
   */
  #concerns(line: string): boolean {
    if (/^(Deleted )?\d+: /.test(line) || this.#uplinks().some((name) => line.includes(name))) return true;
    return this.#lans.some((name) => line.includes(name)) && !neighbourLine.test(line);
  }
}
