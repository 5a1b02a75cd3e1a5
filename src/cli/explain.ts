/** `sluice explain`: which uplink a flow has or would get, and why. */

import type { Command } from "commander";
import { requestJson } from "../control/client.ts";
import { readExplainQuery } from "../control/explain-query.ts";
import type { ExplainReport } from "../control/report.ts";
import { showExplain } from "./explain-view.ts";
import { terminalWidth } from "./format.ts";
import { chooseSocket, configOption, jsonOption, socketOption } from "./options.ts";

const examples = `
SOURCE and DESTINATION are addresses, with a port where it matters: 192.168.10.2, 192.168.10.2:51234,
[2001:db8::10]:443. PROTOCOL is tcp (the default), udp, icmp, gre, esp, sctp or a number. No flow is
opened. Without ports it says what depends on them.

Examples:
  sluice explain 192.168.10.2 192.0.2.10:443
  sluice explain 192.168.10.2:5353 192.0.2.53:53 udp
  sluice explain fd00:10::2 [2001:db8::10]:443 --json | jq .uplink`;

interface Options {
  json?: true;
  socket?: string;
  config?: string;
}

export function addExplain(program: Command): void {
  program
    .command("explain")
    .description("say which rule, hash, policy and uplink a flow has or would get, and why")
    .argument("<source>", "ADDRESS[:PORT] of the host inside, or of this machine")
    .argument("<destination>", "ADDRESS[:PORT]")
    .argument("[protocol]", "its name or number", "tcp")
    .option(...jsonOption)
    .option(...socketOption)
    .option(...configOption)
    .addHelpText("after", examples)
    .action(async (source: string, destination: string, protocol: string, options: Options) => {
      // A slip is told at once, also where no daemon runs.
      readExplainQuery(source, destination, protocol);
      const query = new URLSearchParams({ source, destination, protocol });
      const report = await requestJson<ExplainReport>(chooseSocket(options), `/explain?${query}`);
      const lines = options.json ? [JSON.stringify(report, null, 2)] : showExplain(report, terminalWidth());
      console.log(lines.join("\n"));
    });
}
