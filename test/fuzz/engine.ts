/**
 * Coverage-guided fuzzing: an input that takes a branch for the first time, or markedly more often than any before, is kept,
 * and new inputs are made by changing those that were kept and those that were given. What AFL does, in a hundred lines: counts in buckets, stacked changes, a dictionary
 * of what stands in the code; no forks, no schedule by energy, no following of comparisons.
 *
 * Everything follows from the seed and the inputs to start from, so a failure comes again with the same seed.
 */
import { randomFrom } from "../support/packets.ts";
import type { Instrumented } from "./instrument.ts";
import { Mutator } from "./mutator.ts";

/** Throws when the code under test does what it must not. */
export type Target = (input: Uint8Array) => void | Promise<void>;

export interface FuzzOptions {
  fuzz: Target;
  coverage: Instrumented;
  /** Inputs to start from. */
  corpus: readonly Uint8Array[];
  seed: number;
  /** Whether to go on, asked now and then with the number of inputs run. */
  goesOn: (runs: number) => boolean;
  /** Whether a branch counts only as taken or not, and not also by how often. */
  takenOnly?: boolean;
  /** Told of every input before it runs. */
  watch?: (input: Uint8Array) => void;
}

export interface FuzzResult {
  runs: number;
  /** Branches taken by any input, and branches there are. */
  taken: number;
  branches: number;
  /** The inputs that were worth keeping, those of the corpus among them. */
  kept: Uint8Array[];
}

export class FuzzFailure extends Error {
  readonly input: Uint8Array;

  constructor(input: Uint8Array, runs: number, cause: unknown) {
    super(`input ${runs} failed: ${Buffer.from(input).toString("base64")}`, { cause });
    this.input = input;
  }
}

const mostBytes = 4096;
const askEvery = 64;

/** Runs the corpus, then changed inputs for as long as it goes on. Throws FuzzFailure at the first that fails. */
export async function fuzzLoop(options: FuzzOptions): Promise<FuzzResult> {
  const { fuzz, coverage, corpus, seed, goesOn, watch, takenOnly = false } = options;
  const random = randomFrom(seed);
  const seen = new Uint8Array(coverage.counters.length);
  const kept: Uint8Array[] = [];
  // What is made by hand is worth changing even where it takes the branches of others.
  const pool = [new Uint8Array(), ...corpus];
  let runs = 0;

  const run = async (input: Uint8Array): Promise<void> => {
    coverage.counters.fill(0, 0, coverage.size());
    watch?.(input);
    runs++;
    try {
      // Awaiting what is no promise would cost more than most targets.
      const result = fuzz(input.slice());
      if (result !== undefined) await result;
    } catch (error) {
      throw new FuzzFailure(input, runs, error);
    }
    if (!isNew(coverage, seen, takenOnly)) return;
    kept.push(input);
    pool.push(input);
  };

  for (const input of [new Uint8Array(), ...[...corpus].sort((a, b) => a.length - b.length)]) await run(input);
  const mutator = new Mutator(random, coverage.words, mostBytes);
  while (goesOn(runs))
    for (let i = 0; i < askEvery; i++) await run(mutator.change(pick(pool, random), pick(pool, random)));
  const taken = seen.reduce((sum, buckets) => sum + (buckets === 0 ? 0 : 1), 0);
  return { runs, taken, branches: coverage.size(), kept };
}

/** Whether a counter has a bucket it never had; notes them all. */
function isNew({ counters, size }: Instrumented, seen: Uint8Array, takenOnly: boolean): boolean {
  let found = false;
  for (let i = 0, end = size(); i < end; i++) {
    const count = counters[i]!;
    if (count === 0) continue;
    const bit = takenOnly ? 1 : bucketOf(count);
    if ((seen[i]! & bit) !== 0) continue;
    seen[i]! |= bit;
    found = true;
  }
  return found;
}

/** 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128 and more: a bit each. */
function bucketOf(count: number): number {
  if (count < 4) return 1 << (count - 1);
  if (count < 8) return 8;
  if (count < 16) return 16;
  if (count < 32) return 32;
  return count < 128 ? 64 : 128;
}

/** Half the time one of the latest quarter: what was found last is where there is more to find. */
function pick(pool: readonly Uint8Array[], random: () => number): Uint8Array {
  const from = random() < 0.5 ? 0 : Math.floor(pool.length * 0.75);
  return pool[from + Math.floor(random() * (pool.length - from))]!;
}
