/**
 * Which rule a new flow matches first, out of thousands, in about a microsecond, in memory that all threads share.
 *
 * Theory of operation. For each thing that rules ask about (source, destination, protocol, ports, DSCP) the values fall into
 * intervals within which all rules agree; each interval has a row of bits, one a rule. A flow's rows are found by binary search
 * or directly, and the first bit that is set in all of them is the rule (bit vectors: Lakshman and Stiliadis, SIGCOMM 1998). A
 * destination known by name has a row more, which is united with its address's.
 *
 * Rows are kept as blocks of 256 rules, equal ones once: neighbouring intervals differ in a block or two, and most blocks are
 * empty, so that a search passes them by (as in Baboescu and Varghese's aggregated bit vectors, SIGCOMM 2001).
 *
 * Worst case: whatever the rules are, a search reads the block numbers of seven rows and the blocks that no row has
 * empty: for 10,000 rules 40 of 8 words in each, some 2,500 reads. Prefixes only lengthen the binary search, by the logarithm.
 * A trie or lists of candidates would be smaller still, but many wide rules that differ in their ports would make them walk thousands.
 */

/** Words of a block, of 32 rules each. Block 0, at the very beginning, is the empty one. */
export const blockWords = 8;

/** Where what stands, in words of the buffer; each value is the place of a section or row, but for the numbers of things. */
export const ruleHeader = {
  rules: blockWords,
  blocks: blockWords + 1,
  /** Sections of intervals: their number, their first values in order, their rows. Of IPv6 a value is four words. */
  source4: blockWords + 2,
  source6: blockWords + 3,
  destination4: blockWords + 4,
  destination6: blockWords + 5,
  sourcePort: blockWords + 6,
  destinationPort: blockWords + 7,
  /** Rows of those who have no ports. */
  noSourcePort: blockWords + 8,
  noDestinationPort: blockWords + 9,
  /** A row for every value. */
  protocol: blockWords + 10,
  dscp: blockWords + 11,
  domain: blockWords + 12,
  /** The row without a rule. */
  empty: blockWords + 13,
  /** A group for every rule. */
  groups: blockWords + 14,
  /** As domain-table.ts lays it out; 0: no rule asks for a domain. */
  names: blockWords + 15,
} as const;
export const ruleHeaderWords = 16;

/** Turns the order of unsigned words into that of signed ones. */
export const signBit = 0x8000_0000 | 0;

