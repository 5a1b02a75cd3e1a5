/**
 * The benchmark: every scenario with every contender, in interleaved rounds. Prints a table, writes
 * latest.json and README.md. Exit status: 0 done, 1 a run failed, 2 usage.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { baseline, contenders } from "./contenders.ts";
import { formatValue } from "./format.ts";
import { describeMachine } from "./machine.ts";
import { renderMarkdown } from "./markdown.ts";
import { runMicro } from "./micro.ts";
import { type BenchOptions, readOptions } from "./options.ts";
import { updateReadme } from "./readme.ts";
import { type Results, type ScenarioResult, scenarioResult } from "./results.ts";
import { runRounds } from "./rounds.ts";
import { renderTable } from "./table.ts";
import { compileTool } from "./tools.ts";
import type { Contender, Failure, Sample, Scenario } from "./types.ts";

/** More than this of other work, and figures are noise. */
const quietCores = 0.1;

const toolNames = ["udp-rate", "connect-rate", "flush-conntrack"];

// A lab goes away when the process exits, and a signal alone would not let it.
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));
process.once("SIGHUP", () => process.exit(129));

const options = readOptions(process.argv.slice(2));
const results = await run(options);
console.log(`\n${renderTable(results)}`);
write(results, options);
const failed =
  results.scenarios.some(({ failures }) => failures.length > 0) ||
  (results.micro !== null && "failed" in results.micro);
process.exitCode = failed ? 1 : 0;

async function run(options: BenchOptions): Promise<Results> {
  const startedAt = new Date().toISOString();
  const machine = await describeMachine();
  if (machine.busyBefore > quietCores) {
    console.log(`The machine is not quiet: ${machine.busyBefore.toFixed(2)} cores are busy with something else.\n`);
  }
  const tools = Object.fromEntries(await Promise.all(toolNames.map(async (name) => [name, await compileTool(name)])));
  const scenarios: ScenarioResult[] = [];
  for (const scenario of options.scenarios) scenarios.push(await runScenario(scenario, options, tools));
  const { command, rounds, runMs, warmUpMs } = options;
  return {
    format: 1,
    startedAt,
    command,
    machine,
    rounds,
    runMs,
    warmUpMs,
    scenarios,
    micro: options.micro ? await microOrFailure(options.quick) : null,
  };
}

async function runScenario(
  scenario: Scenario,
  options: BenchOptions,
  tools: Readonly<Record<string, string>>,
): Promise<ScenarioResult> {
  console.log(`${scenario.name}: ${scenario.title}`);
  const samples: Sample[] = [];
  const failures: Failure[] = [];
  const onSample = (sample: Sample) => {
    samples.push(sample);
    const { contender, round, value, cpuSeconds, seconds } = sample;
    const cores = `${(cpuSeconds / seconds).toFixed(2)} cores busy`;
    console.log(
      `  round ${round + 1}  ${contender.padEnd(10)} ${formatValue(value, scenario.unit).padStart(9)} ${scenario.unit.padEnd(13)} ${cores}`,
    );
  };
  const onFailure = (failure: Failure) => {
    failures.push(failure);
    console.log(`  round ${failure.round + 1}  ${failure.contender.padEnd(10)} failed: ${failure.message}`);
  };
  try {
    await runRounds(scenario, chosen(scenario, options.quick), { ...options, tools, onSample, onFailure });
  } catch (error) {
    onFailure({ contender: "lab", round: 0, message: (error as Error).message });
  }
  return scenarioResult(scenario, samples, failures);
}

/** A quick run leaves out all but the first and the last: the kernel, and what is compared with it. */
function chosen(scenario: Scenario, quick: boolean): Contender[] {
  const names = quick ? [baseline, scenario.contenders.at(-1)!] : scenario.contenders;
  return contenders.filter(({ name }) => names.includes(name));
}

async function microOrFailure(quick: boolean): Promise<Results["micro"]> {
  console.log("the JavaScript part alone");
  try {
    return await runMicro(quick);
  } catch (error) {
    return { failed: (error as Error).message };
  }
}

function write(results: Results, { output, readme }: BenchOptions): void {
  mkdirSync(output, { recursive: true });
  writeFileSync(join(output, "latest.json"), `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(join(output, "README.md"), renderMarkdown(results));
  if (readme !== null) updateReadme(readme, results);
  console.log(
    `\nWritten: latest.json and README.md in ${output}${readme === null ? "" : ", and the table in README.md"}`,
  );
}
