/** Judgements of figures, for the targets of a scenario's rows, and who takes part. */

import type { Figure } from "../types.ts";

export const everyone: readonly string[] = ["sluice", "sluice-passive", "kernel", "ping-and-mark"];

/** A figure that is missing, or is none, keeps no promise. */
export function atMost(most: number): (figure: Figure) => boolean {
  return (figure) => typeof figure === "number" && figure <= most;
}

export function atLeast(least: number): (figure: Figure) => boolean {
  return (figure) => typeof figure === "number" && figure >= least;
}

/** Noticed with a probe, and by the traffic alone. */
export const noticedInTime = {
  target: "≤ 1 s, without probes ≤ 3 s",
  keeps: (figure: Figure, contender: string) => atMost(contender === "sluice-passive" ? 3 : 1)(figure),
};