export class RuleTable {
  readonly #words: Int32Array;
  /** Rows of the flow that was asked for last. */
  #source = 0;
  #destination = 0;
  #domain = 0;
  #protocol = 0;
  #sourcePort = 0;
  #destinationPort = 0;
  #dscp = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  get hasDomains(): boolean {
    return this.#words[ruleHeader.names] !== 0;
  }

  get rules(): number {
    return this.#words[ruleHeader.rules]!;
  }

  /** The number of the group that a rule sends its flows to. */
  group(rule: number): number {
    return this.#words[this.#words[ruleHeader.groups]! + rule]!;
  }

  /**
   * The first rule that an IPv4 flow matches, or -1. `domain`: the number of its destination's name, or -1; ports: -1 where there are none.
   */
  match(
    source: number,
    destination: number,
    domain: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    dscp: number,
  ): number {
    const words = this.#words;
    this.#source = this.#rowOf(words[ruleHeader.source4]!, source ^ signBit);
    this.#destination = this.#rowOf(words[ruleHeader.destination4]!, destination ^ signBit);
    this.#locate(domain, protocol, sourcePort, destinationPort, dscp);
    return this.#first();
  }

  /** `match` for IPv6: the addresses stand in `view`. */
  match6(
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    domain: number,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    dscp: number,
  ): number {
    const words = this.#words;
    this.#source = this.#rowOf6(words[ruleHeader.source6]!, view, sourceAt);
    this.#destination = this.#rowOf6(words[ruleHeader.destination6]!, view, destinationAt);
    this.#locate(domain, protocol, sourcePort, destinationPort, dscp);
    return this.#first();
  }

  /** The next rule after this one that the flow asked for last matches too, or -1. Slow: for those who look at the rules themselves. */
  nextMatch(after: number): number {
    for (let rule = after + 1; rule < this.rules; rule++) {
      const isWanted = this.#has(this.#destination, rule) || this.#has(this.#domain, rule);
      const others = [this.#source, this.#protocol, this.#sourcePort, this.#destinationPort, this.#dscp];
      if (isWanted && others.every((row) => this.#has(row, rule))) return rule;
    }
    return -1;
  }

  #locate(domain: number, protocol: number, sourcePort: number, destinationPort: number, dscp: number): void {
    const words = this.#words;
    this.#domain = domain < 0 ? words[ruleHeader.empty]! : words[words[ruleHeader.domain]! + domain]!;
    this.#protocol = words[words[ruleHeader.protocol]! + protocol]!;
    this.#dscp = words[words[ruleHeader.dscp]! + dscp]!;
    this.#sourcePort =
      sourcePort < 0 ? words[ruleHeader.noSourcePort]! : this.#rowOf(words[ruleHeader.sourcePort]!, sourcePort);
    this.#destinationPort =
      destinationPort < 0
        ? words[ruleHeader.noDestinationPort]!
        : this.#rowOf(words[ruleHeader.destinationPort]!, destinationPort);
  }

  /** The first bit that all rows have. */
  #first(): number {
    const words = this.#words;
    const source = this.#source;
    const destination = this.#destination;
    const domain = this.#domain;
    const protocol = this.#protocol;
    const sourcePort = this.#sourcePort;
    const destinationPort = this.#destinationPort;
    const dscp = this.#dscp;
    const blocks = words[ruleHeader.blocks]!;
    for (let block = 0; block < blocks; block++) {
      const a = words[source + block]!;
      const b = words[destination + block]!;
      const c = words[domain + block]!;
      if (a === 0 || (b | c) === 0) continue;
      const d = words[destinationPort + block]!;
      const e = words[sourcePort + block]!;
      const f = words[protocol + block]!;
      const g = words[dscp + block]!;
      if (d === 0 || e === 0 || f === 0 || g === 0) continue;
      for (let word = 0; word < blockWords; word++) {
        const addresses = words[a + word]! & (words[b + word]! | words[c + word]!);
        const bits = addresses & words[d + word]! & words[e + word]! & words[f + word]! & words[g + word]!;
        if (bits !== 0) return (block * blockWords + word) * 32 + 31 - Math.clz32(bits & -bits);
      }
    }
    return -1;
  }

  #has(row: number, rule: number): boolean {
    const block = this.#words[row + Math.floor(rule / (blockWords * 32))]!;
    return ((this.#words[block + ((rule >>> 5) & (blockWords - 1))]! >>> (rule & 31)) & 1) === 1;
  }

  /** The row of the last interval that does not begin behind the value. The first begins at the least value. */
  #rowOf(section: number, value: number): number {
    const words = this.#words;
    const count = words[section]!;
    let low = section + 1;
    let high = low + count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (words[middle]! <= value) low = middle;
      else high = middle;
    }
    return words[low + count]!;
  }

  #rowOf6(section: number, view: DataView, at: number): number {
    const words = this.#words;
    const count = words[section]!;
    const first = section + 1;
    const word0 = view.getInt32(at) ^ signBit;
    const word1 = view.getInt32(at + 4) ^ signBit;
    const word2 = view.getInt32(at + 8) ^ signBit;
    const word3 = view.getInt32(at + 12) ^ signBit;
    let low = 0;
    let high = count;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      const bound = first + middle * 4;
      let order = words[bound]! - word0;
      if (order === 0) order = words[bound + 1]! - word1;
      if (order === 0) order = words[bound + 2]! - word2;
      if (order === 0) order = words[bound + 3]! - word3;
      if (order <= 0) low = middle;
      else high = middle;
    }
    return words[first + count * 4 + low]!;
  }
}
