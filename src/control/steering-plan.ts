/**
 * The rules and routes that bring traffic into the TUN, as plain rows: what is wanted for a given
 * state of the uplinks. Nothing here touches the system.
 *
 * Rules in their order, in a band of priorities below `main`; the kernel takes the first that finds a
 * route. T is the steering table, T1, T2, ... are the uplinks' own.
 *
 *     1  from ADDRESS1 iif lo   T1, but not its default     sent from an uplink's address: the uplinks' networks
 *     2                         main, but not its default   where main knows a way, it is taken
 *     3  iif TUN                blackhole                   from the TUN, and main knows no way inside
 *     4  from ADDRESS1 iif lo   T1                          sent from an uplink's address: everything else
 *     5  oif WAN1               T1                          sent by a socket that is bound to an uplink's interface
 *     6  WHAT IS BYPASSED       on with 10                  left to the kernel, in the order of the configured rules
 *        WHAT IS NOT            T                           where an earlier rule uses an uplink for some of that
 *     7  iif LAN                T                           steered
 *     8  iif lo                 T                           steered, the machine's own (local: true)
 *        from TO iif lo         T                           else only what answers at a forward's inside address
 *    10                         nothing                     only there to go on from, where something is bypassed
 *
 * Why 1 comes before 2 and is not merely 4: a service on ADDRESS1 that answers a host on the LAN must
 * find the LAN in main, so main's networks come before T1's default. But main also has the *other*
 * uplinks' networks, and a packet from ADDRESS1 must not leave there: T1 has them by way of its own
 * gateway, and 1 looks there first. It also keeps two uplinks apart that have the same network.
 *
 * `iif lo` means "sent by this machine". The kernel's reverse-path check of a reply that enters by the
 * TUN asks these rules too, as a packet that goes the other way: from the LAN, or from this machine
 * (fib_validate_source in net/ipv4/fib_frontend.c). Rules 7 and 8 answer it, so replies pass also when
 * main has no default route.
 *
 * Rule 3 stands for "nothing leaves untranslated": what the translator hands back is for the inside,
 * and if main has lost the way there, its default would send it out of an uplink.
 *
 * IPv6 has the same rules, priorities and tables, as long as some uplink has an address: a machine without IPv6
 * uplinks keeps its IPv6 as it is, unless `failMode: closed` wants nothing to leave by itself. What is between neighbours (multicast, link-local) is never steered. The TUN has an
 * address of its own there too, a deprecated one, which only its default route gives to the machine's own
 * connections: the kernel would choose an uplink's address, and rule 4 would send them out untranslated.
 *
 * The rest is built so that a killed process leaves ordinary routing: T's default leaves with the
 * TUN, and a rule on a table without a route falls through to main. T throws multicast and the
 * limited broadcast back to main, as they mean the local network. `failMode: closed` adds a default
 * of last resort that does not leave with the TUN.
 */

import { planBypass } from "./bypass-plan.ts";
import type { Config } from "./config-types.ts";
import { canonical6 } from "./config-values.ts";
import { type Family, familyOf, mainTable, type Route, type Rule } from "./iproute.ts";
import { liesWithin } from "./network-ranges.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

/** The priorities and tables of one instance; several instances take different slots. */
export interface Slot {
  /** Rule 1; the others follow. */
  readonly firstPriority: number;
  /** T; the uplinks' own tables follow. */
  readonly firstTable: number;
}

export const prioritiesPerSlot = 10;
export const tablesPerSlot = 17;
export const slotCount = 1000;

export function slotAt(index: number): Slot {
  return {
    firstPriority: 20_000 + index * prioritiesPerSlot,
    firstTable: 8300 + index * tablesPerSlot,
  };
}

/** Whether IPv6 is to go through the TUN. */
export function forwardsIpv6(uplinks: readonly UplinkSnapshot[]): boolean {
  return uplinks.some(({ ipv6 }) => ipv6.address !== null);
}

/** Whether there are rules and routes for a family at all. */
function concerns(
  { failMode, uplinks: configured }: Config,
  uplinks: readonly UplinkSnapshot[],
  family: Family,
): boolean {
  if (family === "-4" || forwardsIpv6(uplinks)) return true;
  return failMode === "closed" && configured.some(({ ipv6 }) => ipv6 !== null);
}

/** The TUN's IPv6 address: unique local, and another one for every TUN's IPv4 address. */
export function tunAddress6({ tun }: Config): string {
  return canonical6(`fd73:6c75:6963:65::${tun.address}`);
}

