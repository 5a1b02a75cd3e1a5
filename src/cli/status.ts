/** `sluice status`: uplinks and totals, once or every second. */

import type { Command } from "commander";
import { requestJson } from "../control/client.ts";
import type { StatusReport } from "../control/report.ts";
import { terminalWidth } from "./format.ts";
import { chooseSocket, configOption, jsonOption, socketOption } from "./options.ts";
import { showStatus } from "./status-view.ts";
import { watch } from "./watch.ts";

const examples = `
TARGET is the share of new connections that the policy gives each uplink at the moment, SHARE what it
has of the live ones. With --watch, OUT and IN are the rates since the last look.

Examples:
  sluice status
  sluice status --watch                          until q or Ctrl-C
  sluice status --json | jq '.uplinks[].state'`;

interface Options {
  json?: true;
  watch?: true;
  socket?: string;
  config?: string;
}

export function addStatus(program: Command): void {
  program
    .command("status")
    .description("show the uplinks and totals of the running daemon")
    .option(...jsonOption)
    .option("--watch", "look again every second")
    .option(...socketOption)
    .option(...configOption)
    .addHelpText("after", examples)
    .action(async (options: Options) => {
      const socket = chooseSocket(options);
      const look = () => requestJson<StatusReport>(socket, "/status");
      if (options.watch) return watch(options.json ? asJson(look) : asRates(look));
      const report = await look();
      console.log(options.json ? JSON.stringify(report, null, 2) : showStatus(report, terminalWidth()).join("\n"));
    });
}

/** One line a report, so that a program can read them as they come. */
function asJson(look: () => Promise<StatusReport>): () => Promise<string[]> {
  return async () => [JSON.stringify(await look())];
}

function asRates(look: () => Promise<StatusReport>): () => Promise<string[]> {
  let earlier: { report: StatusReport; atMs: number } | undefined;
  return async () => {
    const report = await look();
    const atMs = performance.now();
    const before = earlier && { report: earlier.report, elapsedSeconds: (atMs - earlier.atMs) / 1000 };
    earlier = { report, atMs };
    return showStatus(report, terminalWidth(), before);
  };
}
