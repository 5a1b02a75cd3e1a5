/** The failover benchmark runs, and what it writes is whole. What it measures is nobody's business here. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Results } from "../../../bench/failover/results.ts";
import { runCommand } from "../../support/process.ts";

const program = fileURLToPath(new URL("../../../bench/failover/run.ts", import.meta.url));
const bench = (...words: string[]) =>
  runCommand([process.execPath, program, ...words], { mayFail: true, timeoutMs: 150_000 });

describe("the failover benchmark", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-failover-test-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it("runs sluice through an outage, writes figures, a report and a picture, and leaves no lab", async () => {
    const words = ["--quick", "--scenario", "silent", "--contender", "sluice"];
    const { status, stdout, stderr } = await bench(...words, "--output", directory);
    expect(status, stdout + stderr).toBe(0);

    const results = JSON.parse(readFileSync(join(directory, "failover.json"), "utf8")) as Results;
    const [silent] = results.scenarios;
    expect(silent!.runs.map(({ contender }) => contender)).toEqual(["sluice"]);
    for (const { contender, failure, figures, series } of silent!.runs) {
      expect(failure, contender).toBeNull();
      // Both lines are used before the outage, and nothing goes by the dead one in the midst of it.
      expect(figures["on victim"], contender).toBeGreaterThan(0);
      const sum = (isp: "isp1" | "isp2", from: number, to: number) =>
        series!.lines[isp]!.reduce((bytes, [at, mbit]) => bytes + (at > from && at < to ? mbit : 0), 0);
      for (const isp of ["isp1", "isp2"] as const) expect(sum(isp, 0, 2.5), contender).toBeGreaterThan(0);
      expect(sum("isp1", 5, 9), contender).toBe(0);
    }
    expect(readFileSync(join(directory, "failover.md"), "utf8")).not.toMatch(/undefined|NaN|null/);
    expect(readFileSync(join(directory, "failover-silent.svg"), "utf8")).toMatch(/^<svg /);
    expect(readdirSync("/run/netns").filter((name) => name.startsWith("sluice-lab-failover-"))).toEqual([]);
  }, 160_000);

  it("refuses what it does not know, and says what there is", async () => {
    const unknown = await bench("--scenario", "flood");
    expect(unknown).toMatchObject({ status: 2, stdout: "" });
    expect(unknown.stderr).toContain("there is no 'flood'");
    expect(unknown.stderr).toContain("least-busy");
  });
});
