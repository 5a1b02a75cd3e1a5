/**
 * The failover benchmark: every scenario with every contender, each run in a lab of its own. Prints a table a scenario, writes
 * failover.md, failover.json and a picture of every scenario that has one. Exit status: 0 done, 1 a run failed, 2 usage.
 * A promise that was not kept is a result, not a failure.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openLab } from "../../test/support/lab.ts";
import { describeMachine } from "../machine.ts";
import { readOptions } from "./options.ts";
import { drawThroughput } from "./picture.ts";
import { renderReport, renderScenario } from "./report.ts";
import { type Results, type RunResults, runResults, type ScenarioResults } from "./results.ts";
import type { Contender, Result, Scenario } from "./types.ts";

/** More than twice what the longest run takes. */
const deadlineMs = 180_000;

// A lab goes away when the process exits, and a signal alone would not let it.
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));
process.once("SIGHUP", () => process.exit(129));

const options = readOptions(process.argv.slice(2));
const startedAt = new Date().toISOString();
const machine = await describeMachine();
const scenarios: ScenarioResults[] = [];
for (const { scenario, contenders } of options.runs) {
  const { name, title, about, rows } = scenario;
  const runs: RunResults[] = [];
  for (const contender of contenders) {
    console.log(`${name}: ${contender.title} ...`);
    runs.push(runResults(scenario, contender, await runOnce(scenario, contender).catch(asError)));
  }
  const results: ScenarioResults = { name, title, about, rows: rows.map(({ keeps: _, ...row }) => row), runs };
  scenarios.push(results);
  console.log(`\n${renderScenario(results)}\n`);
}
write({ format: 1, startedAt, command: options.command, machine, scenarios });
process.exitCode = scenarios.some(({ runs }) => runs.some(({ failure }) => failure !== null)) ? 1 : 0;

async function runOnce(scenario: Scenario, contender: Contender): Promise<Result> {
  const lab = await openLab({ name: `failover-${scenario.name}` });
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${deadlineMs / 1000} s`)), deadlineMs);
  });
  try {
    return await Promise.race([scenario.run({ lab, contender, pace: options.pace }), deadline]);
  } finally {
    clearTimeout(timer);
    await lab.close();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function write(results: Results): void {
  mkdirSync(options.output, { recursive: true });
  const pictures: Record<string, string> = {};
  for (const { name, title, runs } of results.scenarios) {
    const panels = runs.flatMap(({ series }) => (series === null ? [] : [series]));
    if (panels.length === 0) continue;
    pictures[name] = `failover-${name}.svg`;
    writeFileSync(join(options.output, pictures[name]), drawThroughput(title, panels));
  }
  writeFileSync(join(options.output, "failover.json"), `${JSON.stringify(results, null, 1)}\n`);
  writeFileSync(join(options.output, "failover.md"), renderReport(results, pictures));
  console.log(`Written: failover.md, failover.json and ${Object.keys(pictures).length} pictures in ${options.output}`);
}
