/**
 * Rules, routes and links of the kernel, by way of `ip -json`.
 *
 * Everything that sluice adds carries its own protocol number, so that listing and removing never
 * touch what somebody else set. Rules and routes are compared and removed as plain rows: what is
 * wanted and what is there have the same shape, hence the difference is a set difference.
 */

import { existsSync } from "node:fs";
import { CommandError, run, runJson } from "./command.ts";
import { protocol, type Rule, type RuleRow, ruleArguments, toRule } from "./ip-rule.ts";

export { protocol, type Rule, ruleArguments } from "./ip-rule.ts";

export interface Route {
  readonly table: number;
  readonly type: "unicast" | "throw" | "unreachable";
  /** "default", an address, or address/length. */
  readonly destination: string;
  readonly gateway?: string;
  readonly device?: string;
  readonly source?: string;
  readonly metric?: number;
}

export const mainTable = 254;

/** As `ip` wants it to be named. */
export type Family = "-4" | "-6";

/** Whether this kernel speaks IPv6 at all; what it has switched off is another question. */
export function hasIpv6(): boolean {
  return existsSync("/proc/net/if_inet6");
}

export function familyOf(address: string): Family {
  return address.includes(":") ? "-6" : "-4";
}

/** A row of `ip -json -details addr`. */
export interface LinkRow {
  ifindex: number;
  ifname: string;
  flags: string[];
  mtu: number;
  link_type: string;
  /** MAC address on Ethernet. */
  address?: string;
  addr_info: AddressRow[];
}

export interface AddressRow {
  family: string;
  local: string;
  /** The far end of a point-to-point link. */
  address?: string;
  prefixlen: number;
  scope: string;
  secondary?: boolean;
  /** Of IPv6. */
  tentative?: boolean;
  dadfailed?: boolean;
  deprecated?: boolean;
  temporary?: boolean;
}

/** A default route out of a device; of a multipath route, each hop counts as one. */
export interface DefaultRoute {
  device: string;
  gateway: string | null;
  table: number;
  metric: number;
}

/** Where the kernel sends something: out of these devices, or to itself. */
export interface Reachable {
  /** "default", an address, or address/length. */
  readonly destination: string;
  readonly devices: readonly string[];
  readonly isLocal: boolean;
}

interface RouteRow {
  type?: string;
  dst: string;
  gateway?: string;
  dev?: string;
  table?: string;
  protocol?: string;
  prefsrc?: string;
  metric?: number;
  nexthops?: { gateway?: string; dev?: string }[];
}

/** rtnetlink.h: what `ip -N` prints for a route's type and a rule's action. */
const typeNames: Record<string, Route["type"]> = { "7": "unreachable", "9": "throw" };
const localType = "2";

export async function ip(...args: string[]): Promise<void> {
  await run("ip", args);
}

/** Rules with sluice's protocol number within the priorities. */
export async function listOwnRules(family: Family, firstPriority: number, lastPriority: number): Promise<Rule[]> {
  const rows = await ruleRows(family);
  return rows
    .filter((row) => row.protocol === String(protocol) && row.priority >= firstPriority && row.priority <= lastPriority)
    .map(toRule);
}

/** The priorities that have a rule, whoever set it and of whatever family, and the tables that rules refer to. */
export async function usedByRules(): Promise<{ priorities: Set<number>; tables: Set<number> }> {
  const rows = (await Promise.all(families().map(ruleRows))).flat();
  return {
    priorities: new Set(rows.map((row) => row.priority)),
    tables: new Set(rows.map((row) => Number(row.table))),
  };
}

export async function addRule(family: Family, rule: Rule): Promise<void> {
  await ip(family, "rule", "add", ...ruleArguments(rule));
}

export async function removeRule(family: Family, rule: Rule): Promise<void> {
  await unlessGone(ip(family, "rule", "del", ...ruleArguments(rule)));
}

/** Removes sluice's rules within the priorities, of both families; none there is fine. */
export async function removeOwnRules(firstPriority: number, lastPriority: number): Promise<void> {
  const remove = async (family: Family) => {
    for (const rule of await listOwnRules(family, firstPriority, lastPriority)) await removeRule(family, rule);
  };
  await Promise.all(families().map(remove));
}

/** Routes with sluice's protocol number within the tables. */
export async function listOwnRoutes(family: Family, firstTable: number, lastTable: number): Promise<Route[]> {
  const rows = await runJson<RouteRow[]>(
    "ip",
    [family, "-N", "-json", "route", "show", "table", "all", "protocol", String(protocol)],
    [],
  );
  return rows
    .map((row) => toRoute(family, row))
    .filter((route) => route.table >= firstTable && route.table <= lastTable);
}

