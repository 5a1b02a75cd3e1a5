/** How the policies that adjust themselves answer to a step: a line that fills up, and a tier that overflows. */

import { meanWebBytes, webSizes } from "./flow-sizes.ts";
import { balance, line, mega } from "./lines.ts";
import { type Outcome, simulate } from "./simulate.ts";

const stepSecond = 300;
const backSecond = 600;
const seconds = 900;

/** Two equal lines under web traffic of 30 %; for 300 seconds something else fills four fifths of the first. */
export function runStep(seed: number): Outcome {
  const lines = [line("isp1", 100 * mega), line("isp2", 100 * mega)];
  const perSecond = (0.3 * 200 * mega) / 8 / meanWebBytes;
  const isBusy = (second: number) => second >= stepSecond && second < backSecond;
  const workload = {
    sizes: webSizes,
    flowsPerSecond: () => perSecond,
    besides: (which: number, second: number) => (which === 0 && isBusy(second) ? 80 * mega : 0),
  };
  return simulate({ lines, balance: balance({ policy: "least-busy" }), workload, seconds, warmUpSeconds: 60, seed });
}

/** What overflow carries of web traffic of this much of the first line's rate, which it lets grow to 80 %. */
export function runOverflow(loads: readonly [number, number, number], seed: number): Outcome {
  const lines = [line("dsl", 100 * mega), line("lte", 50 * mega, { tier: 2 })];
  const perSecond = (100 * mega) / 8 / meanWebBytes;
  const workload = { sizes: webSizes, flowsPerSecond: (second: number) => perSecond * loads[phaseOf(second)]! };
  return simulate({ lines, balance: balance({ overflowRatio: 0.8 }), workload, seconds, warmUpSeconds: 60, seed });
}

/** Mean of a line's column over a phase: before the step, during it, afterwards; the last two thirds of each, for it to have settled. */
export function phaseMeans(rows: readonly (readonly number[])[], column: number): number[] {
  return [0, 1, 2].map((phase) => {
    const part = rows.slice(phase * 300 + 100, (phase + 1) * 300);
    return part.reduce((sum, row) => sum + row[column]!, 0) / part.length;
  });
}

/** Seconds from a step until the share has gone nine tenths of its way. */
export function settlingSeconds(rows: readonly (readonly number[])[], column: number, at: number): number {
  const means = phaseMeans(rows, column);
  const from = means[phaseOf(at) - 1]!;
  const to = means[phaseOf(at)]!;
  const found = rows.findIndex((row, second) => second >= at && (row[column]! - from) / (to - from) >= 0.9);
  return found - at;
}

export const steps = [stepSecond, backSecond];

function phaseOf(second: number): number {
  return Math.min(Math.floor(second / 300), 2);
}
