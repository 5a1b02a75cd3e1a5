/** A look at the live flows, as numbers: what `sluice flows` shows once the control plane has given them names. */
import { flowWord, flowWords } from "../tables/flow-table.ts";
import { protocolTcp } from "../wire/ipv4.ts";
import type { Conntrack } from "./conntrack.ts";
import { tcpStateNames } from "./tcp-state.ts";

export interface ListedFlow {
  protocol: number;
  source: number;
  sourcePort: number;
  destination: number;
  destinationPort: number;
  uplink: number;
  mappedAddress: number;
  mappedPort: number;
  state: string;
  ageMs: number;
  idleMs: number;
  txBytes: number;
  rxBytes: number;
  txPackets: number;
  rxPackets: number;
}

/** At most `limit` open flows, of one uplink or of all (-1), in the order of their rows. */
export function listFlows(conntrack: Conntrack, uplink: number, limit: number, nowMs: number): ListedFlow[] {
  const { flows } = conntrack;
  const listed: ListedFlow[] = [];
  for (let flow = 1; flow < flows.end && listed.length < limit; flow++) {
    if (!flows.isOpen(flow)) continue;
    const described = describe(conntrack, flow, nowMs);
    if (uplink < 0 || described.uplink === uplink) listed.push(described);
  }
  return listed;
}

function describe(conntrack: Conntrack, flow: number, nowMs: number): ListedFlow {
  const { flows } = conntrack;
  const { words, doubles } = flows;
  const row = flow * flowWords;
  const word = (which: number) => words[row + which]!;
  const protocol = (word(flowWord.outside) >>> 8) & 0xff;
  const rxPackets = word(flowWord.rxPackets) >>> 0;
  return {
    protocol,
    source: word(flowWord.inside),
    sourcePort: word(flowWord.ports) >>> 16,
    destination: word(flowWord.remote),
    destinationPort: word(flowWord.ports) & 0xffff,
    uplink: word(flowWord.outside) & 0xff,
    mappedAddress: word(flowWord.mapped),
    mappedPort: word(flowWord.outside) >>> 16,
    state: protocol === protocolTcp ? tcpStateNames[conntrack.state(flow)]! : rxPackets === 0 ? "unreplied" : "replied",
    ageMs: ((nowMs | 0) - word(flowWord.opened)) >>> 0,
    idleMs: ((nowMs | 0) - word(flowWord.lastSeen)) >>> 0,
    txBytes: doubles[(row + flowWord.txBytes) >>> 1]!,
    rxBytes: doubles[(row + flowWord.rxBytes) >>> 1]!,
    txPackets: word(flowWord.txPackets) >>> 0,
    rxPackets,
  };
}
