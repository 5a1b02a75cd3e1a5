/** `sluice version` */

import { release } from "node:os";
import type { Command } from "commander";
import { version } from "../control/version.ts";

export function addVersion(program: Command): void {
  program.version(`sluice ${version}`, "-V, --version", "print the version");
  program
    .command("version")
    .description("print the version, and what it runs on")
    .action(() => console.log(`sluice ${version} (Node ${process.versions.node}, Linux ${release()})`));
}
