/**
 * Mappings: which outside endpoint stands for an inside endpoint (RFC 4787, section 4.1).
 *
 * A mapping binds an inside endpoint (address, port, protocol) to an uplink, an address and a port
 * of it, and lives as long as a flow uses it. It is found by its inside endpoint, so that a second
 * remote sees the same outside endpoint, and by its outside endpoint, for what comes unasked; one that was opened for a single flow only (address- and
 * port-dependent mapping) or was displaced by a newer one is not findable by the former, and just keeps its port.
 *
 * Invariants: mapping 0 is never used; `uses` counts the flows that name it; the port is in use in
 * exactly one pool until `uses` is 0 again; at most one findable mapping per inside endpoint.
 */
import { hashWords } from "./hash.ts";
import { HashIndex } from "./hash-index.ts";

export const mappingWord = {
  inside: 0,
  /** inside port (16), protocol (8), uplink (8) */
  endpoint: 1,
  mapped: 2,
  /** mapped port (16), and `mappingFlag` */
  port: 3,
  uses: 4,
} as const;
const mappingWords = 5;
const mappingFlag = {
  findable: 1,
  /** The port is the inside one, on an address that no other inside address has: it is from no pool. */
  keepsPort: 2,
} as const;

export class MappingTable {
  readonly words: Int32Array;
  readonly #capacity: number;
  readonly #index: HashIndex;
  readonly #portIndex: HashIndex;
  readonly #key0: number;
  readonly #key1: number;
  readonly #hashOf: (mapping: number) => number;
  readonly #portHashOf: (mapping: number) => number;
  #freeHead = 0;
  #fresh = 1;
  #open = 0;

  constructor(capacity: number, key0: number, key1: number) {
    this.#capacity = capacity;
    this.words = new Int32Array((capacity + 1) * mappingWords);
    this.#index = new HashIndex(capacity, capacity);
    this.#portIndex = new HashIndex(capacity, capacity);
    this.#key0 = key0;
    this.#key1 = key1;
    this.#hashOf = (mapping) => this.#hash(this.inside(mapping), this.words[mapping * mappingWords + 1]! >>> 8);
    this.#portHashOf = (mapping) => this.#portHash(this.address(mapping), this.port(mapping), this.protocol(mapping));
  }

  get open(): number {
    return this.#open;
  }

  get full(): boolean {
    return this.#freeHead === 0 && this.#fresh > this.#capacity;
  }

  get bytes(): number {
    return this.words.byteLength + this.#index.bytes + this.#portIndex.bytes;
  }

  inside(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.inside]!;
  }

  uplink(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.endpoint]! & 0xff;
  }

  protocol(mapping: number): number {
    return (this.words[mapping * mappingWords + mappingWord.endpoint]! >>> 8) & 0xff;
  }

  address(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.mapped]!;
  }

  port(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.port]! >>> 16;
  }

  uses(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.uses]!;
  }

  /** The findable mapping of an inside endpoint, or 0. */
  find(inside: number, port: number, protocol: number): number {
    const index = this.#index;
    const endpoint = (port << 8) | protocol;
    const hash = this.#hash(inside, endpoint);
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      const row = index.idAt(slot) * mappingWords;
      if (this.words[row + mappingWord.inside] === inside && this.words[row + mappingWord.endpoint]! >>> 8 === endpoint)
        return index.idAt(slot);
    }
    return 0;
  }

  /** The mapping that holds an outside endpoint, findable or not; 0 when none does. */
  findByPort(mapped: number, port: number, protocol: number): number {
    const index = this.#portIndex;
    const hash = this.#portHash(mapped, port, protocol);
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      const mapping = index.idAt(slot);
      if (this.address(mapping) === mapped && this.port(mapping) === port && this.protocol(mapping) === protocol)
        return mapping;
    }
    return 0;
  }

  insidePort(mapping: number): number {
    return this.words[mapping * mappingWords + mappingWord.endpoint]! >>> 16;
  }

  /** Opens a mapping with no uses yet. The caller has checked `full` and, for a findable one, that there is none. */
  insert(
    inside: number,
    port: number,
    protocol: number,
    uplink: number,
    mapped: number,
    mappedPort: number,
    findable: boolean,
  ): number {
    const flags = findable ? mappingFlag.findable : 0;
    return this.#insert(inside, port, protocol, uplink, mapped, mappedPort, flags);
  }

  /** As `insert`, with the inside port as the mapped one, which comes from no pool and goes back to none. */
  insertKeepingPort(
    inside: number,
    port: number,
    protocol: number,
    uplink: number,
    mapped: number,
    findable: boolean,
  ): number {
    const flags = mappingFlag.keepsPort | (findable ? mappingFlag.findable : 0);
    return this.#insert(inside, port, protocol, uplink, mapped, port, flags);
  }

  #insert(
    inside: number,
    port: number,
    protocol: number,
    uplink: number,
    mapped: number,
    mappedPort: number,
    flags: number,
  ): number {
    const words = this.words;
    let mapping = this.#freeHead;
    if (mapping !== 0) this.#freeHead = words[mapping * mappingWords]!;
    else mapping = this.#fresh++;
    const row = mapping * mappingWords;
    words[row + mappingWord.inside] = inside;
    words[row + mappingWord.endpoint] = (port << 16) | (protocol << 8) | uplink;
    words[row + mappingWord.mapped] = mapped;
    words[row + mappingWord.port] = (mappedPort << 16) | flags;
    words[row + mappingWord.uses] = 0;
    if ((flags & mappingFlag.findable) !== 0) this.#index.insert(this.#hashOf(mapping), mapping);
    this.#portIndex.insert(this.#portHashOf(mapping), mapping);
    this.#open++;
    return mapping;
  }

  use(mapping: number): void {
    this.words[mapping * mappingWords + mappingWord.uses]!++;
  }

  /** Drops one use; true when that was the last one and the mapping is closed: its port goes back to its pool. */
  release(mapping: number): boolean {
    const row = mapping * mappingWords;
    if (--this.words[row + mappingWord.uses]! > 0) return false;
    const isFromPool = (this.words[row + mappingWord.port]! & mappingFlag.keepsPort) === 0;
    this.hide(mapping);
    this.#portIndex.remove(this.#portHashOf(mapping), mapping, this.#portHashOf);
    this.words[row] = this.#freeHead;
    this.#freeHead = mapping;
    this.#open--;
    return isFromPool;
  }

  /** Makes a mapping unfindable: its flows go on, new ones get another. */
  hide(mapping: number): void {
    const row = mapping * mappingWords;
    if ((this.words[row + mappingWord.port]! & mappingFlag.findable) === 0) return;
    this.words[row + mappingWord.port]! &= ~mappingFlag.findable;
    this.#index.remove(this.#hashOf(mapping), mapping, this.#hashOf);
  }

  #portHash(mapped: number, port: number, protocol: number): number {
    return hashWords(this.#key0, this.#key1, mapped, port, protocol, 1);
  }

  #hash(inside: number, endpoint: number): number {
    return hashWords(this.#key0, this.#key1, inside, endpoint, 0, 0);
  }
}
