/** Keeps a division as it is until it is off by enough to be worth a new lookup table. */

import type { Division, PolicyUplink, Share } from "../policies.ts";

/** Of all flows. */
const worthwhileRatio = 0.05;
/** Of its own share: a small line's doubles or halves within less than the above. */
const worthwhileFactor = 1.5;

export class SteadyShares {
  #held: Division = { shares: [], tier: 0 };
  /** What the operator has a hand in: that takes effect however small. */
  #given = "";
  /** The held shares of the whole, by slot and name. */
  #ratios = new Map<string, number>();

  /** The same object as last time, or the new one. */
  hold(wanted: Division, uplinks: readonly PolicyUplink[]): Division {
    const ratios = ratiosOf(wanted.shares);
    const given = uplinks.map(({ slot, name, weight, tier }) => `${slot} ${name} ${weight} ${tier}`).join();
    const isSame = given === this.#given && ratios.size === this.#ratios.size;
    if (isSame && [...ratios].every(([key, ratio]) => isClose(ratio, this.#ratios.get(key)))) return this.#held;
    this.#given = given;
    this.#ratios = ratios;
    this.#held = wanted;
    return wanted;
  }
}

function isClose(ratio: number, held: number | undefined): boolean {
  if (held === undefined) return false;
  return Math.abs(ratio - held) < worthwhileRatio && ratio < held * worthwhileFactor && held < ratio * worthwhileFactor;
}

function ratiosOf(shares: readonly Share[]): Map<string, number> {
  const sum = shares.reduce((total, { weight }) => total + weight, 0);
  return new Map(shares.map(({ slot, name, weight }) => [`${slot} ${name}`, weight / sum]));
}
