/**
 * Short names for long addresses, so that every table of this worker holds an IPv6 address in one word.
 *
 * A name is 0xe0000000 or more: no unicast IPv4 address, so that both kinds stand side by side in the
 * same tables and a name tells its family. Names are counted references: a flow holds its three
 * addresses, an uplink its own, and a name is free again when nobody holds it. They mean something to this worker
 * alone and never leave it: workers hand each other packets.
 *
 * Bounded by `capacity`; the index is keyed, so that nobody outside can aim at one of its slots.
 */
import { hashWords } from "./hash.ts";
import { HashIndex } from "./hash-index.ts";

const firstName = 0xe000_0000 | 0;
const wordsPerAddress = 4;

/** Whether this is the name of an IPv6 address, and not an IPv4 address. */
export function isName(address: number): boolean {
  return address >>> 29 === 7;
}

export class AddressBook {
  readonly #capacity: number;
  /** Four words an entry; of a free entry the first links to the next free one. */
  readonly #words: Int32Array;
  readonly #references: Int32Array;
  readonly #index: HashIndex;
  readonly #key0: number;
  readonly #key1: number;
  readonly #hashOf: (entry: number) => number;
  #freeHead = 0;
  #fresh = 1;
  #count = 0;

  constructor(capacity: number, key0: number, key1: number) {
    this.#capacity = capacity;
    this.#words = new Int32Array((capacity + 1) * wordsPerAddress);
    this.#references = new Int32Array(capacity + 1);
    this.#index = new HashIndex(capacity, capacity);
    this.#key0 = key0;
    this.#key1 = key1;
    this.#hashOf = (entry) => {
      const at = entry * wordsPerAddress;
      return this.#hash(this.#words[at]!, this.#words[at + 1]!, this.#words[at + 2]!, this.#words[at + 3]!);
    };
  }

  /** How many addresses have a name. */
  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#words.byteLength + this.#references.byteLength + this.#index.bytes;
  }

  /** The name of an address, or 0 when it has none. */
  find(word0: number, word1: number, word2: number, word3: number): number {
    const index = this.#index;
    const words = this.#words;
    const hash = this.#hash(word0, word1, word2, word3);
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      const entry = index.idAt(slot);
      const at = entry * wordsPerAddress;
      if (words[at + 3] === word3 && words[at] === word0 && words[at + 1] === word1 && words[at + 2] === word2)
        return firstName | entry;
    }
    return 0;
  }

  /** The name of an address, given to it if it has none, with a reference that is the caller's to release; 0 when the book is full. */
  take(word0: number, word1: number, word2: number, word3: number): number {
    const found = this.find(word0, word1, word2, word3);
    const name = found === 0 ? this.#insert(word0, word1, word2, word3) : found;
    if (name !== 0) this.hold(name);
    return name;
  }

  /** One reference more to a name that has some. */
  hold(name: number): void {
    this.#references[name & ~firstName]!++;
  }

  /** One reference less; 0 is nobody's name and is let pass. */
  release(name: number): void {
    const entry = name & ~firstName;
    if (entry === 0 || --this.#references[entry]! > 0) return;
    this.#index.remove(this.#hashOf(entry), entry, this.#hashOf);
    this.#words[entry * wordsPerAddress] = this.#freeHead;
    this.#freeHead = entry;
    this.#count--;
  }

  /** One of the four words of the address of this name, the most significant first. */
  word(name: number, which: number): number {
    return this.#words[(name & ~firstName) * wordsPerAddress + which]!;
  }

  #insert(word0: number, word1: number, word2: number, word3: number): number {
    let entry = this.#freeHead;
    if (entry !== 0) this.#freeHead = this.#words[entry * wordsPerAddress]!;
    else if (this.#fresh > this.#capacity) return 0;
    else entry = this.#fresh++;
    const at = entry * wordsPerAddress;
    this.#words[at] = word0;
    this.#words[at + 1] = word1;
    this.#words[at + 2] = word2;
    this.#words[at + 3] = word3;
    this.#index.insert(this.#hash(word0, word1, word2, word3), entry);
    this.#count++;
    return firstName | entry;
  }

  #hash(word0: number, word1: number, word2: number, word3: number): number {
    return hashWords(this.#key0, this.#key1, word0, word1, word2, word3);
  }
}
