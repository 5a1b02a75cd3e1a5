/** A running `sluice up` in the lab's router, with its own configuration file and control socket. */

import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { FlowReport, StatusReport } from "../../src/control/report.ts";
import type { Lab } from "./lab.ts";
import type { Running, RunOptions, RunResult } from "./process.ts";

const sluiceCommand = fileURLToPath(new URL("../../bin/sluice", import.meta.url));

export interface SluiceOptions {
  /** The file's text, or what YAML shall be made of. */
  config: string | object;
  /** Further words after `sluice up -c FILE --socket SOCKET`. */
  args?: readonly string[];
  env?: Record<string, string>;
  /** How long it may take to answer; default 30,000. */
  readyMs?: number;
}

/** What every uplink of the lab gets, in the lab's order; the rest of the configuration is its defaults. */
export function labConfig(lab: Lab, more: object = {}): object {
  const interfaces = ["wan0", "wan1", "wan2"];
  return {
    steer: { interfaces: ["lan0"], local: true },
    uplinks: lab.isps.map((name, index) => ({ name, interface: interfaces[index] })),
    ...more,
  };
}

export class Sluice {
  readonly configFile: string;
  readonly socket: string;
  readonly #lab: Lab;
  readonly #process: Running;
  readonly #readyMs: number;

  constructor(lab: Lab, options: SluiceOptions) {
    const directory = mkdtempSync(join(lab.directory, "sluice-"));
    this.#lab = lab;
    this.#readyMs = options.readyMs ?? 30_000;
    this.configFile = join(directory, "sluice.yaml");
    this.socket = join(directory, "control.sock");
    this.write(options.config);
    const command = [sluiceCommand, "up", "-c", this.configFile, "--socket", this.socket, ...(options.args ?? [])];
    this.#process = lab.spawn("router", command, options.env);
  }

  /** Replaces the configuration file; `reload` or SIGHUP makes it count. */
  write(config: string | object): void {
    writeFileSync(this.configFile, typeof config === "string" ? config : stringify(config));
  }

  /** Returns when it answers on its socket. Throws with its whole output when it ends first or takes too long. */
  async ready(): Promise<void> {
    const deadline = Date.now() + this.#readyMs;
    while (Date.now() < deadline && !this.#process.ended) {
      if (existsSync(this.socket) && (await this.run(["status", "--json"], { mayFail: true })).status === 0) return;
      await sleep(20);
    }
    const what = this.#process.ended ? `ended with status ${await this.#process.exited}` : "does not answer";
    await this.#process.stop();
    throw new Error(`sluice up ${what}:\n${this.output}`);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** All it wrote so far. */
  get output(): string {
    return this.#process.output;
  }

  /** Resolves with its exit status when it ends. */
  get exited(): Promise<number> {
    return this.#process.exited;
  }

  /** Waits until its output matches. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<void> {
    return this.#process.waitFor(pattern, timeoutMs);
  }

  /** Runs another `sluice` command against this daemon. */
  run(args: readonly string[], options?: RunOptions): Promise<RunResult> {
    return this.#lab.exec("router", [sluiceCommand, ...args, "--socket", this.socket], options);
  }

  async status(): Promise<StatusReport> {
    return JSON.parse((await this.run(["status", "--json"])).stdout) as StatusReport;
  }

  async flows(...args: string[]): Promise<FlowReport[]> {
    return JSON.parse((await this.run(["flows", "--json", ...args])).stdout) as FlowReport[];
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal);
  }

  /** SIGTERM; returns the exit status. */
  stop(): Promise<number> {
    return this.#process.stop();
  }

  /** SIGKILL, as if it had crashed. */
  kill9(): Promise<number> {
    return this.#process.stop("SIGKILL");
  }
}
