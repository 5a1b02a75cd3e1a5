/** `sluice reload`: the running daemon reads its configuration again. */

import type { Command } from "commander";
import { requestJson } from "../control/client.ts";
import type { ReloadReport } from "../control/report.ts";
import { exitCode } from "./failure.ts";
import { chooseSocket, configOption, jsonOption, socketOption } from "./options.ts";

const timeoutMs = 30_000;

const examples = `
The daemon reads the file that it was started with. With any mistake in it nothing changes, every
problem is printed, and the exit code is 2. Flows go on, but for those of an uplink that is gone.
What needs a restart (tun, steer, nat, forwards, limits, workers, io, failMode) is refused by name.

Examples:
  sluice reload
  sluice check && sluice reload
  sluice reload --json | jq -r '.problems[]'`;

interface Options {
  json?: true;
  socket?: string;
  config?: string;
}

export function addReload(program: Command): void {
  program
    .command("reload")
    .description("have the running daemon read its configuration again")
    .option(...jsonOption)
    .option(...socketOption)
    .option(...configOption)
    .addHelpText("after", examples)
    .action(async (options: Options) => {
      const report = await requestJson<ReloadReport>(chooseSocket(options), "/reload", { method: "POST", timeoutMs });
      const failed = report.problems.length > 0;
      if (failed) process.exitCode = exitCode.usage;
      if (options.json) return console.log(JSON.stringify(report, null, 2));
      if (!failed) return console.log(report.changed.length > 0 ? report.changed.join("\n") : "nothing has changed");
      process.stderr.write(`${report.problems.join("\n")}\nsluice: not reloaded: everything is as it was\n`);
    });
}
