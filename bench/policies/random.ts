/** Random numbers that are the same for the same seed, and what is made of them. */

export type Random = () => number;

/** Numbers from 0 to 1 (mulberry32, public domain). */
export function randomFrom(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Mean 1. */
export function exponential(random: Random): number {
  return -Math.log(1 - random());
}

/** How many of independent events come to pass where `mean` are expected; for means up to some hundreds (Knuth's method). */
export function poisson(random: Random, mean: number): number {
  let count = -1;
  for (let left = mean; left >= 0; left -= exponential(random)) count++;
  return count;
}

/** Mean 0, standard deviation 1 (Box and Muller). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
