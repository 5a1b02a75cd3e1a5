/** What the kernel says about each uplink's interface, and what follows from it: usable or not, and why. */

import type { Config, UplinkConfig } from "./config-types.ts";
import { formatIpv4, parseIpv4 } from "./config-values.ts";
import { learnGateway } from "./default-gateway.ts";
import { type AddressRow, type DefaultRoute, hasIpv6, type LinkRow, listDefaultRoutes, listLinks } from "./iproute.ts";
import { describeIpv6, type Ipv6Snapshot, withoutIpv6 } from "./uplink-snapshot6.ts";

/** An uplink at one moment. Fields are null while unknown. */
export interface UplinkSnapshot {
  readonly name: string;
  readonly interface: string;
  readonly present: boolean;
  /** 0 while the interface is missing. A re-created interface has another one. */
  readonly ifindex: number;
  readonly adminUp: boolean;
  readonly carrier: boolean;
  readonly mtu: number;
  /** 14 on Ethernet, 0 on links without a MAC header (ppp, tun, ipip). */
  readonly linkHeaderBytes: number;
  readonly macAddress: string | null;
  readonly address: string | null;
  readonly prefixLength: number;
  /** The network that the address connects to, as "203.0.113.0/24"; null where the interface connects to no other host. */
  readonly network: string | null;
  /** Null on a point-to-point link. */
  readonly gateway: string | null;
  readonly gatewayMac: string | null;
  readonly state: "up" | "down";
  /** Why it is down; empty when up. */
  readonly reason: string;
  readonly ipv6: Ipv6Snapshot;
}

export interface SystemState {
  readonly links: readonly LinkRow[];
  readonly defaultRoutes: readonly DefaultRoute[];
  /** Those of IPv6. */
  readonly defaultRoutes6: readonly DefaultRoute[];
}

/** Reads what the snapshots follow from. Default routes are read only when a gateway must be learnt from them. */
export async function readSystem(config: Config): Promise<SystemState> {
  const learns = config.uplinks.some((uplink) => uplink.gateway === undefined);
  const learns6 = hasIpv6() && config.uplinks.some(({ ipv6 }) => ipv6 !== null && ipv6.gateway === undefined);
  const [links, defaultRoutes, defaultRoutes6] = await Promise.all([
    listLinks(),
    learns ? listDefaultRoutes("-4") : [],
    learns6 ? listDefaultRoutes("-6") : [],
  ]);
  return { links, defaultRoutes, defaultRoutes6 };
}

/** All uplinks as they are now, without their gateways' MAC addresses: the state before anything is set up. */
export async function readUplinks(config: Config): Promise<UplinkSnapshot[]> {
  const system = await readSystem(config);
  return config.uplinks.map((uplink) => describeUplink(uplink, system, null));
}

/**
 * One uplink without its gateway's MAC address, with the first reason that keeps it from sending.
 * `previous` is the snapshot before: it remembers a gateway whose default route the kernel removed
 * when the link went down, as long as the address stays.
 */
export function describeUplink(
  uplink: UplinkConfig,
  system: SystemState,
  previous: UplinkSnapshot | null,
): UplinkSnapshot {
  const link = findLink(uplink.interface, system.links, previous);
  if (link === undefined) return missing(uplink);
  const adminUp = link.flags.includes("UP");
  const carrier = adminUp && link.flags.includes("LOWER_UP") && !link.flags.includes("NO-CARRIER");
  const pointToPoint = link.flags.includes("POINTOPOINT") || link.link_type !== "ether";
  const row = chooseAddress(uplink, link.addr_info);
  const address = row?.local ?? null;
  const gateway = uplink.gateway ?? learnGateway(link.ifname, address, system.defaultRoutes, previous);
  const obstacle = linkObstacle(link.link_type, adminUp, carrier);
  const reason = obstacle || addressObstacle(uplink, address, gateway, pointToPoint);
  return {
    name: uplink.name,
    interface: link.ifname,
    present: true,
    ifindex: link.ifindex,
    adminUp,
    carrier,
    mtu: link.mtu,
    linkHeaderBytes: link.link_type === "ether" ? 14 : 0,
    macAddress: link.link_type === "ether" ? (link.address ?? null) : null,
    address,
    prefixLength: row?.prefixlen ?? 0,
    network: row === undefined ? null : networkOf(row),
    gateway,
    gatewayMac: null,
    state: reason === "" ? "up" : "down",
    reason,
    ipv6: describeIpv6(uplink, link, system.defaultRoutes6, obstacle, previous?.ipv6 ?? null),
  };
}

/** By its name; else what had it and has been renamed since. */
function findLink(name: string, links: readonly LinkRow[], previous: UplinkSnapshot | null): LinkRow | undefined {
  const named = links.find((row) => row.ifname === name);
  if (named !== undefined || previous === null || !previous.present) return named;
  return links.find((row) => row.ifindex === previous.ifindex);
}

/** Whether packets need the gateway's MAC address to leave. */
export function needsGatewayMac(snapshot: UplinkSnapshot): boolean {
  return snapshot.linkHeaderBytes > 0;
}

/** Link types whose frames are a bare IP packet, or an Ethernet header and one. */
const usableLinkTypes = new Set(["ether", "none", "ppp", "ipip", "gre", "rawip"]);

function linkObstacle(linkType: string, adminUp: boolean, carrier: boolean): string {
  if (!usableLinkTypes.has(linkType)) return `links of type ${linkType} are not supported`;
  if (!adminUp) return "administratively down";
  return carrier ? "" : "no carrier";
}

function addressObstacle(
  uplink: UplinkConfig,
  address: string | null,
  gateway: string | null,
  pointToPoint: boolean,
): string {
  if (address === null) {
    return uplink.address === undefined ? "no address" : `address ${uplink.address} is not on ${uplink.interface}`;
  }
  return gateway === null && !pointToPoint ? "no gateway" : "";
}

/** The configured address, if the interface has it; else the primary one: the first that is global and not secondary. */
function chooseAddress(uplink: UplinkConfig, rows: readonly AddressRow[]): AddressRow | undefined {
  const inet = rows.filter((row) => row.family === "inet");
  if (uplink.address !== undefined) return inet.find((row) => row.local === uplink.address);
  return inet.find((row) => row.scope === "global" && row.secondary !== true);
}

function networkOf(row: AddressRow): string | null {
  const peer = row.address ?? row.local;
  if (row.prefixlen === 32 && peer === row.local) return null;
  const blockSize = 2 ** (32 - row.prefixlen);
  return `${formatIpv4(Math.floor(parseIpv4(peer)! / blockSize) * blockSize)}/${row.prefixlen}`;
}

function missing(uplink: UplinkConfig): UplinkSnapshot {
  return {
    name: uplink.name,
    interface: uplink.interface,
    present: false,
    ifindex: 0,
    adminUp: false,
    carrier: false,
    mtu: 0,
    linkHeaderBytes: 0,
    macAddress: null,
    address: null,
    prefixLength: 0,
    network: null,
    gateway: uplink.gateway ?? null,
    gatewayMac: null,
    state: "down",
    reason: "interface missing",
    ipv6: withoutIpv6(uplink.ipv6 === null ? "left out by the configuration" : "interface missing"),
  };
}
