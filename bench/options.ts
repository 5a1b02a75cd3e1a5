/** The command line of the benchmark. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { scenarios } from "./scenarios/index.ts";
import type { Scenario } from "./types.ts";

const usage = `npm run bench -- [OPTIONS]      sluice against the kernel's own multipath route and masquerade

  --quick            two rounds of one second of the scenarios that matter most, with one sluice: 2 minutes
                     (default: five rounds of four seconds, 17 minutes)
  --scenario NAME    only this one; may be given several times
  --rounds N         1 to 100
  --seconds N        what counts of every run, 1 to 600
  --output DIR       where latest.json and README.md go (default: docs/benchmarks, and the table in
                     the project's README.md when it is not --quick; with --scenario: build/bench)

Scenarios:
${scenarios.map(({ name, title }) => `  ${name.padEnd(16)} ${title}`).join("\n")}
`;

export interface BenchOptions {
  /** As it can be typed again. */
  readonly command: string;
  readonly quick: boolean;
  readonly scenarios: readonly Scenario[];
  readonly rounds: number;
  readonly runMs: number;
  readonly warmUpMs: number;
  readonly micro: boolean;
  readonly output: string;
  /** The project's README, when the run is one to show there: whole, not quick, and not to another directory. */
  readonly readme: string | null;
}

/** Ends the process with status 2 and a message when something is wrong, with 0 after `--help`. */
export function readOptions(words: readonly string[]): BenchOptions {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        quick: { type: "boolean", default: false },
        scenario: { type: "string", multiple: true, default: [] },
        rounds: { type: "string" },
        seconds: { type: "string" },
        output: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const partial = values.scenario.length > 0;
    const root = fileURLToPath(new URL("..", import.meta.url));
    return {
      command: ["npm run bench", ...(words.length > 0 ? ["--", ...words] : [])].join(" "),
      quick: values.quick,
      scenarios: partial ? values.scenario.map(scenarioOf) : scenarios.filter(({ quick }) => quick || !values.quick),
      rounds: values.rounds === undefined ? (values.quick ? 2 : 5) : integer("--rounds", values.rounds, 100),
      runMs: 1000 * (values.seconds === undefined ? (values.quick ? 1 : 4) : integer("--seconds", values.seconds, 600)),
      warmUpMs: 1000,
      micro: !partial,
      readme: partial || values.quick || values.output !== undefined ? null : `${root}README.md`,
      output:
        values.output === undefined ? `${root}${partial ? "build/bench" : "docs/benchmarks"}` : resolve(values.output),
    };
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

function scenarioOf(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found === undefined) throw new Error(`--scenario: there is no '${name}'`);
  return found;
}

function integer(option: string, text: string, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`${option}: expected a whole number from 1 to ${most}, not '${text}'`);
  return value;
}