export async function addRoute(family: Family, route: Route): Promise<void> {
  await ip(family, "route", "replace", ...routeArguments(route));
}

export async function removeRoute(family: Family, route: Route): Promise<void> {
  await unlessGone(ip(family, "route", "del", ...routeArguments(route)));
}

/** Removes sluice's routes within the tables, of both families; none there is fine. */
export async function removeOwnRoutes(firstTable: number, lastTable: number): Promise<void> {
  const remove = async (family: Family) => {
    for (const route of await listOwnRoutes(family, firstTable, lastTable)) await removeRoute(family, route);
  };
  await Promise.all(families().map(remove));
}

/** Whether a table holds no route of anybody, of either family. */
export async function tableIsEmpty(table: number): Promise<boolean> {
  return (await Promise.all(families().map((family) => isEmpty(family, table)))).every(Boolean);
}

async function isEmpty(family: Family, table: number): Promise<boolean> {
  try {
    return (await run("ip", [family, "route", "show", "table", String(table)])).trim() === "";
  } catch (error) {
    if (error instanceof Error && error.message.includes("FIB table does not exist")) return true;
    throw error;
  }
}

/** Default routes that others set, in every table. */
export async function listDefaultRoutes(family: Family): Promise<DefaultRoute[]> {
  const rows = await runJson<RouteRow[]>("ip", [family, "-N", "-json", "route", "show", "default", "table", "all"], []);
  const unicast = rows.filter(
    (row) => row.protocol !== String(protocol) && row.type === undefined && row.dst === "default",
  );
  return unicast.flatMap((row) =>
    (row.nexthops ?? [row]).flatMap((hop) =>
      hop.dev === undefined
        ? []
        : [
            {
              device: hop.dev,
              gateway: hop.gateway ?? null,
              table: Number(row.table ?? mainTable),
              metric: row.metric ?? 0,
            },
          ],
    ),
  );
}

/** Every unicast and local route of every table; unreachable ones and the like lead nowhere. */
export async function listReachable(family: Family): Promise<Reachable[]> {
  const rows = await runJson<RouteRow[]>("ip", [family, "-N", "-json", "route", "show", "table", "all"], []);
  return rows
    .filter(({ type }) => type === undefined || type === localType)
    .map(({ dst, type, dev, nexthops }) => ({
      destination: dst,
      devices: (nexthops ?? [{ dev }]).flatMap((hop) => (hop.dev === undefined ? [] : [hop.dev])),
      isLocal: type === localType,
    }));
}

/** Every link with its addresses. */
export function listLinks(): Promise<LinkRow[]> {
  return runJson<LinkRow[]>("ip", ["-json", "-details", "addr", "show"], []);
}

/** In the words of `ip route`; the same route gives the same words. */
export function routeArguments(route: Route): string[] {
  return [
    ...[route.type, route.destination, "table", String(route.table), "protocol", String(protocol)],
    // onlink: a gateway outside of the interface's own network (a /32 from the provider) is fine too.
    ...(route.gateway === undefined ? [] : ["via", route.gateway, "onlink"]),
    ...(route.device === undefined ? [] : ["dev", route.device]),
    ...(route.source === undefined ? [] : ["src", route.source]),
    ...(route.metric === undefined ? [] : ["metric", String(route.metric)]),
  ];
}

/** The kernel takes routes away with their device at any moment: gone before we came is as good as removed. */
async function unlessGone(removal: Promise<void>): Promise<void> {
  try {
    await removal;
  } catch (error) {
    if (!(error instanceof CommandError && /No such (process|file or directory)|Cannot find device/.test(error.stderr)))
      throw error;
  }
}

/** Those that the kernel speaks. */
export function families(): Family[] {
  return hasIpv6() ? ["-4", "-6"] : ["-4"];
}

function ruleRows(family: Family): Promise<RuleRow[]> {
  return runJson<RuleRow[]>("ip", [family, "-N", "-json", "rule", "show"], []);
}

/** What a route of IPv6 gets when it names none (IP6_RT_PRIO_USER). */
const usualMetric6 = 1024;

function toRoute(family: Family, row: RouteRow): Route {
  const isUsual = row.metric === undefined || (family === "-6" && row.metric === usualMetric6);
  return {
    table: Number(row.table ?? mainTable),
    type: row.type === undefined ? "unicast" : (typeNames[row.type] ?? "unicast"),
    destination: row.dst,
    ...(row.gateway === undefined ? {} : { gateway: row.gateway }),
    // IPv6 shows loopback where a route has no device.
    ...(row.dev === undefined || row.dev === "lo" ? {} : { device: row.dev }),
    ...(row.prefsrc === undefined ? {} : { source: row.prefsrc }),
    ...(isUsual ? {} : { metric: row.metric! }),
  };
}
