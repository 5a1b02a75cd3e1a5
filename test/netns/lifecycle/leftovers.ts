/**
 * What a killed sluice leaves in the lab's router, all of it, as `leftOver` of machine.ts shows it. The list
 * in docs/operations.md says the same to people: change both.
 *
 * All of it is harmless: T, the steering table, lost its default route with the TUN, so the rules on it
 * find nothing and fall through to main. (`failMode: closed` keeps an unreachable default there.)
 */

import type { Lab } from "../../support/lab.ts";
import type { Machine } from "./machine.ts";

/** Where the instance's rules and tables are. */
export interface Place {
  priority: number;
  table: number;
}

/** Read from the rule on the LAN. Throws when there is none. */
export async function placeOf(lab: Lab): Promise<Place> {
  const { stdout } = await lab.exec("router", ["ip", "rule"]);
  const [, priority, table] = /^(\d+):\s+from all iif lan0 lookup (\d+) proto 83/m.exec(stdout)!;
  return { priority: Number(priority) - 6, table: Number(table) };
}

export function leftByKill({ priority, table }: Place, options: { failMode: "open" | "closed" }): Partial<Machine> {
  const [isp1, isp2] = [table + 1, table + 2];
  const route = `proto 83 scope`;
  const closed = `unreachable default table ${table} ${route} global metric 4294967295 `;
  const closed6: Partial<Machine> = {
    rules6: [
      `${priority + 1}:\tfrom all lookup main suppress_prefixlength 0 proto 83`,
      `${priority + 2}:\tfrom all iif sluice0 [detached] blackhole proto 83`,
      `${priority + 4}:\tfrom all oif wan0 lookup ${isp1} proto 83`,
      `${priority + 4}:\tfrom all oif wan1 lookup ${isp2} proto 83`,
      `${priority + 6}:\tfrom all iif lan0 lookup ${table} proto 83`,
      `${priority + 7}:\tfrom all iif lo lookup ${table} proto 83`,
    ],
    routes6: [
      ...["fe80::/10", "ff00::/8"].map(
        (network) => `throw ${network} dev lo table ${table} proto 83 scope global metric 1024 pref medium`,
      ),
      `unreachable default dev lo table ${table} proto 83 scope global metric 4294967295 pref medium`,
    ],
  };
  return {
    ...(options.failMode === "closed" ? closed6 : {}),
    rules: [
      `${priority}:\tfrom 203.0.113.2 iif lo lookup ${isp1} suppress_prefixlength 0 proto 83`,
      `${priority}:\tfrom 198.51.100.2 iif lo lookup ${isp2} suppress_prefixlength 0 proto 83`,
      `${priority + 1}:\tfrom all lookup main suppress_prefixlength 0 proto 83`,
      `${priority + 2}:\tfrom all iif sluice0 [detached] blackhole proto 83`,
      `${priority + 3}:\tfrom 203.0.113.2 iif lo lookup ${isp1} proto 83`,
      `${priority + 3}:\tfrom 198.51.100.2 iif lo lookup ${isp2} proto 83`,
      `${priority + 4}:\tfrom all oif wan0 lookup ${isp1} proto 83`,
      `${priority + 4}:\tfrom all oif wan1 lookup ${isp2} proto 83`,
      `${priority + 6}:\tfrom all iif lan0 lookup ${table} proto 83`,
      `${priority + 7}:\tfrom all iif lo lookup ${table} proto 83`,
    ],
    routes: [
      `throw 224.0.0.0/4 table ${table} ${route} global`,
      `throw 255.255.255.255 table ${table} ${route} global`,
      ...(options.failMode === "closed" ? [closed.trimEnd()] : []),
      `unicast default via 203.0.113.1 dev wan0 table ${isp1} ${route} global src 203.0.113.2 onlink`,
      `unicast 198.51.100.0/24 via 203.0.113.1 dev wan0 table ${isp1} ${route} global src 203.0.113.2 onlink`,
      `unicast 203.0.113.0/24 dev wan0 table ${isp1} ${route} link src 203.0.113.2`,
      `unicast default via 198.51.100.1 dev wan1 table ${isp2} ${route} global src 198.51.100.2 onlink`,
      `unicast 203.0.113.0/24 via 198.51.100.1 dev wan1 table ${isp2} ${route} global src 198.51.100.2 onlink`,
      `unicast 198.51.100.0/24 dev wan1 table ${isp2} ${route} link src 198.51.100.2`,
    ].sort(),
    sysctls: ["net.ipv4.ip_local_reserved_ports = 16384-32767"],
    managedNeighbours: ["198.51.100.1 dev wan1", "203.0.113.1 dev wan0"],
    files: ["control.sock", "sluice0.NETNS.json"],
  };
}
