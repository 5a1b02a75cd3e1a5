/** The benchmark runs, and what it writes is whole. What it measures is nobody's business here. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Results } from "../../../bench/results.ts";
import { runCommand } from "../../support/process.ts";

const program = fileURLToPath(new URL("../../../bench/run.ts", import.meta.url));
const bench = (...words: string[]) =>
  runCommand([process.execPath, program, ...words], { mayFail: true, timeoutMs: 100_000 });

describe("the benchmark", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "sluice-bench-test-"));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it("runs a scenario of each kind, and writes JSON and a report", async () => {
    const names = ["tcp-8-both", "udp-64", "connect"];
    const chosen = names.flatMap((name) => ["--scenario", name]);
    const { status, stdout, stderr } = await bench(
      ...chosen,
      "--quick",
      "--rounds",
      "1",
      "--seconds",
      "1",
      "--output",
      directory,
    );
    expect(status, stdout + stderr).toBe(0);

    const results = JSON.parse(readFileSync(join(directory, "latest.json"), "utf8")) as Results;
    expect(results.scenarios.map(({ name }) => name)).toEqual(names);
    for (const { name, samples, summaries, failures } of results.scenarios) {
      expect(failures, name).toEqual([]);
      expect(
        summaries.map(({ contender }) => contender),
        name,
      ).toContain("sluice-2");
      for (const { value, work, seconds, cpuSeconds } of samples) {
        for (const figure of [value, work, seconds, cpuSeconds]) expect(figure, name).toBeGreaterThan(0);
      }
    }
    const report = readFileSync(join(directory, "README.md"), "utf8");
    for (const { title } of results.scenarios) expect(report).toContain(`### ${title}`);
    expect(report).not.toMatch(/undefined|NaN|null/);
  }, 110_000);

  it("refuses what it does not know, and says what there is", async () => {
    const unknown = await bench("--scenario", "tcp-9");
    expect(unknown).toMatchObject({ status: 2, stdout: "" });
    expect(unknown.stderr).toContain("there is no 'tcp-9'");
    expect(unknown.stderr).toContain("tcp-8-up");
    expect(await bench("--rounds", "0")).toMatchObject({ status: 2 });
  });
});
