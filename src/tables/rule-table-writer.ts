/** Lays out a table of rules (rule-table.ts) from what each of them asks for. For the control plane: it takes its time and memory. */
import { type NamedDomain, writeDomainTable } from "./domain-table.ts";
import { blockWords, ruleHeader, ruleHeaderWords, signBit } from "./rule-table.ts";

/** From and to, both included: addresses as the integers that they are, or ports. */
export interface ValueRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** A null asks for nothing, an empty list for what is not there. */
export interface TableRule {
  readonly source: AddressRanges | null;
  /** With `domains`, either is enough; both null: any. */
  readonly destination: AddressRanges | null;
  /** Numbers of domains. */
  readonly domains: readonly number[] | null;
  readonly protocol: number | null;
  readonly sourcePort: readonly ValueRange[] | null;
  readonly destinationPort: readonly ValueRange[] | null;
  readonly dscp: readonly number[] | null;
  readonly group: number;
}

export interface AddressRanges {
  readonly ipv4: readonly ValueRange[];
  readonly ipv6: readonly ValueRange[];
}

const rulesPerBlock = blockWords * 32;

/** The table, for as many threads as want it. `names`: each domain's name and number; numbers count from 0. */
export function writeRuleTable(rules: readonly TableRule[], names: readonly NamedDomain[]): SharedArrayBuffer {
  const writer = new Writer(rules);
  const anyDestination = (rule: TableRule) => rule.destination === null && rule.domains === null;
  const { header } = writer;
  header(ruleHeader.rules, rules.length);
  header(ruleHeader.blocks, writer.blocks);
  header(ruleHeader.empty, writer.row([]));
  header(
    ruleHeader.source4,
    writer.intervals(1, ({ source }) => source?.ipv4 ?? null),
  );
  header(
    ruleHeader.source6,
    writer.intervals(4, ({ source }) => source?.ipv6 ?? null),
  );
  const destinations = (family: "ipv4" | "ipv6") => (rule: TableRule) =>
    anyDestination(rule) ? null : (rule.destination?.[family] ?? []);
  header(ruleHeader.destination4, writer.intervals(1, destinations("ipv4")));
  header(ruleHeader.destination6, writer.intervals(4, destinations("ipv6")));
  header(
    ruleHeader.sourcePort,
    writer.intervals(0, ({ sourcePort }) => sourcePort),
  );
  header(
    ruleHeader.destinationPort,
    writer.intervals(0, ({ destinationPort }) => destinationPort),
  );
  header(
    ruleHeader.noSourcePort,
    writer.rowWhere(({ sourcePort }) => sourcePort === null),
  );
  header(
    ruleHeader.noDestinationPort,
    writer.rowWhere(({ destinationPort }) => destinationPort === null),
  );
  header(
    ruleHeader.protocol,
    writer.values(256, ({ protocol }) => (protocol === null ? null : [protocol])),
  );
  header(
    ruleHeader.dscp,
    writer.values(64, ({ dscp }) => dscp),
  );
  const domains = names.reduce((most, { domain }) => Math.max(most, domain + 1), 0);
  header(
    ruleHeader.domain,
    writer.values(domains, (rule) => rule.domains ?? []),
  );
  header(ruleHeader.groups, writer.append(rules.map(({ group }) => group)));
  header(ruleHeader.names, names.length === 0 ? 0 : writer.append(writeDomainTable(names)));
  return writer.finish();
}

class Writer {
  readonly blocks: number;
  readonly #rules: readonly TableRule[];
  readonly #words: number[] = new Array<number>(blockWords + ruleHeaderWords).fill(0);
  readonly #blocksSeen = new Map<string, number>([[new Array(blockWords).fill(0).join(), 0]]);
  readonly #rowsSeen = new Map<string, number>();

  constructor(rules: readonly TableRule[]) {
    this.#rules = rules;
    this.blocks = Math.max(1, Math.ceil(rules.length / rulesPerBlock));
  }

  readonly header = (at: number, value: number): void => {
    this.#words[at] = value;
  };

  append(words: Iterable<number>): number {
    const at = this.#words.length;
    for (const word of words) this.#words.push(word);
    return at;
  }

