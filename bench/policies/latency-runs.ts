/** How soon and how steadily lowest-latency finds the nearer line for each destination. */

import { NearestUplinks } from "../../src/control/latency.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import { exponential, normal, type Random, randomFrom } from "./random.ts";

export interface LatencyCase {
  readonly name: string;
  /** Of the line that is nearer, and of the other. */
  readonly nearMs: number;
  readonly farMs: number;
  /** A handshake takes the line's own time multiplied by e to the power of this and the absolute value of a normal number. */
  readonly noiseRatio: number;
  readonly perSecond: number;
  /** Whether the hash sends all connections of a destination one way, as `key: destination` does. */
  readonly byDestination: boolean;
  /** From its 100th connection to its 150th, the nearer line has a queue of so long. */
  readonly queueMs?: number;
}

export const latencyCases: readonly LatencyCase[] = [
  { name: "10 and 30 ms", nearMs: 10, farMs: 30, noiseRatio: 0.1, perSecond: 1, byDestination: false },
  {
    name: "10 and 30 ms, noisy: twice as long in the median",
    nearMs: 10,
    farMs: 30,
    noiseRatio: 1,
    perSecond: 1,
    byDestination: false,
  },
  { name: "20 and 25 ms", nearMs: 20, farMs: 25, noiseRatio: 0.1, perSecond: 1, byDestination: false },
  {
    name: "20 and 25 ms, noisy: 1.4 times as long",
    nearMs: 20,
    farMs: 25,
    noiseRatio: 0.5,
    perSecond: 1,
    byDestination: false,
  },
  { name: "10 and 30 ms, 20 a second", nearMs: 10, farMs: 30, noiseRatio: 0.1, perSecond: 20, byDestination: false },
  {
    name: "10 and 30 ms, `key: destination`",
    nearMs: 10,
    farMs: 30,
    noiseRatio: 0.1,
    perSecond: 1,
    byDestination: true,
  },
  {
    name: "10 and 30 ms, 20 a second, a queue of 200 ms for 2.5 s",
    nearMs: 10,
    farMs: 30,
    noiseRatio: 0.1,
    perSecond: 20,
    byDestination: false,
    queueMs: 200,
  },
];

const destinations = 400;
const connections = 200;
const exploreRatio = 0.03;
/** How often the daemon looks at what the workers measured. */
const tickMs = 100;

/** The share of connections that went by the nearer line: by number, the first one at 0. */
export function runLatency(which: LatencyCase, seed: number): number[] {
  const random = randomFrom(seed);
  const right = new Array<number>(connections).fill(0);
  for (let destination = 0; destination < destinations; destination++) {
    for (const [number, isRight] of runDestination(which, destination % 2, random).entries()) {
      if (isRight) right[number]!++;
    }
  }
  return right.map((count) => count / destinations);
}

/** For each connection of one destination, whether it took the line `near`. */
function runDestination(
  { nearMs, farMs, noiseRatio, perSecond, byDestination, queueMs = 0 }: LatencyCase,
  near: number,
  random: Random,
): boolean[] {
  let pin = noUplink;
  const nearest = new NearestUplinks((_, slot) => {
    pin = slot;
  }, 1);
  const rttsMs = [near === 0 ? nearMs : farMs, near === 1 ? nearMs : farMs];
  nearest.follow(
    [0, 1].map((slot) => ({ slot, rttMs: null })),
    0,
  );
  const byHash = random() < 0.5 ? 0 : 1;
  const measured: { dueMs: number; slot: number; rttMs: number }[] = [];
  let nowMs = 0;
  return Array.from({ length: connections }, (_, number) => {
    nowMs += (exponential(random) * 1000) / perSecond;
    while (measured[0] !== undefined && measured[0].dueMs <= nowMs) {
      const { slot, rttMs, dueMs } = measured.shift()!;
      nearest.add(1, slot, rttMs, dueMs);
    }
    const isFree = pin === noUplink || random() < exploreRatio;
    const hashed = byDestination ? byHash : random() < 0.5 ? 0 : 1;
    const slot = isFree ? hashed : pin;
    const queue = slot === near && number >= 100 && number < 150 ? queueMs : 0;
    const rttMs = rttsMs[slot]! * Math.exp(noiseRatio * Math.abs(normal(random))) + queue;
    measured.push({ dueMs: Math.ceil((nowMs + rttMs) / tickMs) * tickMs, slot, rttMs });
    measured.sort((a, b) => a.dueMs - b.dueMs);
    return slot === near;
  });
}
