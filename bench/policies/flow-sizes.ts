/**
 * How long connections are. Most are short, most bytes are in few: nine of ten are pages and messages around 12 kB (lognormal), the tenth
 * is a download with a long tail (Pareto with 1.2, from 200 kB to 500 MB), the shape that measurements of web traffic keep finding
 * (Crovella and Bestavros, "Self-similarity in World Wide Web traffic", 1997).
 */

import { exponential, normal, type Random, randomFrom } from "./random.ts";

export type FlowSizes = (random: Random) => number;

/** Bytes. */
export const webSizes: FlowSizes = (random) =>
  random() < 0.9 ? 12_000 * Math.exp(1.5 * normal(random)) : pareto(random, 1.2, 200e3, 500e6);

/** Downloads of no typical length: 25 MB in the mean. */
export const greedySizes: FlowSizes = (random) => 25e6 * exponential(random);

/** As it comes out of very many: the tail makes a smaller sample useless. */
export const meanWebBytes = meanOf(webSizes, 2_000_000);

function meanOf(sizes: FlowSizes, count: number): number {
  const random = randomFrom(7);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += sizes(random);
  return sum / count;
}

/** Between the bounds, by inversion. */
function pareto(random: Random, shape: number, low: number, high: number): number {
  const tail = (low / high) ** shape;
  return low / (1 - random() * (1 - tail)) ** (1 / shape);
}
