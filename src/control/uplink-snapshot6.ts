/** An uplink's IPv6 at one moment: its address, its way out, and whether it can be used. */

import type { Prefix6 } from "../tables/prefix6.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import type { UplinkConfig } from "./config-types.ts";
import { contains6, formatPrefix6, network6 } from "./config-values.ts";
import { learnGateway } from "./default-gateway.ts";
import type { AddressRow, DefaultRoute, LinkRow } from "./iproute.ts";

/** Fields are null while unknown. */
export interface Ipv6Snapshot {
  readonly address: string | null;
  /** The network that the address connects to, as "2001:db8:1::/64"; null where that is no other host. */
  readonly network: string | null;
  /** Null on a point-to-point link. */
  readonly gateway: string | null;
  readonly gatewayMac: string | null;
  /** As configured; null: none. */
  readonly prefix: Prefix6 | null;
  readonly state: "up" | "down";
  /** Why it is down; empty when up. */
  readonly reason: string;
}

const unknown = { address: null, network: null, gateway: null, gatewayMac: null, prefix: null, state: "down" } as const;

/** Without the interface, or where the configuration wants no IPv6. */
export function withoutIpv6(reason: string): Ipv6Snapshot {
  return { ...unknown, reason };
}

/**
 * Without its gateway's MAC address. `obstacle` is what keeps the link from sending, whatever the family; `previous`
 * remembers a gateway whose default route is gone for the moment, and which of several equal addresses was taken.
 */
export function describeIpv6(
  { ipv6 }: UplinkConfig,
  link: LinkRow,
  defaultRoutes: readonly DefaultRoute[],
  obstacle: string,
  previous: Ipv6Snapshot | null,
): Ipv6Snapshot {
  if (ipv6 === null) return withoutIpv6("left out by the configuration");
  const row = chooseAddress(ipv6.address, link.addr_info, previous?.address ?? null);
  const address = row?.local ?? null;
  const gateway = ipv6.gateway ?? learnGateway(link.ifname, address, defaultRoutes, previous);
  const pointToPoint = link.flags.includes("POINTOPOINT") || link.link_type !== "ether";
  const prefix = ipv6.prefix ?? null;
  const reason = obstacle || firstObstacle(ipv6.address, link.ifname, address, gateway, pointToPoint, prefix);
  return {
    address,
    network: row === undefined ? null : networkOf(row),
    gateway,
    gatewayMac: null,
    prefix,
    state: reason === "" ? "up" : "down",
    reason,
  };
}

function firstObstacle(
  wanted: string | undefined,
  device: string,
  address: string | null,
  gateway: string | null,
  pointToPoint: boolean,
  prefix: Prefix6 | null,
): string {
  if (address === null) return wanted === undefined ? "no address" : `address ${wanted} is not on ${device}`;
  if (gateway === null && !pointToPoint) return "no gateway";
  // A host inside would be given that very address.
  if (prefix !== null && contains6(prefix, parseAddress6(address)!))
    return `address ${address} lies in the prefix ${formatPrefix6(prefix)}`;
  return "";
}

/**
 * The configured address, if the interface has it; else a global one that stays: not a privacy address
 * (RFC 8981), rather not a deprecated or unique local one, and of equal ones the one that was taken before.
 * One that is still being checked for duplicates is not there yet.
 */
function chooseAddress(
  wanted: string | undefined,
  rows: readonly AddressRow[],
  before: string | null,
): AddressRow | undefined {
  const usable = rows.filter((row) => row.family === "inet6" && !row.tentative && !row.dadfailed);
  if (wanted !== undefined) return usable.find((row) => row.local === wanted);
  const cost = (row: AddressRow) =>
    (row.deprecated ? 4 : 0) + (/^f[cd]/.test(row.local) ? 2 : 0) + (row.local === before ? 0 : 1);
  return usable.filter((row) => row.scope === "global" && !row.temporary).sort((a, b) => cost(a) - cost(b))[0];
}

function networkOf(row: AddressRow): string | null {
  if (row.prefixlen === 128) return null;
  return formatPrefix6(network6({ words: parseAddress6(row.local)!, length: row.prefixlen }));
}
