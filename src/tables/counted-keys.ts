/**
 * Counts per key of two words: the flows of an inside host, the flows between a mapping and a remote
 * host. A key is there while its count is above 0. Bounded by `capacity`; entry 0 is never used.
 */
import { hashWords } from "./hash.ts";
import { HashIndex } from "./hash-index.ts";

export class CountedKeys {
  readonly #capacity: number;
  /** Two words of key an entry; of a free entry the first links to the next free one. */
  readonly #keys: Int32Array;
  readonly #counts: Int32Array;
  readonly #index: HashIndex;
  readonly #secret0: number;
  readonly #secret1: number;
  readonly #hashOf: (entry: number) => number;
  #freeHead = 0;
  #fresh = 1;

  constructor(capacity: number, secret0: number, secret1: number) {
    this.#capacity = capacity;
    this.#keys = new Int32Array((capacity + 1) * 2);
    this.#counts = new Int32Array(capacity + 1);
    this.#index = new HashIndex(capacity, capacity);
    this.#secret0 = secret0;
    this.#secret1 = secret1;
    this.#hashOf = (entry) => this.#hash(this.#keys[entry * 2]!, this.#keys[entry * 2 + 1]!);
  }

  get bytes(): number {
    return this.#keys.byteLength + this.#counts.byteLength + this.#index.bytes;
  }

  count(entry: number): number {
    return this.#counts[entry]!;
  }

  /** The entry of a key, or 0. */
  find(a: number, b: number): number {
    const hash = this.#hash(a, b);
    const index = this.#index;
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      const entry = index.idAt(slot);
      if (this.#keys[entry * 2] === a && this.#keys[entry * 2 + 1] === b) return entry;
    }
    return 0;
  }

  /** Adds one to a key's count and returns its entry; 0 when there is no room for another key. */
  add(a: number, b: number): number {
    const found = this.find(a, b);
    const entry = found === 0 ? this.#insert(a, b) : found;
    if (entry !== 0) this.#counts[entry]!++;
    return entry;
  }

  /** Takes one off an entry's count; the key is gone with its last. */
  release(entry: number): void {
    if (--this.#counts[entry]! > 0) return;
    this.#index.remove(this.#hashOf(entry), entry, this.#hashOf);
    this.#keys[entry * 2] = this.#freeHead;
    this.#freeHead = entry;
  }

  #insert(a: number, b: number): number {
    let entry = this.#freeHead;
    if (entry !== 0) this.#freeHead = this.#keys[entry * 2]!;
    else if (this.#fresh > this.#capacity) return 0;
    else entry = this.#fresh++;
    this.#keys[entry * 2] = a;
    this.#keys[entry * 2 + 1] = b;
    this.#counts[entry] = 0;
    this.#index.insert(this.#hash(a, b), entry);
    return entry;
  }

  #hash(a: number, b: number): number {
    return hashWords(this.#secret0, this.#secret1, a, b, 0, 1);
  }
}
