/**
 * The native shim under libFuzzer: `scripts/fuzz shim`. The harness stands in shim/; the corpus is packed as those of the
 * other targets are.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readCorpus, writeCorpus } from "./corpus.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const work = join(root, "build/fuzz");
const mostBytes = 512;

export interface ShimOptions {
  seed: number;
  seconds: number;
  /** Into the corpus with what takes new branches. */
  keep: boolean;
  /** Run this one input instead. */
  input: Uint8Array | undefined;
}

/** Returns the exit status: 0 when no input failed. */
export function fuzzShim({ seed, seconds, keep, input }: ShimOptions): number {
  const program = execFileSync(join(root, "test/fuzz/shim/build"), { encoding: "utf8" }).trim();
  const libFuzzer = (...options: string[]) =>
    spawnSync(join(root, program), [`-artifact_prefix=${work}/`, ...options], { encoding: "utf8" });
  if (input !== undefined) {
    const file = join(work, "input");
    writeFileSync(file, input);
    return told(libFuzzer(file));
  }
  const [found, fewest] = [join(work, "shim-found"), join(work, "shim-fewest")];
  for (const directory of [found, fewest]) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
  }
  const corpus = readCorpus("shim");
  for (const [i, bytes] of corpus.entries()) writeFileSync(join(found, `corpus-${i}`), bytes);
  // Its own watch over time, in seconds; leaks are looked for at the end, since every input frees what it had.
  const limits = [`-max_total_time=${seconds}`, `-max_len=${mostBytes}`, "-timeout=10", `-seed=${seed % 2 ** 31 || 1}`];
  const run = libFuzzer(...limits, "-print_final_stats=1", found);
  if (run.status !== 0) return told(run);
  const inputs = /number_of_executed_units: (\d+)/.exec(run.stderr)?.[1];
  const branches = [...run.stderr.matchAll(/ cov: (\d+)/g)].at(-1)?.[1];
  console.log(
    `shim: ${inputs} inputs in ${seconds} s, ${branches} branches, ` +
      `${readdirSync(found).length} inputs kept (${corpus.length} to start from), seed ${seed}`,
  );
  if (!keep) return 0;
  const merge = libFuzzer("-merge=1", fewest, found);
  if (merge.status !== 0) return told(merge);
  const inputsLeft = readdirSync(fewest).map((name) => new Uint8Array(readFileSync(join(fewest, name))));
  writeCorpus("shim", inputsLeft);
  console.log(`shim: ${inputsLeft.length} inputs written`);
  return 0;
}

/** What libFuzzer said when an input failed. Its last line has the input in base64, as --input takes it. */
function told({ status, stderr }: ReturnType<typeof spawnSync>): number {
  console.error(String(stderr).split("\n").slice(-60).join("\n"));
  return status ?? 1;
}
