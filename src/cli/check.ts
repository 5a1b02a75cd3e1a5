/** `sluice check`: validates a configuration, by itself and against this machine. */

import type { Command } from "commander";
import { ControlError, requestJson } from "../control/client.ts";
import { defaultConfigFile, formatProblem, loadConfig } from "../control/config.ts";
import { checkAgainstSystem } from "../control/config-system.ts";
import { configOption, socketOption } from "./options.ts";

const examples = `
Prints one line a problem: FILE:LINE:COLUMN: path: message (got VALUE; expected ...).
Besides the file itself it looks at this machine's interfaces and addresses. Nothing is changed.

Examples:
  sluice check                      /etc/sluice/sluice.yaml
  sluice check -c sluice.yaml && sluice up -c sluice.yaml`;

export function addCheck(program: Command): void {
  program
    .command("check")
    .description("validate a configuration: every problem with line, path, value and what was expected")
    .option(...configOption, defaultConfigFile)
    .option(...socketOption)
    .addHelpText("after", examples)
    .action(async (options: { config: string; socket?: string }) => {
      const loaded = loadConfig(options.config);
      const socket = options.socket ?? loaded.config.control.socket;
      const warnings = await checkAgainstSystem(loaded, await answers(socket));
      for (const warning of warnings) process.stderr.write(`${formatProblem(options.config, warning)}\n`);
      console.log(
        `${options.config}: ${warnings.length === 0 ? "no problems" : `no errors, ${warnings.length} warning${warnings.length > 1 ? "s" : ""}`}`,
      );
    });
}

/** A TUN that a running sluice holds is no obstacle to the file that it runs by. */
async function answers(socket: string): Promise<boolean> {
  try {
    await requestJson(socket, "/version");
    return true;
  } catch (error) {
    if (error instanceof ControlError) return false;
    throw error;
  }
}
