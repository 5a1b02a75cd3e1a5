/**
 * Which destinations are meant by the domain names of rules: known from the DNS answers that pass through, before whoever asked has
 * them. The name that was asked for decides; if no rule has it, the first of the names that it is an alias of.
 *
 * An address is remembered for as long as the answer holds; of several names that share one, the last asked for counts.
 */
import { packetWord } from "../tables/batch.ts";
import { DomainTable } from "../tables/domain-table.ts";
import { ruleHeader } from "../tables/rule-table.ts";
import { classInternet, DnsName, dns, dnsPort, dnsRecord, dnsType, isAnswer, questionBytes } from "../wire/dns.ts";
import { addressHash, addressHash6 } from "./classify.ts";
import { kind } from "./decode-layer4.ts";
import type { FlowMemory } from "./flow-memory.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import { flowFlag } from "./flow-state.ts";

/** Records of one answer that are looked at. */
const mostRecords = 64;
/** Programs keep addresses somewhat longer than they should, and connect a moment after they have asked. */
const leastSeconds = 60;
const mostSeconds = 86_400;

export interface DomainsOptions {
  memory: FlowMemory;
  policy: FlowPolicy;
  /** The secret of the hashes that choose an uplink. */
  balanceKey0: number;
  balanceKey1: number;
}

export class Domains {
  readonly #memory: FlowMemory;
  readonly #key0: number;
  readonly #key1: number;
  readonly #name = new DnsName();
  #table: DomainTable | null;

  constructor({ memory, policy, balanceKey0, balanceKey1 }: DomainsOptions) {
    this.#memory = memory;
    this.#key0 = balanceKey0;
    this.#key1 = balanceKey1;
    this.#table = tableOf(policy);
  }

  /** Goes by the rules of another policy from now on. */
  follow(policy: FlowPolicy): void {
    this.#table = tableOf(policy);
  }

  /** Whether any rule has a domain. */
  get areWanted(): boolean {
    return this.#table !== null;
  }

  /**
   * Listens to a packet from outside of a flow over UDP, if it is an answer of DNS. `state`: the flow's word. Where the remote began, nobody
   * has asked: or whoever reaches a forwarded port could choose what rules take for whose address.
   */
  hear(rows: Int32Array, p: number, view: DataView, state: number, nowMs: number): void {
    if (rows[p + packetWord.ports]! >>> 16 !== dnsPort || rows[p + packetWord.kind] !== kind.flow) return;
    if ((state & flowFlag.openedByRemote) !== 0) return;
    const end = rows[p + packetWord.at]! + rows[p + packetWord.length]!;
    this.learn(view, rows[p + packetWord.l4End]!, end, Math.floor(nowMs / 1000));
  }

  /** Takes note of what a DNS message, from `at` to `end`, says. */
  learn(view: DataView, at: number, end: number, nowS: number): void {
    const table = this.#table;
    if (table === null || !isAnswer(view, at, end)) return;
    let place = this.#name.read(view, at, end, at + dns.records);
    if (place < 0) return;
    let domain = this.#numberOf(table);
    place += questionBytes;
    if (domain < 0) domain = this.#aliasIn(table, view, at, end, place);
    if (domain >= 0) this.#takeAddresses(view, at, end, place, domain, nowS);
  }

  /** The number of the first alias that a rule has, or -1. */
  #aliasIn(table: DomainTable, view: DataView, at: number, end: number, first: number): number {
    let place = first;
    for (let left = recordsOf(view, at); left > 0; left--) {
      const record = this.#recordAt(view, at, end, place);
      if (record < 0) return -1;
      const data = record + dnsRecord.data;
      place = data + view.getUint16(record + dnsRecord.length);
      if (view.getUint16(record + dnsRecord.type) !== dnsType.cname) continue;
      if (this.#name.read(view, at, place, data) < 0) return -1;
      const domain = this.#numberOf(table);
      if (domain >= 0) return domain;
    }
    return -1;
  }

  #takeAddresses(view: DataView, at: number, end: number, first: number, domain: number, nowS: number): void {
    let place = first;
    for (let left = recordsOf(view, at); left > 0; left--) {
      const record = this.#recordAt(view, at, end, place);
      if (record < 0) return;
      const data = record + dnsRecord.data;
      const bytes = view.getUint16(record + dnsRecord.length);
      place = data + bytes;
      if (view.getUint16(record + dnsRecord.class) !== classInternet) continue;
      const type = view.getUint16(record + dnsRecord.type);
      if ((type !== dnsType.a || bytes !== 4) && (type !== dnsType.aaaa || bytes !== 16)) continue;
      const hash = type === dnsType.a ? this.#hash(view, data) : this.#hash6(view, data);
      const ttl = view.getUint32(record + dnsRecord.ttl);
      this.#memory.domains.set(hash, domain, nowS + Math.min(Math.max(ttl, leastSeconds), mostSeconds));
    }
  }

  /** Where the fixed part of a record is, behind its name; -1 when it does not end within the message. */
  #recordAt(view: DataView, at: number, end: number, place: number): number {
    const record = this.#name.read(view, at, end, place);
    if (record < 0 || record + dnsRecord.data > end) return -1;
    return record + dnsRecord.data + view.getUint16(record + dnsRecord.length) > end ? -1 : record;
  }

  #numberOf(table: DomainTable): number {
    const { bytes, length, labels, count } = this.#name;
    return table.find(bytes, length, labels, count);
  }

  #hash(view: DataView, at: number): number {
    return addressHash(this.#key0, this.#key1, view.getInt32(at));
  }

  #hash6(view: DataView, at: number): number {
    const word1 = view.getInt32(at + 4);
    const word2 = view.getInt32(at + 8);
    return addressHash6(this.#key0, this.#key1, view.getInt32(at), word1, word2, view.getInt32(at + 12));
  }
}

function recordsOf(view: DataView, at: number): number {
  return Math.min(view.getUint16(at + dns.answers), mostRecords);
}

function tableOf({ rules }: FlowPolicy): DomainTable | null {
  if (rules === null) return null;
  const at = new Int32Array(rules)[ruleHeader.names]!;
  return at === 0 ? null : new DomainTable(rules, at);
}
