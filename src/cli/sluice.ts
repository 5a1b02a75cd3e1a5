/** The command `sluice`: one file a subcommand, this one puts them together and decides the exit code. */

import { Command, CommanderError } from "commander";
import { addCheck } from "./check.ts";
import { addDoctor } from "./doctor.ts";
import { addExplain } from "./explain.ts";
import { describeFailure, exitCode } from "./failure.ts";
import { addFlows } from "./flows.ts";
import { addReload } from "./reload.ts";
import { addStatus } from "./status.ts";
import { addUp } from "./up.ts";
import { addUplink } from "./uplink.ts";
import { addVersion } from "./version.ts";

const footer = `
Exit codes: 0 done, 1 failed while running, 2 usage or configuration, 3 no running daemon,
4 a privilege, device or kernel feature is missing.

Examples:
  sluice check -c sluice.yaml         find every mistake in a configuration
  sluice up -c sluice.yaml            forward until Ctrl-C, then undo everything that was set
  sluice status --watch               uplinks and their share of the connections, every second
  sluice uplink drain isp1 --wait     take an uplink out gently, without a restart`;

const program = new Command("sluice")
  .description("Balances connections over two or more uplinks.")
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "sluice: ")) })
  .showHelpAfterError("(sluice --help explains the usage)")
  .addHelpText("after", footer);

addUp(program);
addCheck(program);
addStatus(program);
addFlows(program);
addExplain(program);
addUplink(program);
addReload(program);
addDoctor(program);
addVersion(program);

// `sluice flows | head` closes the pipe early; that is the reader's right and no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(exitCode.done);
});

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its own message; help that was asked for is no failure either.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? exitCode.done : exitCode.usage;
  else {
    const failure = describeFailure(error);
    process.stderr.write(`${failure.message}\n`);
    process.exitCode = failure.code;
  }
}
