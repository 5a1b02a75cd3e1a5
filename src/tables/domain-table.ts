/**
 * Domain names with a number each, in shared memory: which of them a name lies under. A name is as DNS has it on the wire (RFC 1035,
 * section 3.1), in lower case: labels with their lengths before them, here without the empty one at the end.
 *
 * An open hash over the wire form; a name is looked up by each of its ends. Words: [slots less one, then of each slot the place
 * of its name's first byte less the place of the table (0: free), its length, its number], then the names' bytes.
 */

export interface NamedDomain {
  /** Lower case, without a dot at the end. */
  readonly name: string;
  readonly domain: number;
}

const slotWords = 3;
const fnvBasis = 0x811c_9dc5 | 0;
const fnvPrime = 0x0100_0193;

/** The words of the table. Half of its slots stay free. */
export function writeDomainTable(domains: readonly NamedDomain[]): Int32Array {
  const slots = 2 ** Math.ceil(Math.log2(domains.length * 2 + 1));
  const names = domains.map(({ name }) => wireName(name));
  const firstByte = (1 + slots * slotWords) * 4;
  const bytes = names.reduce((sum, name) => sum + name.length, 0);
  const words = new Int32Array(1 + slots * slotWords + Math.ceil(bytes / 4));
  const text = new Uint8Array(words.buffer);
  words[0] = slots - 1;
  let at = firstByte;
  for (const [i, name] of names.entries()) {
    text.set(name, at);
    let slot = hashOf(name) & (slots - 1);
    while (words[1 + slot * slotWords] !== 0) slot = (slot + 1) & (slots - 1);
    words.set([at, name.length, domains[i]!.domain], 1 + slot * slotWords);
    at += name.length;
  }
  return words;
}

export class DomainTable {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  /** `at`: the table's first word in the buffer. */
  constructor(buffer: SharedArrayBuffer, at: number) {
    this.#words = new Int32Array(buffer, at * 4);
    this.#bytes = new Uint8Array(buffer, at * 4);
  }

  /** The number of the longest domain that a name is or lies under, or -1. `labels`: where each of its labels begins. */
  find(name: Uint8Array, length: number, labels: Uint8Array, count: number): number {
    let hash = fnvBasis;
    let end = length;
    let found = -1;
    for (let label = count - 1; label >= 0; label--) {
      const begin = labels[label]!;
      for (let at = end - 1; at >= begin; at--) hash = Math.imul(hash ^ name[at]!, fnvPrime);
      end = begin;
      const domain = this.#lookUp(hash, name, begin, length);
      if (domain >= 0) found = domain;
    }
    return found;
  }

  #lookUp(hash: number, name: Uint8Array, begin: number, end: number): number {
    const words = this.#words;
    const mask = words[0]!;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = 1 + slot * slotWords;
      const at = words[entry]!;
      if (at === 0) return -1;
      if (words[entry + 1] === end - begin && this.#isAt(at, name, begin, end)) return words[entry + 2]!;
    }
  }

  #isAt(at: number, name: Uint8Array, begin: number, end: number): boolean {
    const bytes = this.#bytes;
    for (let i = begin; i < end; i++) if (bytes[at + i - begin] !== name[i]) return false;
    return true;
  }
}

/** From the last byte to the first, so that the hashes of all ends of a name come in one go. */
function hashOf(name: Uint8Array): number {
  let hash = fnvBasis;
  for (let at = name.length - 1; at >= 0; at--) hash = Math.imul(hash ^ name[at]!, fnvPrime);
  return hash;
}

function wireName(name: string): Uint8Array {
  return Uint8Array.from(name.split(".").flatMap((label) => [label.length, ...[...label].map((c) => c.charCodeAt(0))]));
}
