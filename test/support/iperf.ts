/** iperf3 between two hosts of the lab. */

import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { type Host, server } from "./topology.ts";

/** What iperf3 says at its end about one direction; datagram figures only with UDP. */
export interface IperfSum {
  bytes: number;
  packets?: number;
  lost_packets?: number;
}

/** Starts iperf3 servers on the server, one a port, since one takes one client at a time. They end with the lab. */
export async function startIperf(lab: Lab, ports: readonly number[]): Promise<void> {
  const servers: Running[] = ports.map((port) =>
    lab.spawn("server", ["iperf3", "-s", "--forceflush", "-p", String(port)]),
  );
  for (const running of servers) await running.waitFor(/listening/);
}

/** Runs a client towards the server and returns what was received. Throws with iperf3's own words when it fails. */
export function iperf(lab: Lab, host: Host, port: number, ...options: readonly string[]): Promise<IperfSum> {
  return iperfTo(lab, host, server, port, ...options);
}

/** The same towards another of its addresses, such as `server6`. */
export async function iperfTo(
  lab: Lab,
  host: Host,
  target: string,
  port: number,
  ...options: readonly string[]
): Promise<IperfSum> {
  const { stdout } = await lab.exec(host, ["iperf3", "-J", "-c", target, "-p", String(port), ...options]);
  const { end } = JSON.parse(stdout) as { end: { sum_received?: IperfSum; sum: IperfSum } };
  return end.sum_received ?? end.sum;
}
