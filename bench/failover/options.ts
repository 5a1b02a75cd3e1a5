/** The command line of the failover benchmark. */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { contenders } from "./contenders.ts";
import { scenarios } from "./scenarios/index.ts";
import type { Contender, Scenario } from "./types.ts";

const usage = `npm run bench:failover -- [OPTIONS]      what happens when a line dies, gets worse or comes back

  --quick             the scenarios that matter most, at half their length: 2 minutes (default: all, 15 minutes)
  --scenario NAME     only this one; may be given several times
  --contender NAME    only this one; may be given several times
  --output DIR        where failover.md, failover.json and the pictures go (default: docs/benchmarks; when
                      something is left out: build/bench)

Scenarios:
${scenarios.map(({ name, title }) => `  ${name.padEnd(18)} ${title}`).join("\n")}

Contenders:
${contenders.map(({ name, about }) => `  ${name.padEnd(18)} ${about}`).join("\n")}
`;

export interface FailoverOptions {
  /** As it can be typed again. */
  readonly command: string;
  readonly pace: number;
  readonly runs: readonly { readonly scenario: Scenario; readonly contenders: readonly Contender[] }[];
  readonly output: string;
}

/** Ends the process with status 2 and a message when something is wrong, with 0 after `--help`. */
export function readOptions(words: readonly string[]): FailoverOptions {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        quick: { type: "boolean", default: false },
        scenario: { type: "string", multiple: true, default: [] },
        contender: { type: "string", multiple: true, default: [] },
        output: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const isPartial = values.quick || values.scenario.length > 0 || values.contender.length > 0;
    const root = fileURLToPath(new URL("../..", import.meta.url));
    return {
      command: ["npm run bench:failover", ...(words.length > 0 ? ["--", ...words] : [])].join(" "),
      pace: values.quick ? 0.5 : 1,
      runs: chosenRuns(values),
      output:
        values.output === undefined
          ? `${root}${isPartial ? "build/bench" : "docs/benchmarks"}`
          : resolve(values.output),
    };
  } catch (error) {
    console.error(`bench:failover: ${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

interface Choice {
  quick: boolean;
  scenario: string[];
  contender: string[];
}

/** What is named is run, also where `--quick` alone would leave it out. */
function chosenRuns({ quick, scenario, contender }: Choice): FailoverOptions["runs"] {
  const wanted = contender.map((name) => named("contender", contenders, name));
  const list = scenario.length > 0 ? scenario.map((name) => named("scenario", scenarios, name)) : scenarios;
  return list.flatMap((candidate) => {
    const names = quick && scenario.length === 0 ? candidate.quick : candidate.contenders;
    const chosen = (wanted.length > 0 ? wanted : contenders).filter(({ name }) => names.includes(name));
    return chosen.length === 0 ? [] : [{ scenario: candidate, contenders: chosen }];
  });
}

function named<T extends { name: string }>(option: string, list: readonly T[], name: string): T {
  const found = list.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`--${option}: there is no '${name}'`);
  return found;
}
