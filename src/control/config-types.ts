/** The configuration after parsing: every default filled in, every value checked. Addresses stay text, times are milliseconds. */

import type { Prefix6 } from "../tables/prefix6.ts";

export type BalanceKey = "five-tuple" | "source-destination" | "source" | "destination";
export type Policy = "weighted-hash" | "least-busy" | "lowest-latency" | "failover";
export type Mapping = "endpoint-independent" | "address-and-port-dependent";
export type Filtering = "address-and-port-dependent" | "address-dependent" | "endpoint-independent";

/** Addresses in canonical form, as the system writes them. */
export interface UplinkIpv6Config {
  /** Absent: the interface's primary global address. */
  address?: string;
  /** Absent: that of the interface's own default route. */
  gateway?: string;
  /** Absent: all share the uplink's address. */
  prefix?: Prefix6;
}

export interface UplinkConfig {
  name: string;
  interface: string;
  /** Absent: the interface's own default route; none on a point-to-point link. */
  gateway?: string;
  /** Absent: the interface's primary address, followed when it changes. */
  address?: string;
  /** Null: no IPv6 here. */
  ipv6: UplinkIpv6Config | null;
  weight: number;
  tier: number;
}

export interface Timeouts {
  tcpEstablishedMs: number;
  tcpTransitoryMs: number;
  udpMs: number;
  icmpMs: number;
  /** Protocols without ports. */
  otherMs: number;
}

/** A port, or as many in a row, of some uplinks that leads to a host inside, or to this machine by one of its inside addresses. */
export interface ForwardConfig {
  /** Names. */
  uplinks: string[];
  protocols: ("tcp" | "udp")[];
  firstPort: number;
  lastPort: number;
  /** IPv4, or IPv6 in canonical form without brackets. */
  to: string;
  /** The port there of `firstPort`; the others follow. */
  toPort: number;
}

export interface Config {
  /** The file it came from, for messages. */
  file: string;
  tun: { name: string; address: string; prefixLength: number };
  steer: { interfaces: string[]; local: boolean };
  uplinks: UplinkConfig[];
  balance: { key: BalanceKey; policy: Policy };
  nat: {
    firstPort: number;
    lastPort: number;
    mapping: Mapping;
    filtering: Filtering;
    /** Absent: no uplink has a prefix. */
    insidePrefix?: Prefix6;
    timeouts: Timeouts;
  };
  forwards: ForwardConfig[];
  limits: { flows: number; flowsPerHost: number };
  /** `auto` is already resolved: one per core, at most 8. */
  workers: number;
  io: "shim" | "packages";
  failMode: "open" | "closed";
  log: { level: "trace" | "debug" | "info" | "warn" | "error" | "silent" };
  control: { socket: string };
}
