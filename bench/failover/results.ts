/** What a run of the benchmark leaves: figures, promises kept or not, and series for the pictures. */

import type { Isp } from "../../test/support/lab.ts";
import type { Machine } from "../machine.ts";
import type { Series } from "./picture.ts";
import type { Contender, Figure, Recording, Row, Scenario } from "./types.ts";

export interface Results {
  readonly format: 1;
  readonly startedAt: string;
  readonly command: string;
  readonly machine: Machine;
  readonly scenarios: readonly ScenarioResults[];
}

export interface ScenarioResults {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly rows: readonly Omit<Row, "keeps">[];
  readonly runs: readonly RunResults[];
}

export interface RunResults {
  readonly contender: string;
  readonly title: string;
  /** Why there are no figures; null: there are. */
  readonly failure: string | null;
  readonly figures: Readonly<Record<string, Figure>>;
  /** Names of the rows whose promise was not kept; always empty for contenders that promise nothing. */
  readonly broken: readonly string[];
  /** Null: not worth a picture. */
  readonly series: Series | null;
}

export function runResults(
  scenario: Scenario,
  contender: Contender,
  outcome: { figures: Readonly<Record<string, Figure>>; recording: Recording | null } | Error,
): RunResults {
  const { name, title } = contender;
  if (outcome instanceof Error) {
    return { contender: name, title, failure: outcome.message, figures: {}, broken: [], series: null };
  }
  const { figures, recording } = outcome;
  const isOurs = name.startsWith("sluice");
  const broken = scenario.rows.filter((row) => isOurs && row.keeps?.(figures[row.name] ?? null, name) === false);
  return {
    contender: name,
    title,
    failure: null,
    figures,
    broken: broken.map((row) => row.name),
    series: scenario.picture && recording !== null ? seriesOf(title, recording) : null,
  };
}

const bucketSeconds = 0.2;

function seriesOf(title: string, recording: Recording): Series {
  const uplinks = new Map(recording.transfers.map(({ id, uplink }) => [id, uplink]));
  const buckets = Math.floor(recording.seconds / bucketSeconds);
  const sums: Partial<Record<Isp, number[]>> = {};
  for (const isp of new Set(uplinks.values())) sums[isp] = new Array<number>(buckets).fill(0);
  for (const { at, bytes } of recording.received) {
    const bucket = Math.floor(at / bucketSeconds);
    if (bucket < 0 || bucket >= buckets) continue;
    for (const [id, count] of bytes) {
      const uplink = uplinks.get(id);
      if (uplink !== undefined) sums[uplink]![bucket]! += count;
    }
  }
  const lines = Object.fromEntries(
    Object.entries(sums)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([isp, counts]) => [isp, counts.map((count, bucket) => [time(bucket), mbit(count)] as const)]),
  );
  return { title, seconds: recording.seconds, events: recording.events, lines };
}

function time(bucket: number): number {
  return Math.round((bucket + 0.5) * bucketSeconds * 100) / 100;
}

function mbit(bytes: number): number {
  return Math.round(((bytes * 8) / 1e6 / bucketSeconds) * 10) / 10;
}
