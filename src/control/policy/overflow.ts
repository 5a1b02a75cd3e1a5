/**
 * Which ranks of uplinks get flows, and how much of them: the first, or with overflow also those behind it that are needed.
 *
 * A rank that is fuller than the overflow ratio passes on what it has too much: of all that it and the next ones carry, the part beyond
 * the ratio. That sum does not change with how it is divided, so the part settles instead of swinging, and a backup that is
 * paid by the byte carries the excess and no more, not half of everything as soon as it is asked. It goes on
 * until the rank is well below the ratio, so that traffic about the ratio does not switch it on and off.
 *
 * A rank of lines whose rate is neither configured nor long known to be all there is (policy/load.ts) is never too full.
 */

import type { LoadedUplink, Rank } from "./rank-policy.ts";

/** Nothing is passed on any more below the ratio by this. */
const slackRatio = 0.1;
/** How the part passed on changes in a second, at the most. */
const stepRatioPerSecond = 0.03;
const mostPassedOn = 0.9;
/** Less is not worth a share. */
const leastPassedOn = 0.05;

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
    for (const [index, rank] of ranks.entries()) {
      const isLast = index === ranks.length - 1;
      const passed = this.#ratio === null || isLast ? 0 : this.#adjust(rank, ranks.slice(index), this.#ratio, step);
      parts.push(left * (1 - passed));
      left *= passed;
      if (passed === 0) break;
    }
    return parts;
  }

  #adjust({ key, uplinks }: Rank, onwards: readonly Rank[], ratio: number, step: number): number {
    const before = this.#passedOn.get(key) ?? 0;
    const wanted = excess(
      uplinks,
      onwards.flatMap((rank) => rank.uplinks),
      ratio,
      before >= leastPassedOn,
    );
    const passed = Math.min(Math.max(wanted, before - step), before + step);
    this.#passedOn.set(key, passed);
    return passed < leastPassedOn ? 0 : passed;
  }
}

/** The part of all flows that should be passed on. All lines of a rank count together: the policy within it sees to it that they are equally full. */
function excess(
  own: readonly LoadedUplink[],
  onwards: readonly LoadedUplink[],
  ratio: number,
  isPassing: boolean,
): number {
  if (own.some(({ isCapacityKnown }) => !isCapacityKnown)) return 0;
  const parts = (["up", "down"] as const).flatMap((way) => {
    const capacity = sum(own.map((uplink) => uplink.capacity[way]));
    const fullness = sum(own.map(({ load }) => load[way])) / capacity;
    if (fullness < (isPassing ? ratio - slackRatio : ratio)) return [];
    return [1 - (ratio * capacity) / sum(onwards.map(({ load }) => load[way]))];
  });
  return parts.length === 0 ? 0 : Math.min(Math.max(...parts, leastPassedOn), mostPassedOn);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
