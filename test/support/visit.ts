/** One request to a web server of the lab (programs/web-server.ts, port 80), and what either end saw of it. */

import type { Lab } from "./lab.ts";
import type { Host } from "./topology.ts";

export interface Visit {
  /** The visitor as the server saw it. */
  address: string;
  port: number;
  /** The visitor as it saw itself. */
  ownAddress: string;
  ownPort: number;
}

/** `options` are curl's. Throws when there is no answer. */
export async function visit(lab: Lab, host: Host, to: string, ...options: readonly string[]): Promise<Visit> {
  const own = ["-w", "%{local_ip} %{local_port}"];
  const { stdout } = await lab.exec(host, [
    "curl",
    "-sS",
    "--max-time",
    "10",
    ...own,
    ...options,
    `http://${to}/address`,
  ]);
  const [address, port, ownAddress, ownPort] = stdout.trim().split(/\s/) as [string, string, string, string];
  return { address, port: Number(port), ownAddress, ownPort: Number(ownPort) };
}

/** So many visits at once. */
export function visits(lab: Lab, host: Host, to: string, count: number): Promise<Visit[]> {
  return Promise.all(Array.from({ length: count }, () => visit(lab, host, to)));
}
