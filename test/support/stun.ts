/** coturn in the lab: its server on the two addresses that RFC 5780 asks for, and its client that finds out how a translator behaves. */

import { join } from "node:path";
import type { Lab } from "./lab.ts";
import { type Host, server, server2 } from "./topology.ts";

export const stunPort = 3478;

/** Starts a STUN server on the server's two addresses. It ends with the lab. */
export async function startStunServer(lab: Lab): Promise<void> {
  const alone = ["-n", "--stun-only", "--no-auth", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout"];
  const files = [`--pidfile=${join(lab.directory, "turn.pid")}`, `--userdb=${join(lab.directory, "turn.db")}`];
  const turnserver = lab.spawn("server", ["turnserver", ...alone, ...files, "-L", server, "-L", server2]);
  // The last thing that it says before it serves.
  await turnserver.waitFor(/SQLite DB connection success/);
}

export interface Discovery {
  /** What turnutils_natdiscovery printed. */
  text: string;
  /** The outside endpoint in each answer, in their order: "203.0.113.2:20001". */
  reflexive: string[];
}

/** Lets turnutils_natdiscovery find out one thing (-m mapping, -f filtering, -H hairpinning, -t -T SECONDS lifetime) from a local endpoint. */
export async function discover(
  lab: Lab,
  host: Host,
  address: string,
  port: number,
  ...what: string[]
): Promise<Discovery> {
  const { stdout } = await lab.exec(host, [
    "turnutils_natdiscovery",
    ...what,
    "-L",
    address,
    "-l",
    String(port),
    server,
  ]);
  return {
    text: stdout,
    reflexive: Array.from(stdout.matchAll(/reflexive addr: (\S+)/g), ([, endpoint]) => endpoint!),
  };
}
