/**
 * How many flows each inside host has, so that one cannot take the table from the others. A host
 * is in the table while it has a flow. Bounded by `capacity` hosts; host 0 is never used.
 */
import { hashWords } from "./hash.ts";
import { HashIndex } from "./hash-index.ts";

export class HostTable {
  readonly #capacity: number;
  readonly #address: Int32Array;
  readonly #flows: Int32Array;
  readonly #index: HashIndex;
  readonly #key0: number;
  readonly #key1: number;
  readonly #hashOf: (host: number) => number;
  #freeHead = 0;
  #fresh = 1;

  constructor(capacity: number, key0: number, key1: number) {
    this.#capacity = capacity;
    this.#address = new Int32Array(capacity + 1);
    this.#flows = new Int32Array(capacity + 1);
    this.#index = new HashIndex(capacity, capacity);
    this.#key0 = key0;
    this.#key1 = key1;
    this.#hashOf = (host) => this.#hash(this.#address[host]!);
  }

  get bytes(): number {
    return this.#address.byteLength * 2 + this.#index.bytes;
  }

  flows(host: number): number {
    return this.#flows[host]!;
  }

  /** The host of an address, entered with no flows when it is new; 0 when the table is full. */
  findOrInsert(address: number): number {
    const hash = this.#hash(address);
    const index = this.#index;
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      if (this.#address[index.idAt(slot)] === address) return index.idAt(slot);
    }
    let host = this.#freeHead;
    if (host !== 0) this.#freeHead = this.#address[host]!;
    else if (this.#fresh > this.#capacity) return 0;
    else host = this.#fresh++;
    this.#address[host] = address;
    this.#flows[host] = 0;
    index.insert(hash, host);
    return host;
  }

  addFlow(host: number): void {
    this.#flows[host]!++;
  }

  /** Takes one flow off, and the host out of the table when that was its last (or it never had one). */
  removeFlow(host: number): void {
    if (this.#flows[host]! > 0) this.#flows[host]!--;
    if (this.#flows[host] !== 0) return;
    this.#index.remove(this.#hash(this.#address[host]!), host, this.#hashOf);
    this.#address[host] = this.#freeHead;
    this.#freeHead = host;
  }

  #hash(address: number): number {
    return hashWords(this.#key0, this.#key1, address, 0, 0, 1);
  }
}
