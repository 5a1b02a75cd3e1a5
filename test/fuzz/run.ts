/**
 * `scripts/fuzz`: fuzzes one target or all, each for a while.
 *
 *     scripts/fuzz [TARGET...] [--seconds N | --runs N] [--seed N] [--keep]
 *     scripts/fuzz TARGET --input BASE64
 *     scripts/fuzz path [--packets N] [--workers N] [--seed N]
 *     scripts/fuzz shim [--seconds N] [--seed N] [--keep] [--input BASE64]
 */
import { parseArgs } from "node:util";
import { readCorpus, writeCorpus } from "./corpus.ts";
import { FuzzFailure, fuzzLoop } from "./engine.ts";
import { type Instrumented, instrument } from "./instrument.ts";
import { fuzzShim } from "./shim.ts";
import { instrumentedModules, loadTarget, type TargetModule, targetNames } from "./targets.ts";
import { startWatchdog } from "./watchdog.ts";

const usage = `scripts/fuzz [TARGET...] [--seconds N | --runs N] [--seed N] [--keep]
    fuzzes each target (all: ${targetNames.join(", ")}) for 60 seconds, or as long as told;
    --keep: into test/fuzz/corpus with the inputs that take new branches
scripts/fuzz TARGET --input BASE64
    runs one input, as a failure names it
scripts/fuzz path [--packets N] [--workers 1|2] [--seed N]
    random and broken packets through the whole path, ten million unless told
scripts/fuzz shim [--seconds N] [--seed N] [--keep] [--input BASE64]
    the native shim's turn with a hostile memory, under libFuzzer and AddressSanitizer`;

await main();

async function main(): Promise<void> {
  const { values, positionals } = readArguments();
  const number = (name: "seconds" | "runs" | "seed" | "packets" | "workers", usual: number) => {
    const value = values[name] === undefined ? usual : Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 0) give(`--${name} is ${values[name]}; expected a whole number`);
    return value;
  };
  const seed = number("seed", Date.now() % 2 ** 31);
  if (positionals[0] === "path") {
    const workers = number("workers", 0);
    if (workers > 2) give(`--workers is ${workers}; expected 1 or 2`);
    // Not before it is asked for: what is loaded already is not instrumented.
    const { runPath } = await import("./path.ts");
    runPath({ seed, packets: number("packets", 10_000_000), workers });
    return;
  }
  const input = values.input === undefined ? undefined : new Uint8Array(Buffer.from(values.input, "base64"));
  if (positionals[0] === "shim")
    process.exit(fuzzShim({ seed, seconds: number("seconds", 60), keep: values.keep === true, input }));
  for (const name of positionals) if (!isTarget(name)) give(`there is no target ${name}`);
  const coverage = instrument(instrumentedModules);
  if (input !== undefined) {
    const { fuzz } = await loadTarget(positionals[0] ?? give("--input wants a target"));
    await fuzz(input);
    console.log("the input runs through");
    process.exit(0);
  }
  const names = positionals.length > 0 ? positionals : targetNames;
  const { runs, keep } = values;
  const limit = {
    seconds: number("seconds", 60),
    runs: runs === undefined ? Number.POSITIVE_INFINITY : number("runs", 0),
  };
  for (const name of names) await fuzzTarget(name, coverage, { seed, keep: keep === true, ...limit });
  process.exit(0);
}

function readArguments() {
  const text = { type: "string" } as const;
  const numbers = { seconds: text, runs: text, seed: text, packets: text, workers: text } as const;
  const switches = { keep: { type: "boolean" }, help: { type: "boolean", short: "h" } } as const;
  const options = { ...numbers, ...switches, input: text };
  try {
    const parsed = parseArgs({ options, allowPositionals: true });
    if (parsed.values.help === true) {
      console.log(usage);
      process.exit(0);
    }
    return parsed;
  } catch (error) {
    return give((error as Error).message);
  }
}

function isTarget(name: string): boolean {
  return (targetNames as readonly string[]).includes(name);
}

async function fuzzTarget(
  name: string,
  coverage: Instrumented,
  options: { seed: number; seconds: number; runs: number; keep: boolean },
): Promise<void> {
  const target: TargetModule = await loadTarget(name);
  const corpus = [...readCorpus(name), ...target.seeds()];
  const watchdog = startWatchdog();
  const began = performance.now();
  const secondsLeft = () => options.seconds - (performance.now() - began) / 1000;
  const goesOn = (runs: number) => (options.runs < Number.POSITIVE_INFINITY ? runs < options.runs : secondsLeft() > 0);
  try {
    const loop = { fuzz: target.fuzz, coverage, corpus, seed: options.seed, goesOn, watch: watchdog.watch };
    const result = await fuzzLoop(loop);
    const seconds = (performance.now() - began) / 1000;
    console.log(
      `${name}: ${result.runs} inputs in ${seconds.toFixed(1)} s, ${result.taken} of ${result.branches} branches, ` +
        `${result.kept.length} inputs kept (${corpus.length} to start from), seed ${options.seed}`,
    );
    if (options.keep) {
      // Run once more, shortest first, only those are kept that take a branch which no shorter one does.
      const fewest = await fuzzLoop({ ...loop, corpus: result.kept, goesOn: () => false, takenOnly: true });
      writeCorpus(name, fewest.kept);
      console.log(`${name}: ${fewest.kept.length} inputs written`);
    }
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    console.error(`${name}: seed ${options.seed}: ${error.message}`);
    console.error(error.cause);
    console.error(`again: scripts/fuzz ${name} --input ${Buffer.from(error.input).toString("base64")}`);
    process.exit(1);
  } finally {
    await watchdog.close();
    await target.close?.();
  }
}

function give(problem: string): never {
  console.error(`scripts/fuzz: ${problem}\n${usage}`);
  process.exit(2);
}
