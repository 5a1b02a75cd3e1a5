/**
 * Brings the configured traffic into the TUN and keeps it that way: the TUN's address and settings,
 * the rules and routes of steering-plan.ts, and the translator's ports out of the kernel's hands.
 *
 * All but the ports is reconciled rather than edited: every update compares what is wanted with what
 * the kernel has and makes up the difference. One path thus covers the start, a new address, a gateway
 * that moved, a TUN that somebody set down, and routes that the kernel took away with a link.
 *
 * What is wanted comes from a reading that may be over when it is applied: a link goes down, and the kernel refuses its
 * routes. So a failure counts when no newer reading has come a second later, and the same fails once more.
 */

import { existsSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { alone } from "./alone.ts";
import type { Config } from "./config-types.ts";
import {
  addRoute,
  addRule,
  type Family,
  families,
  ip,
  listLinks,
  listOwnRoutes,
  listOwnRules,
  type Rule,
  removeRoute,
  removeRule,
  routeArguments,
  ruleArguments,
  tableIsEmpty,
  usedByRules,
} from "./iproute.ts";
import type { Journal } from "./journal.ts";
import type { JournalEntry } from "./journal-file.ts";
import { planReservation, reservePorts } from "./reserved-ports.ts";
import {
  bypassPriority,
  forwardsIpv6,
  planRoutes,
  planRules,
  prioritiesPerSlot,
  type Slot,
  slotAt,
  slotCount,
  tablesPerSlot,
  tunAddress6,
} from "./steering-plan.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

/** Packets that may wait in the TUN for a worker that is busy for a moment; the kernel's default is 500. */
const queueLength = 2000;
const defaultMtuBytes = 1500;
/** Longer than the watch takes to notice a change and read it, on a busy machine too. */
const secondTryMs = 1000;
const pollMs = 20;

export interface Steering {
  /** Where the rules and tables are, for messages. */
  readonly slot: Slot;
  /** Follows the uplinks: call it after every change and now and then without one. Updates run one after the other. */
  update(config: Config, uplinks: readonly UplinkSnapshot[]): Promise<void>;
  /** Takes everything away again, for good: later updates do nothing. The TUN keeps its settings until it is closed. */
  undo(): Promise<void>;
}

/**
 * Sets up the TUN, which must exist, and steers traffic into it. On failure everything done so far is
 * undone and the error says which command failed.
 */
export async function applySteering(
  config: Config,
  uplinks: readonly UplinkSnapshot[],
  journal: Journal,
): Promise<Steering> {
  const slot = await findFreeSlot(await ifindexOf(config.tun.name), 1 + config.uplinks.length);
  const entries: JournalEntry[] = [];
  const note = (entry: JournalEntry) => {
    journal.record(entry);
    entries.push(entry);
  };
  let last: Promise<void> = Promise.resolve();
  let newest = 0;
  const inTurn = (task: () => Promise<void>) => {
    last = last.catch(() => {}).then(task);
    return last;
  };
  let undone = false;
  const steering: Steering = {
    slot,
    update: (wanted, current) => {
      const number = ++newest;
      // An uplink that changes while everything is undone must not bring it back.
      const isOver = () => undone || number !== newest;
      return inTurn(async () => {
        if (undone) return;
        try {
          await makeSo(wanted, current, slot);
        } catch {
          const secondTry = performance.now() + secondTryMs;
          while (!isOver() && performance.now() < secondTry) await sleep(pollMs);
          if (!isOver()) await makeSo(wanted, current, slot);
        }
      });
    },
    undo: () => {
      undone = true;
      return inTurn(() => journal.undo(entries));
    },
  };
  try {
    await alone(() => {
      const ports = planReservation(config.nat.firstPort, config.nat.lastPort, journal.otherReservations());
      note({ kind: "reservedPorts", ...ports });
      reservePorts(ports);
    });
    for (const entry of ruleAndRouteEntries(slot)) note(entry);
    await steering.update(config, uplinks);
  } catch (error) {
    await journal.undo(entries);
    throw error;
  }
  return steering;
}

/** Undone in reverse, rules first, so that no rule outlives its table's routes. */
function ruleAndRouteEntries({ firstPriority, firstTable }: Slot): JournalEntry[] {
  return [
    { kind: "routes", firstTable, lastTable: firstTable + tablesPerSlot - 1 },
    { kind: "rules", firstPriority, lastPriority: firstPriority + prioritiesPerSlot - 1 },
  ];
}

async function makeSo(config: Config, uplinks: readonly UplinkSnapshot[], slot: Slot): Promise<void> {
  if (!(await isTunSetUp(config, uplinks))) await setUpTun(config, uplinks);
  await reconcile(config, uplinks, slot);
}

/** Size, switches and addresses, and up. All of it goes when the TUN is closed. */
async function setUpTun(config: Config, uplinks: readonly UplinkSnapshot[]): Promise<void> {
  const { name, address, prefixLength } = config.tun;
  const size = ["mtu", String(tunMtu(uplinks)), "txqueuelen", String(queueLength)];
  // Before everything of IPv6, which the kernel forgets where the MTU is less than 1280.
  await ip("link", "set", "dev", name, ...size);
  setUpTun6(name, forwardsIpv6(uplinks));
  // Replies come from anywhere; the check of the inside's own interfaces is not touched.
  setOnTun("ipv4", name, "rp_filter", "2");
  setOnTun("ipv4", name, "forwarding", "1");
  // A hairpin comes back with an uplink's address as its source, which is this machine's own.
  setOnTun("ipv4", name, "accept_local", "1");
  await ip("addr", "replace", `${address}/${prefixLength}`, "dev", name);
  // Deprecated, so that nothing but the default route's `src` chooses it.
  if (forwardsIpv6(uplinks))
    await ip("addr", "replace", `${tunAddress6(config)}/128`, "dev", name, "preferred_lft", "0");
  // No multicast: the kernel's own group reports would only be dropped packets to count. Not earlier: without it a
  // device does not leave its groups.
  await ip("link", "set", "dev", name, "multicast", "off", "up");
}

function setUpTun6(name: string, isForwarded: boolean): void {
  // Or the kernel gives it a link-local address when it is up, and solicits routers through it.
  setOnTun("ipv6", name, "addr_gen_mode", "1");
  // A router is in groups that it would tell the TUN of. To be none costs nothing, since forwarding asks for
  // `all` only, and version 1 lets it leave without a word when it has not said one.
  setOnTun("ipv6", name, "force_mld_version", "1");
  setOnTun("ipv6", name, "forwarding", "0");
  setOnTun("ipv6", name, "disable_ipv6", isForwarded ? "0" : "1");
}

/** False also when somebody set it down, which takes its routes away, or removed its address. */
async function isTunSetUp(config: Config, uplinks: readonly UplinkSnapshot[]): Promise<boolean> {
  const { tun } = config;
  const link = (await listLinks()).find((row) => row.ifname === tun.name);
  if (link === undefined) throw new Error(`there is no interface ${tun.name} any more`);
  const hasAddress = link.addr_info.some((row) => row.local === tun.address && row.prefixlen === tun.prefixLength);
  const hasAddress6 = link.addr_info.some((row) => row.local === tunAddress6(config));
  return (
    hasAddress && (hasAddress6 || !forwardsIpv6(uplinks)) && link.mtu === tunMtu(uplinks) && link.flags.includes("UP")
  );
}

/** The largest of the uplinks': a packet that is too large for its uplink is answered with frag-needed by the data plane. */
function tunMtu(uplinks: readonly UplinkSnapshot[]): number {
  const known = uplinks.filter((uplink) => uplink.present).map((uplink) => uplink.mtu);
  return known.length === 0 ? defaultMtuBytes : Math.max(...known);
}

async function reconcile(config: Config, uplinks: readonly UplinkSnapshot[], slot: Slot): Promise<void> {
  await Promise.all(families().map((family) => reconcileFamily(config, uplinks, slot, family)));
}

async function reconcileFamily(
  config: Config,
  uplinks: readonly UplinkSnapshot[],
  slot: Slot,
  family: Family,
): Promise<void> {
  const { firstPriority, firstTable } = slot;
  const [rules, routes] = await Promise.all([
    listOwnRules(family, firstPriority, firstPriority + prioritiesPerSlot - 1),
    listOwnRoutes(family, firstTable, firstTable + tablesPerSlot - 1),
  ]);
  // Routes before rules, so that no rule leads to a table that is still to be filled.
  await makeUp(family, routes, planRoutes(config, uplinks, slot, family), routeArguments, addRoute, removeRoute);
  const wanted = planRules(config, uplinks, slot, family);
  const kept = await dropUnlessInOrder(family, rules, wanted, bypassPriority(slot));
  await makeUp(family, kept, wanted, ruleArguments, addRule, removeRule);
}

/** Of one priority the kernel's order is that of the making: when it is not the wanted one, all of them are made anew. Returns what stays. */
async function dropUnlessInOrder(
  family: Family,
  there: readonly Rule[],
  wanted: readonly Rule[],
  ordered: number,
): Promise<readonly Rule[]> {
  const keys = (rules: readonly Rule[]) =>
    JSON.stringify(rules.filter(({ priority }) => priority === ordered).map(ruleArguments));
  if (keys(there) === keys(wanted)) return there;
  for (const rule of there) if (rule.priority === ordered) await removeRule(family, rule);
  return there.filter(({ priority }) => priority !== ordered);
}

/**
 * Adds what is wanted and not there, then removes what is there and not wanted. In this order a route
 * that changes is replaced in one step, and traffic never meets a gap.
 */
async function makeUp<T>(
  family: Family,
  there: readonly T[],
  wanted: readonly T[],
  words: (row: T) => string[],
  add: (family: Family, row: T) => Promise<void>,
  remove: (family: Family, row: T) => Promise<void>,
): Promise<void> {
  const key = (row: T) => words(row).join(" ");
  const thereKeys = new Set(there.map(key));
  const wantedKeys = new Set(wanted.map(key));
  for (const row of wanted) if (!thereKeys.has(key(row))) await add(family, row);
  for (const row of there) if (!wantedKeys.has(key(row))) await remove(family, row);
}

/**
 * The first slot, counted from the TUN's ifindex, whose priorities and tables nobody uses. Starting
 * there keeps instances that start at the same moment from choosing the same slot: their TUNs have
 * different indices.
 */
async function findFreeSlot(ifindex: number, tablesNeeded: number): Promise<Slot> {
  const used = await usedByRules();
  for (let attempt = 0; attempt < slotCount; attempt++) {
    const slot = slotAt((ifindex + attempt) % slotCount);
    const { firstPriority, firstTable } = slot;
    const priorities = count(firstPriority, prioritiesPerSlot);
    const tables = count(firstTable, tablesNeeded);
    if (priorities.some((priority) => used.priorities.has(priority)) || tables.some((table) => used.tables.has(table)))
      continue;
    if ((await Promise.all(tables.map(tableIsEmpty))).every(Boolean)) return slot;
  }
  throw new Error(
    `no free priorities for rules: all of 20000 to ${20_000 + slotCount * prioritiesPerSlot - 1} are taken`,
  );
}

function count(first: number, howMany: number): number[] {
  return Array.from({ length: howMany }, (_, i) => first + i);
}

async function ifindexOf(device: string): Promise<number> {
  const link = (await listLinks()).find((row) => row.ifname === device);
  if (link === undefined) throw new Error(`there is no interface ${device} to steer traffic into`);
  return link.ifindex;
}

/** A switch of the TUN itself; one that the kernel does not have (IPv6 compiled out or disabled) needs no setting. */
function setOnTun(family: "ipv4" | "ipv6", device: string, name: string, value: string): void {
  const file = `/proc/sys/net/${family}/conf/${device}/${name}`;
  if (family === "ipv6" && !existsSync(file)) return;
  try {
    writeFileSync(file, value);
  } catch (error) {
    throw new Error(`cannot set net.${family}.conf.${device}.${name} to ${value}: ${(error as Error).message}`);
  }
}