export function planRules(config: Config, uplinks: readonly UplinkSnapshot[], slot: Slot, family: Family): Rule[] {
  if (!concerns(config, uplinks, family)) return [];
  const at = (number: number) => slot.firstPriority + number - 1;
  const steered = { table: slot.firstTable };
  const rules: Rule[] = [];
  uplinks.forEach((uplink, index) => {
    if (uplink.interface === "") return;
    const table = slot.firstTable + 1 + index;
    rules.push({ priority: at(5), oif: uplink.interface, action: { table } });
    const { address } = pathOf(uplink, family);
    if (address === null) return;
    rules.push({ priority: at(1), from: address, iif: "lo", action: { table, suppressPrefixLength: 0 } });
    rules.push({ priority: at(4), from: address, iif: "lo", action: { table } });
  });
  rules.push({ priority: at(2), action: { table: mainTable, suppressPrefixLength: 0 } });
  rules.push({ priority: at(3), iif: config.tun.name, action: "blackhole" });
  for (const lan of config.steer.interfaces) rules.push({ priority: at(7), iif: lan, action: steered });
  if (config.steer.local) rules.push({ priority: at(8), iif: "lo", action: steered });
  else
    for (const from of forwardTargets(config, family))
      rules.push({ priority: at(8), from, iif: "lo", action: steered });
  rules.push(...bypassRules(config, slot, family));
  return rules.sort((a, b) => a.priority - b.priority);
}

/** Where the rules are whose order counts: the file's, which is that of their making. */
export function bypassPriority({ firstPriority }: Slot): number {
  return firstPriority + 5;
}

/** What is left to the kernel, and what earlier rules take from that. */
function bypassRules(config: Config, slot: Slot, family: Family): Rule[] {
  const { rules } = planBypass(config, family);
  if (rules.length === 0) return [];
  const end = slot.firstPriority + prioritiesPerSlot - 1;
  const priority = bypassPriority(slot);
  const wanted = rules.map(({ isBypass, protocol, ...selector }): Rule => {
    const action = isBypass ? { goto: end } : { table: slot.firstTable };
    return { priority, ...selector, ...(protocol !== undefined && { ipProtocol: protocol }), action };
  });
  return [...wanted, { priority: end, action: "nop" }];
}

/** Where forwards lead. Of those only this machine's own addresses ever match `iif lo`. */
function forwardTargets(config: Config, family: Family): string[] {
  return [...new Set(config.forwards.map(({ to }) => to).filter((to) => familyOf(to) === family))];
}

/** What an uplink has of one family. */
interface Path {
  readonly address: string | null;
  readonly gateway: string | null;
  readonly network: string | null;
  readonly reason: string;
}

function pathOf(uplink: UplinkSnapshot, family: Family): Path {
  return family === "-4" ? uplink : uplink.ipv6;
}

/** What means the neighbourhood, in each family: multicast, and limited broadcast or link-local. */
const neighbourhood = { "-4": ["224.0.0.0/4", "255.255.255.255"], "-6": ["fe80::/10", "ff00::/8"] };

export function planRoutes(config: Config, uplinks: readonly UplinkSnapshot[], slot: Slot, family: Family): Route[] {
  if (!concerns(config, uplinks, family)) return [];
  const table = slot.firstTable;
  const source = family === "-4" ? config.tun.address : tunAddress6(config);
  const isForwarded = family === "-4" || forwardsIpv6(uplinks);
  return [
    ...[...neighbourhood[family], ...planBypass(config, family).thrown].map(
      (destination) => ({ table, type: "throw", destination }) as const,
    ),
    ...(config.failMode === "closed"
      ? [{ table, type: "unreachable", destination: "default", metric: 4_294_967_295 } as const]
      : []),
    ...(isForwarded
      ? [{ table, type: "unicast", destination: "default", device: config.tun.name, source } as const]
      : []),
    ...uplinks.flatMap((uplink, index) => uplinkRoutes(uplink, uplinks, table + 1 + index, family)),
  ];
}

/** An uplink's own table; empty while the kernel would refuse its routes. */
function uplinkRoutes(
  uplink: UplinkSnapshot,
  uplinks: readonly UplinkSnapshot[],
  table: number,
  family: Family,
): Route[] {
  const { address, gateway, network, reason } = pathOf(uplink, family);
  if (!uplink.present || !uplink.adminUp || address === null) return [];
  if (gateway === null && reason === "no gateway") return [];
  const direct = { table, type: "unicast", device: uplink.interface, source: address } as const;
  const onward = gateway === null ? direct : { ...direct, gateway };
  return [
    ...(network === null ? [] : [{ ...direct, destination: network }]),
    ...otherNetworks(network, uplinks, family).map((destination) => ({ ...onward, destination })),
    { ...onward, destination: "default" },
  ];
}

/** Networks of the other uplinks, without those that lie within this one's own. */
function otherNetworks(own: string | null, uplinks: readonly UplinkSnapshot[], family: Family): string[] {
  const networks = new Set(uplinks.map((other) => pathOf(other, family).network).filter((network) => network !== null));
  return [...networks].filter((network) => own === null || !liesWithin(network, own));
}
