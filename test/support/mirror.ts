/** What hosts of the lab look like to others: programs/mirror.ts and programs/ask.ts. */

import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { runProgram, startProgram } from "./programs.ts";
import type { Host } from "./topology.ts";

/** Starts mirrors on these ports of a host, each PORT or ADDRESS:PORT, perhaps after --known-to ADDRESS:PORT. They end with the lab. */
export function startMirrors(lab: Lab, host: Host, ...words: readonly string[]): Promise<Running> {
  return startProgram(lab, host, "mirror", ...words);
}

/**
 * Asks mirrors, from one endpoint of a host, what it looks like to them: "ADDRESS:PORT" from each in turn, null
 * where nothing came, the error's name where one came.
 */
export function ask(
  lab: Lab,
  host: Host,
  protocol: "tcp" | "udp",
  from: string,
  mirrors: readonly string[],
): Promise<(string | null)[]> {
  return runProgram(lab, host, "ask", protocol, from, ...mirrors);
}

/** The address of "ADDRESS:PORT". */
export function addressOf(endpoint: string | null): string | undefined {
  return endpoint?.split(":")[0];
}