  finish(): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(this.#words.length * 4);
    new Int32Array(buffer).set(this.#words);
    return buffer;
  }

  /** The place of the row with these rules. */
  row(rules: readonly number[]): number {
    const bits = new Int32Array(this.blocks * blockWords);
    for (const rule of rules) bits[rule >>> 5]! |= 1 << (rule & 31);
    return this.#rowOf(Array.from({ length: this.blocks }, (_, block) => this.#blockOf(bits, block)));
  }

  rowWhere(isIn: (rule: TableRule) => boolean): number {
    return this.row(this.#rules.flatMap((rule, number) => (isIn(rule) ? [number] : [])));
  }

  /** A row for each of so many values. */
  values(count: number, asked: (rule: TableRule) => readonly number[] | null): number {
    const askers = new Map<number, number[]>();
    for (const [number, rule] of this.#rules.entries())
      for (const value of asked(rule) ?? []) {
        const list = askers.get(value);
        if (list === undefined) askers.set(value, [number]);
        else list.push(number);
      }
    const others = this.#rules.flatMap((rule, number) => (asked(rule) === null ? [number] : []));
    const rest = this.row(others);
    const rows = Array.from({ length: count }, (_, value) => {
      const rules = askers.get(value);
      return rules === undefined ? rest : this.row([...others, ...rules]);
    });
    return this.append(rows);
  }

  /** A section of intervals: of addresses in so many words, or of ports for 0. */
  intervals(addressWords: number, asked: (rule: TableRule) => readonly ValueRange[] | null): number {
    const bits = new Int32Array(this.blocks * blockWords);
    const events: { at: bigint; rule: number }[] = [];
    for (const [number, rule] of this.#rules.entries()) {
      const ranges = asked(rule);
      if (ranges === null) flip(bits, number);
      else
        for (const { first, last } of merged(ranges))
          events.push({ at: first, rule: number }, { at: last + 1n, rule: number });
    }
    events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    const bounds: bigint[] = [];
    const rows: number[] = [];
    const blocks = Array.from({ length: this.blocks }, (_, block) => this.#blockOf(bits, block));
    const changed = new Set<number>();
    const begin = (at: bigint) => {
      for (const block of changed) blocks[block] = this.#blockOf(bits, block);
      changed.clear();
      const row = this.#rowOf(blocks);
      if (row === rows.at(-1)) return;
      bounds.push(at);
      rows.push(row);
    };
    let from = 0n;
    for (const { at, rule } of events) {
      if (at !== from) {
        begin(from);
        from = at;
      }
      flip(bits, rule);
      changed.add(Math.floor(rule / rulesPerBlock));
    }
    // Behind the last value there is nothing to begin.
    if (from < 1n << BigInt(addressWords === 0 ? 16 : addressWords * 32)) begin(from);
    return this.append([bounds.length, ...bounds.flatMap((bound) => wordsOf(bound, addressWords)), ...rows]);
  }

  #blockOf(bits: Int32Array, block: number): number {
    const words = bits.subarray(block * blockWords, (block + 1) * blockWords);
    const key = words.join();
    let at = this.#blocksSeen.get(key);
    if (at === undefined) {
      at = this.append(words);
      this.#blocksSeen.set(key, at);
    }
    return at;
  }

  #rowOf(blocks: readonly number[]): number {
    const key = blocks.join();
    let at = this.#rowsSeen.get(key);
    if (at === undefined) {
      at = this.append(blocks);
      this.#rowsSeen.set(key, at);
    }
    return at;
  }
}

function flip(bits: Int32Array, rule: number): void {
  bits[rule >>> 5]! ^= 1 << (rule & 31);
}

/** The same values in ranges that neither overlap nor touch, in order. */
export function merged(ranges: readonly ValueRange[]): ValueRange[] {
  const inOrder = [...ranges].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const kept: { first: bigint; last: bigint }[] = [];
  for (const { first, last } of inOrder) {
    const before = kept.at(-1);
    if (before !== undefined && first <= before.last + 1n) {
      if (last > before.last) before.last = last;
    } else kept.push({ first, last });
  }
  return kept;
}

/** A value as the table compares it: a port as it is, an address in words whose signed order is theirs. */
function wordsOf(value: bigint, addressWords: number): number[] {
  if (addressWords === 0) return [Number(value)];
  return Array.from({ length: addressWords }, (_, word) => {
    const shift = BigInt(32 * (addressWords - 1 - word));
    return Number(BigInt.asIntN(32, value >> shift)) ^ signBit;
  });
}
