/** A look at the live flows: what `sluice flows` shows once the control plane has given them names. */
import { type AddressBook, isName } from "../tables/address-book.ts";
import { flowWord, flowWords, original } from "../tables/flow-table.ts";
import { formatAddress, protocolTcp } from "../wire/ipv4.ts";
import { formatAddress6 } from "../wire/ipv6.ts";
import type { Conntrack } from "./conntrack.ts";
import { tcpStateNames } from "./tcp-state.ts";

export interface ListedFlow {
  protocol: number;
  /** Addresses as text: a name is this worker's alone. */
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  uplink: number;
  mappedAddress: string;
  mappedPort: number;
  state: string;
  ageMs: number;
  idleMs: number;
  txBytes: number;
  rxBytes: number;
  txPackets: number;
  rxPackets: number;
}

/** A flow from the inside as it was opened. */
export interface FlowTuple {
  /** Words: one of IPv4, four of IPv6. */
  readonly source: readonly number[];
  readonly destination: readonly number[];
  /** As in a packet's row. */
  readonly ports: number;
  readonly protocol: number;
}

export interface FoundFlow {
  /** Null: there is none. */
  readonly flow: ListedFlow | null;
  /** The uplink that its source is mapped to, or -1: where its next flow would go. */
  readonly mappedUplink: number;
}

/** The flow of a tuple, if it is this worker's. */
export function findFlow(conntrack: Conntrack, tuple: FlowTuple, nowMs: number): FoundFlow {
  const { flows, names } = conntrack;
  const { ports, protocol } = tuple;
  const [source, destination] = [tuple.source, tuple.destination].map((words) =>
    words.length === 1 ? words[0]! : names.find(words[0]!, words[1]!, words[2]!, words[3]!),
  ) as [number, number];
  // Without a name it is in no flow and no mapping.
  if (source === 0) return { flow: null, mappedUplink: -1 };
  const id = flows.find(flows.hash(source, destination, ports, protocol), source, destination, ports, protocol);
  const isThere = destination !== 0 && id !== 0 && (id & 1) === original;
  return {
    flow: isThere ? describe(conntrack, id >>> 1, nowMs) : null,
    mappedUplink: conntrack.mappedUplink(source, ports, protocol),
  };
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
  const { flows, names } = conntrack;
  const { words, doubles } = flows;
  const row = flow * flowWords;
  const word = (which: number) => words[row + which]!;
  const address = (which: number) => addressText(names, word(which));
  const protocol = (word(flowWord.outside) >>> 8) & 0xff;
  const rxPackets = word(flowWord.rxPackets) >>> 0;
  return {
    protocol,
    source: address(flowWord.inside),
    sourcePort: word(flowWord.ports) >>> 16,
    destination: address(flowWord.remote),
    destinationPort: word(flowWord.ports) & 0xffff,
    uplink: word(flowWord.outside) & 0xff,
    mappedAddress: address(flowWord.mapped),
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

function addressText(names: AddressBook, address: number): string {
  if (!isName(address)) return formatAddress(address);
  return formatAddress6([0, 1, 2, 3].map((which) => names.word(address, which)));
}
