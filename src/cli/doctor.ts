/** `sluice doctor`: what this machine has and lacks, and what to do about each. */

import { existsSync } from "node:fs";
import type { Command } from "commander";
import { ConfigError, defaultConfigFile, type LoadedConfig, loadConfig } from "../control/config.ts";
import { checkRequirements, type Requirement } from "../control/requirements.ts";
import { exitCode } from "./failure.ts";
import { paint } from "./format.ts";
import { configOption, jsonOption } from "./options.ts";

const examples = `
Tries each feature on devices of its own, which exist for a moment only; nothing is changed.
With a configuration (-c, or /etc/sluice/sluice.yaml if there is one) its interfaces, ports and
number of workers are looked at too. Exit code 4 when something needed is missing.

Examples:
  sluice doctor
  sluice doctor -c sluice.yaml --json | jq '.[] | select(.ok | not)'`;

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("check privileges, kernel features, interfaces and settings, and how to fix each")
    .option(...configOption)
    .option(...jsonOption)
    .addHelpText("after", examples)
    .action(async (options: { config?: string; json?: true }) => {
      const file = options.config ?? (existsSync(defaultConfigFile) ? defaultConfigFile : undefined);
      const { loaded, problem } = tryLoad(file);
      const items = await checkRequirements(loaded?.config);
      console.log(options.json ? JSON.stringify(items, null, 2) : items.flatMap(show).join("\n"));
      if (items.some((item) => !item.ok && item.needed)) process.exitCode = exitCode.missing;
      // The machine can be judged without the file, but a broken file must not go unnoticed.
      if (problem !== undefined) throw problem;
    });
}

function tryLoad(file: string | undefined): { loaded?: LoadedConfig; problem?: ConfigError } {
  if (file === undefined) return {};
  try {
    return { loaded: loadConfig(file) };
  } catch (error) {
    if (error instanceof ConfigError) return { problem: error };
    throw error;
  }
}

function show(item: Requirement): string[] {
  const mark = item.ok ? paint("green", "ok  ") : item.needed ? paint("red", "FAIL") : paint("yellow", "note");
  const line = `${mark}  ${item.name}: ${item.detail}`;
  return item.ok ? [line] : [line, `      ${paint("bold", item.fix)}`];
}
