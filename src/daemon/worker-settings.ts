/**
 * What the devices and the workers are told: the configuration turned into numbers, masks and secrets.
 */
import { randomBytes } from "node:crypto";
import type { Config, ForwardConfig } from "../control/config-types.ts";
import { isIpv6 } from "../control/config-values.ts";
import type { LinkRow } from "../control/iproute.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import { filtering } from "../dataplane/conntrack.ts";
import type { FlowPolicy } from "../dataplane/flow-policy.ts";
import type { SocketOptions } from "../io/packet-socket.ts";
import type { Forward } from "../tables/forwards.ts";
import { mailboxBytes } from "../tables/mailbox.ts";
import { ethernetBytes } from "../tables/packet-memory.ts";
import type { SharedState } from "../tables/shared-state.ts";
import { parseAddress, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import type { WorkerStart } from "../worker-protocol.ts";

const filterings = {
  "address-and-port-dependent": filtering.addressAndPort,
  "address-dependent": filtering.address,
  "endpoint-independent": filtering.endpointIndependent,
};

/** What all workers have in common. */
export interface CommonStart {
  shared: SharedState;
  /** Of `FlowMemory`. */
  memory: SharedArrayBuffer;
  secret: WorkerStart["secret"];
  policy: FlowPolicy;
}

/** Descriptors by worker, sockets by place and worker. */
export interface WorkerDevices {
  uplinks: readonly UplinkSnapshot[];
  tunFds: readonly number[];
  socketFds: readonly (readonly number[])[];
  lans: readonly { readonly fds: readonly number[]; readonly linkHeaderBytes: number }[];
  eventFds: number[];
}

/** Keys the hashes of all tables, and of the choice of uplinks. */
export function newSecret(): WorkerStart["secret"] {
  const words = new Int32Array(new Uint8Array(randomBytes(16)).buffer);
  return [words[0]!, words[1]!, words[2]!, words[3]!];
}

/** One start for each worker. */
export function workerStarts(
  config: Config,
  { shared, memory, secret, policy }: CommonStart,
  { uplinks, tunFds, socketFds, lans, eventFds }: WorkerDevices,
): WorkerStart[] {
  const { workers, limits, nat } = config;
  const mailboxes = workers === 1 ? null : new SharedArrayBuffer(workers * workers * mailboxBytes);
  return tunFds.map((tunFd, worker) => ({
    worker,
    workers,
    shared: shared.buffer,
    mailboxes,
    tunFd,
    eventFds,
    lans: lans.map(({ fds, linkHeaderBytes }) => ({ fd: fds[worker]!, linkHeaderBytes })),
    uplinks: uplinks.map((uplink, place) => ({
      fd: socketFds[place]![worker]!,
      linkHeaderBytes: headerBytes(uplink),
    })),
    flows: Math.ceil(limits.flows / workers),
    flowsPerHost: Math.ceil(limits.flowsPerHost / workers),
    ...portRange(config),
    endpointIndependent: nat.mapping === "endpoint-independent",
    filtering: filterings[nat.filtering],
    forwards: allForwards(config),
    timeouts: nat.timeouts,
    policy,
    memory,
    timeOrigin: performance.timeOrigin,
    secret,
    errorSource: errorSource(config),
    insidePrefix: nat.insidePrefix ?? null,
  }));
}

/**
 * The address that our own ICMP errors come from: the TUN's other host. The TUN's own address would
 * be refused as spoofed when it comes in from outside the kernel. A /32 has no other host; then
 * 192.0.0.8 says "a router without an address" (RFC 7600).
 */
function errorSource({ tun }: Config): number {
  if (tun.prefixLength === 32) return parseAddress("192.0.0.8")!;
  const own = parseAddress(tun.address)!;
  if (tun.prefixLength === 31) return own ^ 1;
  const hostMask = -1 >>> tun.prefixLength;
  const next = own + 1;
  return (next & hostMask) === hostMask ? own - 1 : next;
}

/** How to open the sockets of a LAN, on which packets for the uplinks' own addresses are met. */
export function lanSocketOptions(config: Config, lan: LinkRow, uplinks: readonly UplinkSnapshot[]): SocketOptions {
  const addresses = uplinks.flatMap(({ address }) => (address === null ? [] : [parseAddress(address)!]));
  const addresses6 = uplinks.flatMap(({ ipv6 }) => (ipv6.address === null ? [] : [parseAddress6(ipv6.address)!]));
  return {
    interface: lan.ifname,
    ifindex: lan.ifindex,
    linkHeaderBytes: lan.link_type === "ether" ? 14 : 0,
    workers: config.workers,
    forwards: allForwards(config),
    ...portRange(config),
    destinations: addresses,
    destinations6: addresses6,
  };
}

/** Of the frames that the workers' loops are laid out for. Where no interface is yet, Ethernet's: it is the usual one. */
export function headerBytes({ present, linkHeaderBytes }: UplinkSnapshot): number {
  return present ? linkHeaderBytes : ethernetBytes;
}

/** How to open an uplink's sockets. */
export function socketOptions(config: Config, uplink: UplinkSnapshot): SocketOptions {
  const { interface: device, ifindex, linkHeaderBytes, ipv6 } = uplink;
  const index = config.uplinks.findIndex(({ name }) => name === uplink.name);
  const forwards = allForwards(config).filter(({ uplinks }) => ((uplinks >>> index) & 1) === 1);
  return {
    interface: device,
    ifindex,
    linkHeaderBytes,
    workers: config.workers,
    forwards,
    ...portRange(config),
    destinations: null,
    ...(ipv6.prefix !== null && { prefix6: ipv6.prefix }),
  };
}

function allForwards(config: Config): Forward[] {
  return config.forwards.flatMap((forward) => toForwards(config, forward));
}

/** One for each protocol. */
function toForwards(config: Config, forward: ForwardConfig): Forward[] {
  const { protocols, firstPort, lastPort, to, toPort } = forward;
  const mask = config.uplinks.reduce(
    (bits, { name }, i) => (forward.uplinks.includes(name) ? bits | (1 << i) : bits),
    0,
  );
  return protocols.map((protocol) => ({
    uplinks: mask,
    protocol: protocol === "tcp" ? protocolTcp : protocolUdp,
    firstPort,
    lastPort,
    ...(isIpv6(to) ? { to: 0, to6: parseAddress6(to)! } : { to: parseAddress(to)! }),
    toPort,
  }));
}

function portRange({ nat }: Config): { firstPort: number; lastPort: number } {
  return { firstPort: nat.firstPort, lastPort: nat.lastPort };
}
