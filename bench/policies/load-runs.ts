/** How each policy divides ordinary traffic and greedy downloads over a quick line and a slow one. */

import { greedySizes, meanBytes, webSizes } from "./flow-sizes.ts";
import { contenders, mega } from "./lines.ts";
import { type Outcome, simulate, type Workload } from "./simulate.ts";

export interface Run {
  readonly name: string;
  readonly outcome: Outcome;
  readonly countedSeconds: number;
}

const seconds = 720;
const warmUpSeconds = 120;
const totalBps = 120 * mega;

export const loads = [0.3, 0.6, 0.9];
export const greedyClients = 40;

/** Web traffic of so much of what both lines carry together. */
export function runWeb(load: number): Run[] {
  const perSecond = (load * totalBps) / 8 / meanBytes(webSizes);
  return run({ sizes: webSizes, flowsPerSecond: () => perSecond });
}

/** So many downloads at any time. */
export function runGreedy(): Run[] {
  return run({ sizes: greedySizes, greedy: greedyClients });
}

function run(workload: Workload): Run[] {
  return contenders.map(({ name, balance, lines }) => ({
    name,
    outcome: simulate({ lines, balance, workload, seconds, warmUpSeconds, seed: 1 }),
    countedSeconds: seconds - warmUpSeconds,
  }));
}
