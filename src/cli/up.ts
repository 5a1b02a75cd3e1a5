/** `sluice up`: everything is checked before anything is touched, then the daemon takes over. */

import type { Command } from "commander";
import { clearTheWay } from "../control/api.ts";
import { defaultConfigFile, loadConfig } from "../control/config.ts";
import { checkAgainstSystem } from "../control/config-system.ts";
import { refuseIfInUse } from "../control/journal.ts";
import { createLog } from "../control/log.ts";
import { requireAll } from "../control/requirements.ts";
import { configOption, socketOption } from "./options.ts";

const examples = `
Runs in the foreground until SIGTERM or SIGINT, then undoes everything it set. Needs root, or
CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF; \`sluice doctor\` says what else is missing.
The log goes to stderr: readable lines on a terminal, JSON lines elsewhere.

Examples:
  sluice up                                   /etc/sluice/sluice.yaml
  sluice up -c sluice.yaml --socket /tmp/s    beside another sluice (tun.name must differ too)`;

export function addUp(program: Command): void {
  program
    .command("up")
    .description("forward traffic until stopped")
    .option(...configOption, defaultConfigFile)
    .option(...socketOption)
    .addHelpText("after", examples)
    .action(async (options: { config: string; socket?: string }) => {
      const loaded = loadConfig(options.config);
      const { config } = loaded;
      if (options.socket !== undefined) config.control.socket = options.socket;
      const advice = await requireAll(config);
      refuseIfInUse(config.tun.name);
      await clearTheWay(config.control.socket);
      const warnings = await checkAgainstSystem(loaded, false);
      const log = createLog(config.log.level);
      for (const { line, path, message, expected } of warnings)
        log.warn({ file: config.file, line, path, expected }, message);
      for (const { name, detail, fix } of advice) log.info({ fix }, `${name}: ${detail}`);
      // Loaded this late because the other commands have no use for the data plane.
      const { runDaemon } = await import("../main.ts");
      await runDaemon(config, log);
    });
}
