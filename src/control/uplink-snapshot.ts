/** What the kernel says about each uplink's interface, and what follows from it: usable or not, and why. */

import type { Config, UplinkConfig } from "./config-types.ts";
import { formatIpv4, parseIpv4 } from "./config-values.ts";
import {
  type AddressRow,
  type DefaultRoute,
  type LinkRow,
  listDefaultRoutes,
  listLinks,
  mainTable,
} from "./iproute.ts";

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
}

export interface SystemState {
  readonly links: readonly LinkRow[];
  readonly defaultRoutes: readonly DefaultRoute[];
}

/** Reads what the snapshots follow from. Default routes are read only when a gateway must be learnt from them. */
export async function readSystem(config: Config): Promise<SystemState> {
  const learns = config.uplinks.some((uplink) => uplink.gateway === undefined);
  const [links, defaultRoutes] = await Promise.all([listLinks(), learns ? listDefaultRoutes() : []]);
  return { links, defaultRoutes };
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
  const link = system.links.find((row) => row.ifname === uplink.interface);
  if (link === undefined) return missing(uplink);
  const adminUp = link.flags.includes("UP");
  const carrier = adminUp && link.flags.includes("LOWER_UP") && !link.flags.includes("NO-CARRIER");
  const pointToPoint = link.flags.includes("POINTOPOINT") || link.link_type !== "ether";
  const row = chooseAddress(uplink, link.addr_info);
  const address = row?.local ?? null;
  const gateway = uplink.gateway ?? learnGateway(link, address, system.defaultRoutes, previous);
  const facts = { adminUp, carrier, linkType: link.link_type, row, address, gateway, pointToPoint };
  const reason = firstObstacle(uplink, facts);
  return {
    name: uplink.name,
    interface: uplink.interface,
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
  };
}

/** Whether packets need the gateway's MAC address to leave. */
export function needsGatewayMac(snapshot: UplinkSnapshot): boolean {
  return snapshot.linkHeaderBytes > 0;
}

interface Facts {
  adminUp: boolean;
  carrier: boolean;
  linkType: string;
  address: string | null;
  gateway: string | null;
  pointToPoint: boolean;
}

/** Link types whose frames are a bare IP packet, or an Ethernet header and one. */
const usableLinkTypes = new Set(["ether", "none", "ppp", "ipip", "gre", "rawip"]);

function firstObstacle(uplink: UplinkConfig, facts: Facts): string {
  if (!usableLinkTypes.has(facts.linkType)) return `links of type ${facts.linkType} are not supported`;
  if (!facts.adminUp) return "administratively down";
  if (!facts.carrier) return "no carrier";
  if (facts.address === null) {
    return uplink.address === undefined ? "no address" : `address ${uplink.address} is not on ${uplink.interface}`;
  }
  if (facts.gateway === null && !facts.pointToPoint) return "no gateway";
  return "";
}

/** The configured address, if the interface has it; else the primary one: the first that is global and not secondary. */
function chooseAddress(uplink: UplinkConfig, rows: readonly AddressRow[]): AddressRow | undefined {
  const inet = rows.filter((row) => row.family === "inet");
  if (uplink.address !== undefined) return inet.find((row) => row.local === uplink.address);
  return inet.find((row) => row.scope === "global" && row.secondary !== true);
}

/** The gateway of the interface's own default route, in the main table by preference, then by metric. */
function learnGateway(
  link: LinkRow,
  address: string | null,
  routes: readonly DefaultRoute[],
  previous: UplinkSnapshot | null,
): string | null {
  const own = routes.filter((route) => route.device === link.ifname && route.gateway !== null);
  const order = (route: DefaultRoute) => (route.table === mainTable ? 0 : 2 ** 32) + route.metric;
  const best = own.sort((a, b) => order(a) - order(b))[0];
  if (best !== undefined) return best.gateway;
  return previous !== null && previous.address === address ? previous.gateway : null;
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
  };
}
