/** What a run of the benchmark found: its own JSON, and what is read off it. */
import { baseline } from "./contenders.ts";
import type { Machine } from "./machine.ts";
import type { MicroRow } from "./micro.ts";
import { type Point, ratios, type Spread, selfRatios, spread } from "./statistics.ts";
import type { Failure, Sample, Scenario } from "./types.ts";

export interface Results {
  /** Of this shape. */
  format: 1;
  startedAt: string;
  command: string;
  machine: Machine;
  rounds: number;
  runMs: number;
  warmUpMs: number;
  scenarios: ScenarioResult[];
  /** The JavaScript part alone; null when it was not asked for. */
  micro: MicroRow[] | { failed: string } | null;
}

export interface ScenarioResult {
  name: string;
  title: string;
  about: string;
  expected: string;
  unit: Scenario["unit"];
  better: Scenario["better"];
  workUnit: Scenario["workUnit"];
  target: number | null;
  summaries: Summary[];
  /** The baseline's figure of each round over that of the round before. */
  noise: Spread | null;
  samples: Sample[];
  failures: Failure[];
}

/** One contender in one scenario. */
export interface Summary {
  contender: string;
  value: Spread;
  /** To the baseline in the same round; null for the baseline itself, or when no round has both. */
  ratio: Spread | null;
  /** Of all processors, over the time that counted. */
  busyCores: number;
  cpuSecondsPerWork: number;
  /** Of the first uplink, over the rounds. */
  firstUplinkShare: Spread;
  /** Medians. */
  notes: Record<string, number>;
  /** Sums over the rounds. */
  drops: Record<string, number>;
  /** Null without a target or a ratio. */
  reached: boolean | null;
}

export function scenarioResult(scenario: Scenario, samples: Sample[], failures: Failure[]): ScenarioResult {
  const { name, title, about, expected, unit, better, workUnit, target } = scenario;
  const base = pointsOf(samples, baseline);
  const present = scenario.contenders.filter((contender) => samples.some((sample) => sample.contender === contender));
  return {
    name,
    title,
    about,
    expected,
    unit,
    better,
    workUnit,
    target,
    summaries: present.map((contender) => summarize(scenario, contender, samples, base)),
    noise: spread(selfRatios(base)),
    samples,
    failures,
  };
}

function summarize(
  { target, better }: Scenario,
  contender: string,
  all: readonly Sample[],
  base: readonly Point[],
): Summary {
  const samples = all.filter((sample) => sample.contender === contender);
  const median = (values: number[]) => spread(values)!.median;
  const ratio = contender === baseline ? null : spread(ratios(pointsOf(samples, contender), base));
  const isReached = (value: number) => (better === "higher" ? value >= target! : value <= target!);
  return {
    contender,
    value: spread(samples.map(({ value }) => value))!,
    ratio,
    busyCores: median(samples.map(({ cpuSeconds, seconds }) => cpuSeconds / seconds)),
    cpuSecondsPerWork: median(samples.map(({ cpuSeconds, work }) => cpuSeconds / work)),
    firstUplinkShare: spread(samples.map(({ firstUplinkShare }) => firstUplinkShare))!,
    notes: mergeBy(
      samples.map(({ notes }) => notes),
      median,
    ),
    drops: mergeBy(
      samples.map(({ drops }) => drops),
      (values) => values.reduce((sum, value) => sum + value, 0),
    ),
    reached: target === null || ratio === null ? null : isReached(ratio.median),
  };
}

function pointsOf(samples: readonly Sample[], contender: string): Point[] {
  return samples.filter((sample) => sample.contender === contender);
}

function mergeBy(
  records: readonly Readonly<Record<string, number>>[],
  merge: (values: number[]) => number,
): Record<string, number> {
  const keys = new Set(records.flatMap((record) => Object.keys(record)));
  const valuesOf = (key: string) => records.flatMap((record) => (key in record ? [record[key]!] : []));
  return Object.fromEntries([...keys].map((key) => [key, merge(valuesOf(key))]));
}
