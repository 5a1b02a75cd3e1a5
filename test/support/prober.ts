/** A prober in the lab's router (programs/prober.ts), the rounds that it reports, and paths of the lab to probe by. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProbeConfig } from "../../src/control/config-types.ts";
import type { ProbePath, ProbeRound } from "../../src/control/probes/prober.ts";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { program } from "./programs.ts";
import { gatewayAddress, type Isp, uplinkAddress, uplinkAddress6, uplinkInterface } from "./topology.ts";
import { until } from "./until.ts";

const thresholds = { lossRatio: null, latencyMs: null, jitterMs: null };

/** Often, and patient: a busy machine must not make a round a lost one. */
export const patient: ProbeConfig = {
  ...{ type: "icmp", targets: [], quorum: 1, intervalMs: 50, timeoutMs: 2000, down: 3, up: 3, window: 30 },
  ...{ ...thresholds, degraded: thresholds, query: "www.example.com" },
};
/** For what is not going to answer. */
export const impatient: ProbeConfig = { ...patient, timeoutMs: 200 };

/** The way out by a provider's line, as the router has it now. */
export async function pathBy(lab: Lab, isp: Isp): Promise<ProbePath> {
  const device = uplinkInterface[isp];
  return {
    interface: device,
    ifindex: await ifindexOf(lab, device),
    address: uplinkAddress[isp],
    gateway: gatewayAddress[isp],
    address6: uplinkAddress6[isp],
    gateway6: "fe80::1",
    linkHeaderBytes: 14,
  };
}

export async function ifindexOf(lab: Lab, device: string): Promise<number> {
  const [link] = JSON.parse((await lab.exec("router", ["ip", "-j", "link", "show", "dev", device])).stdout);
  return link.ifindex;
}

export class LabProber {
  readonly #running: Running;
  readonly #file: string;
  readonly #config: ProbeConfig;

  constructor(lab: Lab, path: ProbePath, config: ProbeConfig) {
    this.#file = join(lab.directory, `prober-${Math.random().toString(36).slice(2)}.json`);
    this.#config = config;
    this.#write(path);
    this.#running = lab.spawn("router", program("prober", this.#file));
  }

  get rounds(): ProbeRound[] {
    return this.#lines().filter((line): line is ProbeRound => "answered" in line);
  }

  /** Waits for so many rounds more, and returns them. */
  async next(count: number): Promise<ProbeRound[]> {
    const before = this.rounds.length;
    await until(`${count} more rounds`, () => {
      if (this.#running.ended) throw new Error(`the prober ended: ${this.#running.output}`);
      return this.rounds.length >= before + count;
    });
    return this.rounds.slice(before, before + count);
  }

  /** Waits until a round is like this. */
  async untilRound(what: string, isSo: (round: ProbeRound) => boolean): Promise<void> {
    const before = this.rounds.length;
    await until(what, () => this.rounds.slice(before).some(isSo));
  }

  follow(path: ProbePath): void {
    this.#write(path);
    this.#running.signal("SIGHUP");
  }

  /** Open now in the program. */
  async descriptors(): Promise<number> {
    const counts = () => this.#lines().filter((line): line is { descriptors: number } => "descriptors" in line);
    const before = counts().length;
    this.#running.signal("SIGUSR1");
    await until("the number of descriptors", () => counts().length > before);
    return counts().at(-1)!.descriptors;
  }

  /** Has it stop; the descriptors that it had open afterwards. Throws unless the program then ends by itself. */
  async stop(): Promise<number> {
    const status = await this.#running.stop();
    if (status !== 0) throw new Error(`the prober ended with status ${status}: ${this.#running.output}`);
    return Number(/^stopped (\d+)$/m.exec(this.#running.stdout)![1]);
  }

  #lines(): object[] {
    const lines = this.#running.stdout.split("\n").slice(0, -1);
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  }

  #write(path: ProbePath): void {
    writeFileSync(this.#file, JSON.stringify({ path, config: this.#config }));
  }
}

/** What `count` rounds say; the prober ends with them. */
export async function probe(lab: Lab, path: ProbePath, config: ProbeConfig, count = 3): Promise<ProbeRound[]> {
  const prober = new LabProber(lab, path, config);
  const rounds = await prober.next(count);
  await prober.stop();
  return rounds;
}
