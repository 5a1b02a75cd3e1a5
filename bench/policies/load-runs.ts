/** How each policy divides ordinary traffic and greedy downloads over a quick line and a slow one. */

import { greedySizes, meanWebBytes, webSizes } from "./flow-sizes.ts";
import { contenders, mega } from "./lines.ts";
import { type Outcome, simulate, type Workload } from "./simulate.ts";

export interface Run {
  readonly name: string;
  readonly outcome: Outcome;
  readonly countedSeconds: number;
}

const seconds = 1320;
const warmUpSeconds = 120;
const totalBps = 120 * mega;

export const loads = [0.3, 0.6, 0.9];
export const greedyClients = 40;

/** Web traffic of so much of what both lines carry together. */
export function runWeb(load: number): Run[] {
  const perSecond = (load * totalBps) / 8 / meanWebBytes;
  return run({ sizes: webSizes, flowsPerSecond: () => perSecond });
}

/** So many downloads at any time. */
export function runGreedy(seed = 1): Run[] {
  return run({ sizes: greedySizes, greedy: greedyClients }, seed);
}

function run(workload: Workload, seed = 1): Run[] {
  return contenders.map(({ name, balance, lines }) => ({
    name,
    outcome: simulate({ lines, balance, workload, seconds, warmUpSeconds, seed }),
    countedSeconds: seconds - warmUpSeconds,
  }));
}
