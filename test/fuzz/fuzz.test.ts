/**
 * A short run of the fuzzer: every input of the corpus, and what it makes of them in a second or two a target. The seed is always the same;
 * a failure names the input, and `scripts/fuzz TARGET --input` runs it again. Longer runs: `scripts/fuzz`.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { readCorpus } from "./corpus.ts";
import { loadTarget, type TargetModule, targetNames } from "./targets.ts";

const script = fileURLToPath(new URL("../../scripts/fuzz", import.meta.url));
const open: TargetModule[] = [];

afterAll(async () => {
  for (const target of open) await target.close?.();
});

test.each(targetNames)("the target %s takes every input of its corpus", async (name) => {
  const target = await loadTarget(name);
  open.push(target);
  const corpus = readCorpus(name);
  expect(corpus.length).toBeGreaterThan(5);
  for (const input of [...corpus, ...target.seeds()]) {
    try {
      await target.fuzz(input.slice());
    } catch (error) {
      throw new Error(`scripts/fuzz ${name} --input ${Buffer.from(input).toString("base64")}`, { cause: error });
    }
  }
});

test("all targets take what the fuzzer makes of them", { timeout: 120_000 }, () => {
  const { status, stdout, stderr } = spawnSync(script, ["--seconds", "1", "--seed", "1"], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  for (const name of targetNames) {
    const [, inputs, taken] = new RegExp(`^${name}: (\\d+) inputs in .*, (\\d+) of`, "m").exec(stdout) ?? [];
    expect(Number(inputs), name).toBeGreaterThan(readCorpus(name).length);
    expect(Number(taken), name).toBeGreaterThan(10);
  }
});

test("the shim takes what libFuzzer makes of its corpus", { timeout: 120_000 }, () => {
  const { status, stdout, stderr } = spawnSync(script, ["shim", "--seconds", "1", "--seed", "1"], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const [, inputs, branches] = /(\d+) inputs in .*, (\d+) branches/.exec(stdout) ?? [];
  expect(Number(inputs)).toBeGreaterThan(readCorpus("shim").length);
  expect(Number(branches)).toBeGreaterThan(300);
});
