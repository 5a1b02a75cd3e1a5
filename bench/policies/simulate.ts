/**
 * Flows on lines as a fluid: the flows of a line share its rate evenly, whatever their number, and never change lines. Each new one
 * goes to a line by the shares of the policy at that moment, which is asked ten times a second and told
 * the rates of the last full second, as the daemon does it.
 *
 * Left out: what TCP needs to get up to its rate, the ways behind the lines, the way up (a twentieth of the way down here).
 */

import type { BalanceConfig } from "../../src/control/config-types.ts";
import { type Division, type PolicyUplink, type Share, sharePolicy } from "../../src/control/policies.ts";
import type { FlowSizes } from "./flow-sizes.ts";
import { poisson, type Random, randomFrom } from "./random.ts";

export interface Line {
  readonly name: string;
  /** What it really carries. */
  readonly bps: number;
  /** Whether that is in the configuration. */
  readonly isConfigured: boolean;
  readonly weight: number;
  readonly tier: number;
  readonly rttMs: number | null;
}

export interface Workload {
  readonly sizes: FlowSizes;
  /** New flows a second at a time; or, `greedy`, so many at any time: the next begins when one ends. */
  readonly flowsPerSecond?: (second: number) => number;
  readonly greedy?: number;
  /** Bits a second that a line has to carry besides, before all flows. */
  readonly besides?: (line: number, second: number) => number;
}

export interface Setting {
  readonly lines: readonly Line[];
  readonly balance: BalanceConfig;
  readonly workload: Workload;
  readonly seconds: number;
  /** Not counted, at the beginning. */
  readonly warmUpSeconds: number;
  readonly seed: number;
}

export interface Outcome {
  /** By line, after the warm-up. */
  readonly flows: number[];
  readonly bytes: number[];
  readonly usedRatio: number[];
  /** Bits a second of each finished flow of at least 200 kB, which is long enough to tell. */
  readonly flowBps: number[];
  /** Times that the shares were changed after the warm-up. */
  readonly changes: number;
  /** By second, from the start: the shares by line, and what each carries, in bits a second. */
  readonly shares: number[][];
  readonly carried: number[][];
}

interface Flow {
  readonly bytes: number;
  readonly since: number;
  leftBits: number;
}

const stepSeconds = 0.1;
const stepsPerSecond = 10;
const upRatio = 0.05;
const longBytes = 200e3;

export function simulate({ lines, balance, workload, seconds, warmUpSeconds, seed }: Setting): Outcome {
  const random = randomFrom(seed);
  const policy = sharePolicy(balance);
  const active: Flow[][] = lines.map(() => []);
  const none = () => lines.map(() => 0);
  const outcome = { flows: none(), bytes: none(), flowBps: [] as number[], shares: [] as number[][], changes: 0 };
  const carried: number[][] = [];
  let division: Division | null = null;
  let carriedBits = none();
  let rates = none();
  for (let step = 0; step < seconds * stepsPerSecond; step++) {
    const second = step / stepsPerSecond;
    const counts = second >= warmUpSeconds;
    const next = policy.shares(uplinksOf(lines, rates), second * 1000);
    if (counts && next !== division) outcome.changes++;
    division = next;
    for (let left = arrivals(workload, active, second, random); left > 0; left--) {
      const line = choose(division.shares, random);
      const bytes = workload.sizes(random);
      active[line]!.push({ bytes, since: second, leftBits: bytes * 8 });
      if (!counts) continue;
      outcome.flows[line]!++;
      outcome.bytes[line]! += bytes;
    }
    for (const [line, { bps }] of lines.entries()) {
      const taken = Math.min(workload.besides?.(line, second) ?? 0, bps) * stepSeconds;
      const done = serve(active[line]!, bps * stepSeconds - taken);
      carriedBits[line]! += done.bits + taken;
      if (!counts) continue;
      const long = done.finished.filter(({ bytes }) => bytes >= longBytes);
      outcome.flowBps.push(...long.map(({ bytes, since }) => (bytes * 8) / (second + stepSeconds - since)));
    }
    if ((step + 1) % stepsPerSecond !== 0) continue;
    rates = carriedBits;
    carried.push(rates);
    outcome.shares.push(ratiosOf(division.shares, lines.length));
    carriedBits = none();
  }
  const counted = carried.slice(warmUpSeconds);
  const usedRatio = lines.map(({ bps }, i) => counted.reduce((sum, now) => sum + now[i]!, 0) / counted.length / bps);
  return { ...outcome, usedRatio, carried };
}

function uplinksOf(lines: readonly Line[], rates: readonly number[]): PolicyUplink[] {
  return lines.map(({ name, bps, isConfigured, weight, tier, rttMs }, slot) => ({
    slot,
    name,
    weight,
    tier,
    rttMs,
    rate: isConfigured ? { upBps: bps, downBps: bps } : null,
    upBps: rates[slot]! * upRatio,
    downBps: rates[slot]!,
  }));
}

function arrivals({ flowsPerSecond, greedy }: Workload, active: Flow[][], second: number, random: Random): number {
  if (greedy !== undefined) return greedy - active.reduce((sum, flows) => sum + flows.length, 0);
  return poisson(random, flowsPerSecond!(second) * stepSeconds);
}

function choose(shares: readonly Share[], random: Random): number {
  let left = random() * shares.reduce((sum, { weight }) => sum + weight, 0);
  for (const { slot, weight } of shares) {
    left -= weight;
    if (left < 0) return slot;
  }
  return shares.at(-1)!.slot;
}

/** Divides `bits` evenly among the flows; what the short ones leave goes to the others. Takes the finished ones out. */
function serve(flows: Flow[], bits: number): { bits: number; finished: Flow[] } {
  const finished: Flow[] = [];
  let left = bits;
  while (flows.length > 0 && left > 0) {
    const share = left / flows.length;
    const done = flows.filter(({ leftBits }) => leftBits <= share);
    if (done.length === 0) {
      for (const flow of flows) flow.leftBits -= share;
      return { bits, finished };
    }
    for (const flow of done) {
      left -= flow.leftBits;
      finished.push(flow);
      flows.splice(flows.indexOf(flow), 1);
    }
  }
  return { bits: bits - left, finished };
}

function ratiosOf(shares: readonly Share[], lines: number): number[] {
  const sum = shares.reduce((total, { weight }) => total + weight, 0);
  return Array.from({ length: lines }, (_, i) => (shares.find(({ slot }) => slot === i)?.weight ?? 0) / sum);
}
