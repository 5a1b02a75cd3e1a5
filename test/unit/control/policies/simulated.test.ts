/** The policies over simulated lines (bench/policies): what docs/policies.md promises, with other seeds than the page's. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { policiesFile, renderPolicies } from "../../../../bench/policies/document.ts";
import { latencyCases, runLatency } from "../../../../bench/policies/latency-runs.ts";
import { runGreedy } from "../../../../bench/policies/load-runs.ts";
import { phaseMeans, runOverflow, runStep } from "../../../../bench/policies/step-runs.ts";

const seeds = [11, 12, 13];
/** They are long reckonings on a machine with other things to do. */
const limitMs = 120_000;

describe("simulated", () => {
  it("least-busy uses nine tenths of both a quick and a slow line under greedy flows, and weighted-hash 1:1 does not", {
    timeout: limitMs,
  }, () => {
    for (const seed of seeds) {
      const runs = runGreedy(seed);
      const usedBy = (name: string) => Math.min(...runs.find((run) => run.name === name)!.outcome.usedRatio);
      expect(usedBy("least-busy, rates configured"), `seed ${seed}`).toBeGreaterThan(0.9);
      expect(usedBy("least-busy, rates learnt"), `seed ${seed}`).toBeGreaterThan(0.9);
      expect(usedBy("weighted-hash 1:1"), `seed ${seed}`).toBeLessThan(0.5);
    }
  });

  it("least-busy leaves a line that fills up, and comes back", { timeout: limitMs }, () => {
    for (const seed of seeds) {
      const { shares, changes } = runStep(seed);
      const [before, meanwhile, afterwards] = phaseMeans(shares, 0);
      expect(Math.abs(before! - 0.5), `seed ${seed}`).toBeLessThan(0.1);
      expect(meanwhile, `seed ${seed}`).toBeLessThan(0.3);
      expect(Math.abs(afterwards! - 0.5), `seed ${seed}`).toBeLessThan(0.1);
      expect(changes / 14, `seed ${seed}`).toBeLessThan(6);
    }
  });

  it("overflow keeps the first tier about its ratio and gives the rest to the next, then takes it back", {
    timeout: limitMs,
  }, () => {
    for (const seed of seeds) {
      const { shares, carried } = runOverflow([0.5, 1.2, 0.5], seed);
      const [before, meanwhile, afterwards] = phaseMeans(shares, 1);
      expect(before, `seed ${seed}`).toBeLessThan(0.1);
      expect(meanwhile, `seed ${seed}`).toBeGreaterThan(0.15);
      expect(meanwhile, `seed ${seed}`).toBeLessThan(0.5);
      expect(afterwards, `seed ${seed}`).toBeLessThan(0.1);
      expect(phaseMeans(carried, 0)[1]! / 100e6, `seed ${seed}`).toBeGreaterThan(0.65);
    }
  });

  it.each(latencyCases.filter(({ name }) => !name.includes("noisy")))(
    "lowest-latency: $name: 95 % of connections take the nearer line from the eleventh on",
    { timeout: limitMs },
    (which) => {
      for (const seed of seeds) {
        const right = runLatency(which, seed).slice(10);
        const mean = right.reduce((sum, ratio) => sum + ratio, 0) / right.length;
        expect(mean, `seed ${seed}`).toBeGreaterThan(0.95);
      }
    },
  );

  it("policies are published as they are here: run scripts/policies after a change", { timeout: limitMs }, () => {
    const published = readFileSync(new URL(`../../../../${policiesFile}`, import.meta.url), "utf8");
    expect(renderPolicies()).toBe(published);
  });
});
