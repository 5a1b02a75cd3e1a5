/** What a policy does within one rank of uplinks, and what it is told. */

import type { PolicyUplink } from "../policies.ts";

/** Two directions of a line, in bits a second. */
export interface Both {
  readonly up: number;
  readonly down: number;
}

/** An uplink with its smoothed load. */
export interface LoadedUplink extends PolicyUplink {
  readonly load: Both;
  /** What it carries, as configured or as learnt. */
  readonly capacity: Both;
  /** False: it has only been learnt, and may well be more. */
  readonly isCapacityKnown: boolean;
}

/** Uplinks that are used together. */
export interface Rank {
  /** Names it from call to call. */
  readonly key: string;
  readonly uplinks: readonly LoadedUplink[];
}

/** Weights above 0 by the order of `uplinks`, which are those of one rank. Keeps its own state from call to call. */
export type RankPolicy = (uplinks: readonly LoadedUplink[], nowMs: number) => number[];

/** The smoothing factor for a value that comes after `elapsedMs`, so that the time constant holds however often it comes. */
export function smoothing(elapsedMs: number, constantMs: number): number {
  return 1 - Math.exp(-elapsedMs / constantMs);
}
