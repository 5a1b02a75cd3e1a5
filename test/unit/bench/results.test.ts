/** What the benchmark reads off its samples, and what it writes. */

import { describe, expect, it } from "vitest";
import { renderMarkdown } from "../../../bench/markdown.ts";
import { renderSummary, replaceBetweenMarks } from "../../../bench/readme.ts";
import { type Results, scenarioResult } from "../../../bench/results.ts";
import { scenarios } from "../../../bench/scenarios/index.ts";
import { quantile, ratios, selfRatios, spread } from "../../../bench/statistics.ts";
import { renderTable } from "../../../bench/table.ts";
import type { Sample } from "../../../bench/types.ts";

describe("statistics", () => {
  it("take the middle value, and the mean of the two middle ones", () => {
    expect(spread([5, 1, 3])).toEqual({ median: 3, lowest: 1, highest: 5 });
    expect(spread([4, 1, 3, 2])?.median).toBe(2.5);
    expect(spread([])).toBeNull();
  });

  it("read a percentile between its neighbours", () => {
    expect(quantile([10, 20, 30, 40, 50], 0.5)).toBe(30);
    expect(quantile([10, 20], 0.75)).toBe(17.5);
    expect(quantile([10, 20], 1)).toBe(20);
  });

  it("compare within a round, and leave out rounds that only one has", () => {
    const base = [point(0, 10), point(1, 20), point(3, 40)];
    expect(ratios([point(1, 10), point(0, 20), point(2, 99)], base)).toEqual([0.5, 2]);
    expect(selfRatios(base)).toEqual([2]);
  });
});

describe("a scenario's result", () => {
  const udp = scenarios.find(({ name }) => name === "udp-64")!;
  const samples = [
    sample("kernel", 0, 1000),
    sample("sluice-2", 0, 800),
    sample("sluice-2", 1, 1900),
    sample("kernel", 1, 2000),
    sample("kernel", 2, 1000),
    sample("sluice-2", 2, 900),
  ];
  const failure = { contender: "sluice-1", round: 0, message: "sluice up ended\nwith status 1" };
  const result = scenarioResult(udp, samples, [failure]);

  it("has each contender's median, and its ratio to the kernel in the same round", () => {
    expect(result.summaries.map(({ contender, value, ratio }) => [contender, value.median, ratio?.median])).toEqual([
      ["kernel", 1000, undefined],
      ["sluice-2", 900, 0.9],
    ]);
    expect(result.noise).toEqual({ median: 1.25, lowest: 0.5, highest: 2 });
  });

  it("says whether the target was reached, by the median", () => {
    expect(result.summaries[1]!.reached).toBe(true);
    const slower = samples.map((one) => (one.contender === "kernel" ? one : { ...one, value: one.value * 0.99 }));
    expect(scenarioResult(udp, slower, []).summaries[1]!.reached).toBe(false);
  });

  it("adds up drops and takes the medians of what else was noted", () => {
    expect(result.summaries[1]).toMatchObject({ drops: { "tun-queue-full": 9 }, notes: { lossRatio: 0.01 } });
  });

  it("is in the table, the report and the README, failures too", () => {
    const results: Results = { ...head, scenarios: [result], micro: { failed: "out of memory" } };
    expect(renderTable(results)).toMatch(/udp-64 +packets\/s +1\.0 k +0\.9 k +sluice-2 +0\.90 \(0\.80-0\.95\) +0\.9/);
    expect(renderTable(results)).toContain("round 1: sluice up ended with status 1");
    const report = renderMarkdown(results);
    expect(report).toContain("round 1 failed: sluice up ended with status 1");
    expect(report).toContain("Failed: out of memory");
    expect(renderSummary(results)).toContain("| 1.0 k packets/s | 0.9 k packets/s | 0.90 (0.80-0.95) |");
  });
});

describe("the README", () => {
  it("keeps everything outside the marks", () => {
    const text = "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n";
    expect(replaceBetweenMarks(text, "new")).toBe("a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n");
    expect(() => replaceBetweenMarks("a\n<!-- bench:end -->\n", "new")).toThrow("bench:begin");
  });
});

const head: Omit<Results, "scenarios" | "micro"> = {
  format: 1,
  startedAt: "2026-01-01T00:00:00.000Z",
  command: "npm run bench",
  machine: {
    processor: "a processor",
    processors: 2,
    memoryGiB: 4,
    system: "Debian",
    kernel: "6.18.0",
    node: "v24.0.0",
    congestionControl: "cubic",
    commit: "0123456789ab",
    busyBefore: 0,
  },
  rounds: 3,
  runMs: 1000,
  warmUpMs: 1000,
};

function point(round: number, value: number) {
  return { round, value };
}

function sample(contender: string, round: number, value: number): Sample {
  const drops: Record<string, number> = contender === "kernel" ? {} : { "tun-queue-full": 3 };
  const usage = { seconds: 1, cpuSeconds: 2, firstUplinkShare: 0.5 };
  return { contender, round, value, work: value / 1e6, notes: { lossRatio: 0.01 }, drops, ...usage };
}
