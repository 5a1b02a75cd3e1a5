/** The shapes that `status --json` and `flows --json` print, and the control socket serves. */

export type UplinkState = "up" | "down" | "draining" | "disabled";

export interface UplinkReport {
  name: string;
  interface: string;
  address: string | null;
  gateway: string | null;
  weight: number;
  tier: number;
  state: UplinkState;
  /** Up, but worse than it should be: the probe's `degraded` thresholds. */
  degraded: boolean;
  /** Why it is in that state, degraded, or of another weight than the file's, in words: "no carrier", "no address". Empty when all is well. */
  reason: string;
  /** Share of the new connections that no rule concerns, 0 to 1: what the policy makes of weights, tiers, caps and load at the moment. */
  targetRatio: number;
  /** Address, gateway and state above are IPv4's. `address` is null as long as the interface has none. */
  ipv6: { address: string | null; gateway: string | null; state: "up" | "down"; reason: string };
  /** What the probes have measured; null without any. */
  rttMs: number | null;
  lossRatio: number | null;
  jitterMs: number | null;
  flows: number;
  /** Of the flows those whose connection is not over. */
  openFlows: number;
  txBytes: number;
  rxBytes: number;
  txPackets: number;
  rxPackets: number;
}

export interface StatusReport {
  version: string;
  uptimeSeconds: number;
  workers: number;
  io: string;
  uplinks: UplinkReport[];
  flows: { active: number; tcp: number; udp: number; icmp: number; other: number; opened: number };
  /** Only reasons that have occurred. */
  drops: Record<string, number>;
}

export interface FlowReport {
  protocol: string;
  source: string;
  /** Port, or echo identifier for ICMP. */
  sourcePort: number;
  destination: string;
  destinationPort: number;
  uplink: string;
  mappedAddress: string;
  mappedPort: number;
  state: string;
  ageSeconds: number;
  idleSeconds: number;
  txBytes: number;
  rxBytes: number;
  txPackets: number;
  rxPackets: number;
}

/** What `reload` did: with problems, nothing. */
export interface ReloadReport {
  /** Sentences; none: the file says what it said before. */
  changed: string[];
  /** As `sluice check` prints them. */
  problems: string[];
}

/** A flow to explain. `protocol`: a name such as tcp, or a number as text. */
export type ExplainQuery = ExplainReport["flow"];

/** What `explain` tells of a flow that exists or would be opened. Names of uplinks, groups and rules are the configuration's. */
export interface ExplainReport {
  flow: {
    protocol: string;
    source: string;
    /** Null: not given. */
    sourcePort: number | null;
    destination: string;
    destinationPort: number | null;
  };
  /** The flow, where it exists: it keeps its uplink, and the rest says what it would get if it were opened now. Null: it does not. */
  existing: FlowReport | null;
  /** The first rule that matches: `number` counts from 0, as in `rules[3]` of check; null: none does. */
  rule: { number: number; text: string; strict: boolean; bypass: boolean } | null;
  /** Number 0: the balance over all. */
  group: { number: number; name: string };
  /** What the hash is made of, as balance.key has it. */
  key: string;
  /** Eight hexadecimal digits, of which the last four are the place in the lookup table; null: something of it was not given. */
  hash: string | null;
  policy: string;
  candidates: ExplainCandidate[];
  /** What has the say; none: there is no uplink. */
  decidedBy: "flow" | "bypass" | "mapping" | "sticky" | "nearest" | "table" | "none";
  /** Null: none, or left to the kernel, or it depends on what was not given. */
  uplink: string | null;
  /** A sentence. */
  why: string;
  /** What depends on what was not given, and what else is worth knowing; sentences. */
  notes: string[];
}

export interface ExplainCandidate {
  name: string;
  state: UplinkState;
  reason: string;
  /** In this group; 0: not in it. */
  weight: number;
  /** Of the group's lookup table, 0 to 1. */
  shareRatio: number;
  /** Whether a host, a source or a destination that has it already may keep it. */
  mayKeep: boolean;
}
