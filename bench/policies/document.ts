/** docs/policies.md as text, made of the simulations and nothing else: `scripts/policies` writes it, a test holds that it is what is committed. */

import { markdownTable } from "../markdown.ts";
import { latencyCases, runLatency } from "./latency-runs.ts";
import { greedyClients, loads, type Run, runGreedy, runWeb } from "./load-runs.ts";
import { phaseMeans, runOverflow, runStep, settlingSeconds, steps } from "./step-runs.ts";

export const policiesFile = "docs/policies.md";

export function renderPolicies(): string {
  return `# Policies, simulated

<!-- Made by scripts/policies from bench/policies; edit that. -->

How fair each policy is, and how stable. The policies are those that the daemon runs; flows and lines are a model, seeded, so the
figures are the same wherever they are made: flows share a line evenly and never change it, new ones go by the shares of the moment, and the policy is asked ten
times a second with the rates of the last second. The model leaves out how TCP gets up to its rate, what lies behind the lines, and
chance in the lookup table (0.1 percentage points).

| policy | new flows go | fair in | changes its shares |
|---|---|---|---|
| weighted-hash | by the configured weights | flows; bytes as far as their lengths allow | never by itself |
| failover | to the first uplink that is up | - | never by itself |
| least-busy | where there is room: weight x rate x unused part | utilization | when they are off by 5 percentage points, by 3 points a second at the most |
| lowest-latency | where handshakes with the destination are quickest; before that is known, by the weights, leaning to quick probes | - | the lean, as least-busy; a destination's pin after five seconds of doubt |
| overflow, with any | as above, and what a tier has beyond its share to the next tier | - | as least-busy |

## Ordinary traffic

A line of 100 Mbit/s (isp1) and one of 20 (isp2) under web-like flows: nine of ten around 12 kB, the tenth with a long tail up to 500 MB, 127 kB in the mean. An
even use of both lines gives isp1 83 % of the bytes. Long flows are those of 200 kB and more; alone on isp1 one has 100 Mbit/s. 22 minutes, the first two not counted.

${loads.map((load) => `### ${percent(load, 0)} of what both carry\n\n${loadTable(runWeb(load))}`).join("\n\n")}

weighted-hash is as good as its weights: 1:1 fills the slow line while the quick one idles, 5:1 needs somebody who knows. least-busy gets to the same
place by itself, without rates too: a line shows what it carries in the bursts of single flows.

## Greedy flows

${greedyClients} downloads at any time, 25 MB long in the mean, each as quick as its line allows.

${loadTable(runGreedy())}

With 1:1, downloads pile up on the slow line, and the quick one waits for them. Lines that are both full get flows by their capacity, and more as soon as one has room.

## least-busy: a line fills up

Two lines of 100 Mbit/s, web-like flows of 60 Mbit/s; from minute 5 to minute 10 something else takes 80 Mbit/s of isp1. Means of the last two thirds of each phase.

${stepTable()}

## overflow: a backup joins

A line of 100 Mbit/s with a backup of 50 in the next tier, \`overflow: 0.8\`, weighted-hash; web-like flows of so much of the first line's rate in minutes 0-5, 5-10 and 10-15.
What is beyond 80 Mbit/s belongs on the backup.

${overflowTable()}

## lowest-latency: destinations find their line

Connections to 400 destinations, half of them nearer by isp1, half by isp2; 3 % explore, half of which go right by chance. The share that took the nearer line, by
the connection's number. A handshake takes 1.07 times the line's own time in the median, half-lognormal, or as named.

${latencyTable()}

Two connections by the weights, two to each line that is still unknown, and the destination has its pin. A queue that comes and goes moves nobody.
Where the lines differ by less than the noise it takes longer, and matters less.
`;
}

function loadTable(runs: readonly Run[]): string {
  const head = [
    "policy",
    "flows on isp1",
    "bytes on isp1",
    "isp1 used",
    "isp2 used",
    "long flows, median",
    "slowest 5 %",
    "changes a minute",
  ];
  return markdownTable(
    head,
    runs.map(({ name, outcome, countedSeconds }) => {
      const { flows, bytes, usedRatio, flowBps, changes } = outcome;
      const part = (of: readonly number[]) => percent(of[0]! / (of[0]! + of[1]!));
      const sorted = Float64Array.from(flowBps).sort();
      const at = (ratio: number) => mbit(sorted[Math.floor(sorted.length * ratio)]!);
      const perMinute = (changes / countedSeconds) * 60;
      return [
        name,
        part(flows),
        part(bytes),
        percent(usedRatio[0]!),
        percent(usedRatio[1]!),
        at(0.5),
        at(0.05),
        perMinute.toFixed(1),
      ];
    }),
  );
}

function stepTable(): string {
  const rows = [1, 2, 3].map((seed) => {
    const { shares, carried, changes } = runStep(seed);
    const share = phaseMeans(shares, 0).map((ratio) => percent(ratio));
    const used = [0, 1].map((line) => phaseMeans(carried, line)[1]!);
    const seconds = steps.map((at) => `${settlingSeconds(shares, 0, at)} s`);
    return [String(seed), ...share, ...used.map(mbit), ...seconds, (changes / 14).toFixed(1)];
  });
  const phases = ["before", "meanwhile", "afterwards"].map((phase) => `isp1's share ${phase}`);
  const head = [
    "seed",
    ...phases,
    "isp1 meanwhile",
    "isp2 meanwhile",
    "nine tenths of the way there",
    "and back",
    "changes a minute",
  ];
  return markdownTable(head, rows);
}

function overflowTable(): string {
  const cases: [number, number, number][] = [
    [0.5, 1.2, 0.5],
    [0.5, 0.95, 0.5],
    [0.5, 0.78, 0.5],
  ];
  const rows = cases.map((loads) => {
    const { shares, carried, changes } = runOverflow(loads, 2);
    const backup = phaseMeans(shares, 1).map((ratio) => percent(ratio));
    const [, first] = phaseMeans(carried, 0);
    const [, second] = phaseMeans(carried, 1);
    return [
      loads.map((load) => percent(load, 0)).join(", "),
      ...backup,
      mbit(first!),
      mbit(second!),
      (changes / 14).toFixed(1),
    ];
  });
  const phases = ["before", "meanwhile", "afterwards"].map((phase) => `backup's share ${phase}`);
  return markdownTable(["load", ...phases, "first line meanwhile", "backup meanwhile", "changes a minute"], rows);
}

function latencyTable(): string {
  const spans = [
    [0, 5],
    [5, 10],
    [10, 20],
    [20, 100],
    [100, 150],
    [150, 200],
  ] as const;
  const rows = latencyCases.map((which) => {
    const right = runLatency(which, 1);
    return [which.name, ...spans.map(([from, to]) => percent(mean(right.slice(from, to))))];
  });
  return markdownTable(["lines", ...spans.map(([from, to]) => `${from + 1}-${to}`)], rows);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(ratio: number, digits = 1): string {
  return `${(ratio * 100).toFixed(digits)} %`;
}

function mbit(bps: number): string {
  return bps < 0.1e6 ? "under 0.1 Mbit/s" : `${(bps / 1e6).toFixed(1)} Mbit/s`;
}
