/**
 * Which ranks of uplinks get flows, and how much of them: the first, or with overflow also those behind it that are needed.
 *
 * A rank that is fuller than the overflow ratio passes part of its new flows on to the next one. The part grows while it is too full
 * and shrinks again when it is well below, slowly: a backup that is paid by the byte should carry the excess and no more, and
 * not half of everything as soon as it is asked. Between the two it stays, so that traffic about the ratio does not switch it on and off.
 *
 * A rank of lines whose rate is neither configured nor long known to be all there is (policy/load.ts) is never too full.
 */

import type { LoadedUplink, Rank } from "./rank-policy.ts";

/** The next rank gets less again below the ratio by this. */
const slackRatio = 0.1;
/** How the part passed on changes in a second. */
const stepRatioPerSecond = 0.03;
const mostPassedOn = 0.9;
/** Fewer are not worth a share. */
const leastPassedOn = 0.02;

export class Overflow {
  readonly #ratio: number | null;
  /** What each rank passes on. */
  readonly #passedOn = new Map<string, number>();
  #atMs: number | null = null;

  /** Null: the first rank gets everything. */
  constructor(ratio: number | null) {
    this.#ratio = ratio;
  }

  /** The parts of all new flows that the ranks in use get; the others are left out. */
  divide(ranks: readonly Rank[], nowMs: number): number[] {
    const step = (stepRatioPerSecond * (nowMs - (this.#atMs ?? nowMs))) / 1000;
    this.#atMs = nowMs;
    const parts: number[] = [];
    let left = 1;
    for (const rank of ranks) {
      const isLast = parts.length === ranks.length - 1;
      const passed = this.#ratio === null || isLast ? 0 : this.#adjust(rank, this.#ratio, step);
      parts.push(left * (1 - passed));
      left *= passed;
      if (passed === 0) break;
    }
    return parts;
  }

  #adjust({ key, uplinks }: Rank, ratio: number, step: number): number {
    const before = this.#passedOn.get(key) ?? 0;
    const full = fullness(uplinks);
    let passed = before;
    if (full > ratio) passed = Math.min(before + step, mostPassedOn);
    else if (full < ratio - slackRatio) passed = Math.max(before - step, 0);
    this.#passedOn.set(key, passed);
    return passed < leastPassedOn ? 0 : passed;
  }
}

/** All lines of a rank taken together: the policy within it sees to it that they are equally full, if it can. */
function fullness(uplinks: readonly LoadedUplink[]): number {
  if (uplinks.some(({ isCapacityKnown }) => !isCapacityKnown)) return 0;
  const sum = (of: (uplink: LoadedUplink) => number) => uplinks.reduce((total, uplink) => total + of(uplink), 0);
  const up = sum(({ load }) => load.up) / sum(({ capacity }) => capacity.up);
  const down = sum(({ load }) => load.down) / sum(({ capacity }) => capacity.down);
  return Math.max(up, down);
}
