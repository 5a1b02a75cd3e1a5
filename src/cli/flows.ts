/** `sluice flows`: the live flows. */

import type { Command } from "commander";
import { maxFlowsInAnswer } from "../control/api.ts";
import { requestJson } from "../control/client.ts";
import type { FlowReport } from "../control/report.ts";
import { type Column, formatAge, formatBytes, formatEndpoint, formatTable, terminalWidth } from "./format.ts";
import { chooseSocket, configOption, jsonOption, readCount, socketOption } from "./options.ts";

const examples = `
At most ${maxFlowsInAnswer} flows are shown. MAPPED is the address and port that the remote sees.

Examples:
  sluice flows --limit 20
  sluice flows --uplink isp1
  sluice flows --json | jq -r '.[] | select(.destinationPort == 443) | .uplink' | sort | uniq -c`;

interface Options {
  json?: true;
  uplink?: string;
  limit?: number;
  socket?: string;
  config?: string;
}

const columns: Column<FlowReport>[] = [
  { title: "PROTO", text: (flow) => flow.protocol },
  { title: "SOURCE", text: (flow) => formatEndpoint(flow.source, flow.sourcePort) },
  { title: "DESTINATION", text: (flow) => formatEndpoint(flow.destination, flow.destinationPort) },
  { title: "UPLINK", text: (flow) => flow.uplink, style: () => "bold" },
  { title: "MAPPED", text: (flow) => formatEndpoint(flow.mappedAddress, flow.mappedPort), dispensable: 4 },
  { title: "STATE", text: (flow) => flow.state, dispensable: 1 },
  { title: "AGE", align: "right", text: (flow) => formatAge(flow.ageSeconds), dispensable: 3 },
  { title: "IDLE", align: "right", text: (flow) => formatAge(flow.idleSeconds), dispensable: 2 },
  { title: "SENT", align: "right", text: (flow) => formatBytes(flow.txBytes), dispensable: 5 },
  { title: "RECEIVED", align: "right", text: (flow) => formatBytes(flow.rxBytes), dispensable: 5 },
];

export function addFlows(program: Command): void {
  program
    .command("flows")
    .description("list the live flows of the running daemon")
    .option(...jsonOption)
    .option("--uplink <name>", "only those of one uplink")
    .option("--limit <n>", "at most this many", readCount)
    .option(...socketOption)
    .option(...configOption)
    .addHelpText("after", examples)
    .action(async (options: Options) => {
      const query = new URLSearchParams();
      const limit = options.limit ?? maxFlowsInAnswer;
      query.set("limit", String(limit));
      if (options.uplink !== undefined) query.set("uplink", options.uplink);
      const flows = await requestJson<FlowReport[]>(chooseSocket(options), `/flows?${query}`);
      console.log(
        options.json ? JSON.stringify(flows, null, 2) : formatTable(flows, columns, terminalWidth()).join("\n"),
      );
      // Whoever set the limit knows; whoever did not must not take a part for the whole.
      if (options.limit === undefined && flows.length === limit)
        process.stderr.write(`sluice: only the first ${limit} flows are shown\n`);
    });
}
