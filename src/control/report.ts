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
  /** Why it is in that state, in words: "carrier", "no address", "interface missing". Empty when up. */
  reason: string;
  /** Address, gateway and state above are IPv4's. `address` is null as long as the interface has none. */
  ipv6: { address: string | null; gateway: string | null; state: "up" | "down"; reason: string };
  rttMs: number | null;
  lossRatio: number | null;
  flows: number;
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
