/** The configuration after parsing: every default filled in, every value checked. Addresses stay text, times are milliseconds. */

import type { Prefix6 } from "../tables/prefix6.ts";
import type { PortRange } from "./config-values.ts";

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

/** What makes a line bad. Null: that does not matter. */
export interface Thresholds {
  lossRatio: number | null;
  latencyMs: number | null;
  jitterMs: number | null;
}

export type ProbeType = "icmp" | "arp" | "tcp" | "http" | "dns";

export interface ProbeConfig extends Thresholds {
  type: ProbeType;
  /** Empty: the gateway. icmp, arp and dns: addresses; tcp: ADDRESS:PORT; http: URLs. */
  targets: string[];
  /** How many targets must answer for a round to count as answered. */
  quorum: number;
  intervalMs: number;
  timeoutMs: number;
  /** Successive rounds without an answer until down, and with one until up. */
  down: number;
  up: number;
  /** Rounds that loss, latency and jitter are reckoned over. */
  window: number;
  degraded: Thresholds;
  /** What a dns probe asks for. */
  query: string;
}

export type Failback = "keep" | "drain" | "reset";

/** Bits a second. */
export interface Rate {
  upBps: number;
  downBps: number;
}

/** Both ways together; afterwards the weight counts, 0: no new flows. */
export interface CapConfig {
  bytes: number;
  firstDay: number;
  weight: number;
}

/** Minutes since midnight; a window that ends before it begins ends on the next day. */
export interface ScheduleWindow {
  /** Days on which it begins, Sunday is 0. */
  days: number[];
  fromMinute: number;
  toMinute: number;
  weight: number;
}

export interface UplinkConfig {
  name: string;
  interface: string;
  /** Its place in the file, from 0: of equal ones the first comes first. */
  order: number;
  /** Absent: the interface's own default route; none on a point-to-point link. */
  gateway?: string;
  /** Absent: the interface's primary address, followed when it changes. */
  address?: string;
  /** Null: no IPv6 here. */
  ipv6: UplinkIpv6Config | null;
  weight: number;
  tier: number;
  /** Null: no probes. */
  probe: ProbeConfig | null;
  /** Whether the traffic tells that the line is dead. */
  passive: boolean;
  holdDownMs: number;
  /** How long its flows are kept when it dies until they are reset: 0 at once, infinite never. */
  resetAfterMs: number;
  failback: Failback;
  /** Null: learnt. */
  rate: Rate | null;
  cap: CapConfig | null;
  schedule: ScheduleWindow[];
}

/** A set of uplinks that rules may use, with weights of its own. */
export interface GroupConfig {
  name: string;
  uplinks: { name: string; weight: number }[];
}

/** Empty lists match everything; what is given must all match. */
export interface RuleMatch {
  /** Networks of both families: ADDRESS or ADDRESS/LENGTH. */
  source: string[];
  destination: string[];
  /** Lower case, without a dot at the end. With `destination`: either matches. */
  domain: string[];
  /** Null: any. icmp means that of both families. */
  protocol: "tcp" | "udp" | "icmp" | "gre" | "esp" | "sctp" | null;
  sourcePort: PortRange[];
  destinationPort: PortRange[];
  interface: string[];
  dscp: number[];
}

export interface RuleConfig {
  match: RuleMatch;
  /** Names of uplinks, or of one group; empty with `bypass`. */
  use: string[];
  strict: boolean;
  bypass: boolean;
}

/** Programs by event. */
export interface HooksConfig {
  up?: string;
  down?: string;
  degraded?: string;
  address?: string;
  timeoutMs: number;
}

export interface BalanceConfig {
  key: BalanceKey;
  policy: Policy;
  /** Null: not sticky. */
  sticky: { by: "source" | "source-destination"; timeoutMs: number } | null;
  rescue: boolean;
  /** Share of a tier's rate above which the next tier joins; null: never. */
  overflowRatio: number | null;
  /** lowest-latency: share of flows that explore. */
  exploreRatio: number;
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
  balance: BalanceConfig;
  groups: GroupConfig[];
  rules: RuleConfig[];
  hooks: HooksConfig;
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
  control: { socket: string; stateDirectory: string };
}
