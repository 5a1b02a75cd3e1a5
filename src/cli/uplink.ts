/** `sluice uplink`: drains, disables, enables and weighs an uplink of the running daemon. */

import type { Command } from "commander";
import { maxWeight } from "../control/api-routes.ts";
import { requestJson } from "../control/client.ts";
import type { UplinkReport } from "../control/report.ts";
import { chooseSocket, configOption, jsonOption, readCount, readDuration, socketOption } from "./options.ts";
import { waitUntilEmpty } from "./uplink-drain.ts";
import { describeUplink } from "./uplink-words.ts";

const lasting = "Orders hold until the daemon ends or another one is given; a reload keeps them.";

const examples = {
  uplink: `
${lasting}

Examples:
  sluice uplink drain isp1 --wait        before somebody pulls its cable
  sluice uplink enable isp1              afterwards
  sluice uplink weight isp2 5`,
  drain: `
New connections take the other uplinks; those that live go on. With --wait the command lasts until
none is left, and shows how many are. Exit code 1 when the time is over first; the uplink stays draining.

Examples:
  sluice uplink drain isp1
  sluice uplink drain isp1 --timeout 10m || sluice uplink disable isp1`,
  disable: `
New connections take the other uplinks, and those that live are reset at once: \`drain\` lets them go on.

Examples:
  sluice uplink disable isp1`,
  enable: `
The uplink is used again, as soon as its line is well.

Examples:
  sluice uplink enable isp1
  sluice uplink enable isp1 --json | jq .state`,
  weight: `
${lasting} The file's weight stays as it is.

Examples:
  sluice uplink weight isp1 5            of new connections; those that live stay where they are`,
} as const;

interface Options {
  json?: true;
  wait?: true;
  timeout?: number;
  socket?: string;
  config?: string;
}

export function addUplink(program: Command): void {
  const uplink = program
    .command("uplink")
    .description("drain, disable, enable or weigh an uplink of the running daemon")
    .addHelpText("after", examples.uplink);
  const order = (name: keyof typeof examples, description: string) =>
    uplink
      .command(name)
      .description(description)
      .argument("<name>", "the uplink")
      .option(...jsonOption)
      .option(...socketOption)
      .option(...configOption)
      .addHelpText("after", examples[name]);

  order("drain", "give it no new connections, and let those that live go on")
    .option("--wait", "until it has none left")
    .option("--timeout <duration>", "wait no longer than this, such as 90s or 5m (implies --wait)", readDuration)
    .action(drain);
  order("enable", "use it again").action((name: string, options: Options) => give(name, "enable", options));
  order("disable", "give it no new connections, and reset those that live").action((name: string, options: Options) =>
    give(name, "disable", options),
  );
  order("weight", "give it another share of the new connections")
    .argument("<n>", `relative to the others, 1 to ${maxWeight}`, readCount)
    .action((name: string, weight: number, options: Options) => give(name, `weight?value=${weight}`, options));
}

async function give(name: string, order: string, options: Options): Promise<void> {
  const report = await tell(chooseSocket(options), name, order);
  console.log(options.json ? JSON.stringify(report, null, 2) : describeUplink(report));
}

async function drain(name: string, options: Options): Promise<void> {
  if (!options.wait && options.timeout === undefined) return give(name, "drain", options);
  const socket = chooseSocket(options);
  await tell(socket, name, "drain");
  await waitUntilEmpty(socket, name, { asJson: options.json === true, timeoutMs: options.timeout ?? Infinity });
}

function tell(socket: string, name: string, order: string): Promise<UplinkReport> {
  return requestJson<UplinkReport>(socket, `/uplinks/${encodeURIComponent(name)}/${order}`, { method: "POST" });
}
