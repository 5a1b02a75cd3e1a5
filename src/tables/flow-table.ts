/**
 * The rows of the flows and the index over both their tuples.
 *
 * A flow has an inside endpoint (address and port), a remote endpoint, and the outside (mapped)
 * endpoint that stands for the inside one on its uplink. Packets from the inside carry the original
 * tuple inside -> remote; packets from the remote carry the reply tuple remote -> mapped. Both
 * tuples are in one index, under `flow << 1 | direction`, so a packet costs one lookup.
 *
 * Invariants: flow 0 is never used; a row is in the index twice from `open` to `close`; no two open
 * rows have the same original or the same reply tuple; the tuple words never change while open.
 */
import { hashWords } from "./hash.ts";
import { HashIndex } from "./hash-index.ts";

export const original = 0;
export const reply = 1;

/** Words of a row. Two 16-bit values in a word: the first named is the upper. */
export const flowWord = {
  inside: 0,
  remote: 1,
  /** inside port, remote port */
  ports: 2,
  mapped: 3,
  /** mapped port (16), protocol (8), uplink (8) */
  outside: 4,
  /** A state of the owner's, and what it wants to remember beside it. */
  state: 5,
  /** Milliseconds, wrapping: compare differences. */
  lastSeen: 6,
  opened: 7,
  mapping: 8,
  host: 9,
  txPackets: 10,
  rxPackets: 11,
  /** Doubles, at half the word's index in `bytes64`. */
  txBytes: 12,
  rxBytes: 14,
} as const;
export const flowWords = 16;

export class FlowTable {
  readonly capacity: number;
  readonly words: Int32Array;
  /** The same memory as doubles. */
  readonly doubles: Float64Array;
  readonly #index: HashIndex;
  readonly #key0: number;
  readonly #key1: number;
  readonly #hashOf: (id: number) => number;
  /** Head of the list of closed rows, linked through the first word; rows never used yet start at `#fresh`. */
  #freeHead = 0;
  #fresh = 1;
  #open = 0;

  constructor(capacity: number, key0: number, key1: number) {
    this.capacity = capacity;
    const buffer = new ArrayBuffer((capacity + 1) * flowWords * 4);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.#index = new HashIndex(capacity * 2, capacity * 2 + 1);
    this.#key0 = key0;
    this.#key1 = key1;
    this.#hashOf = (id) => ((id & 1) === original ? this.#originalHash(id >>> 1) : this.#replyHash(id >>> 1));
  }

  get open(): number {
    return this.#open;
  }

  get full(): boolean {
    return this.#freeHead === 0 && this.#fresh > this.capacity;
  }

  get bytes(): number {
    return this.words.byteLength + this.#index.bytes;
  }

  /** Upper bound for walking all rows; `isOpen` tells which are in use. */
  get end(): number {
    return this.#fresh;
  }

  isOpen(flow: number): boolean {
    return this.words[flow * flowWords + flowWord.outside] !== 0;
  }

  hash(source: number, destination: number, ports: number, protocol: number): number {
    return hashWords(this.#key0, this.#key1, source, destination, ports, protocol);
  }

  /** Reads the index slot of a hash, so that it is in cache when `find` comes for it. */
  touchIndex(hash: number): number {
    return this.#index.touch(hash);
  }

  /** Reads the row that the index slot of a hash most likely names; the slot should be in cache. */
  touchRow(hash: number): number {
    return this.words[(this.#index.idAt(hash & this.#index.mask) >>> 1) * flowWords]!;
  }

  /** `flow << 1 | direction` of the tuple as it stands in a packet, or 0. */
  find(hash: number, source: number, destination: number, ports: number, protocol: number): number {
    const index = this.#index;
    const words = this.words;
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      const id = index.idAt(slot);
      const row = (id >>> 1) * flowWords;
      const outside = words[row + flowWord.outside]!;
      if (((outside >>> 8) & 0xff) !== protocol) continue;
      if ((id & 1) === original) {
        if (
          words[row + flowWord.inside] === source &&
          words[row + flowWord.remote] === destination &&
          words[row + flowWord.ports] === ports
        )
          return id;
      } else if (
        words[row + flowWord.remote] === source &&
        words[row + flowWord.mapped] === destination &&
        ((words[row + flowWord.ports]! << 16) | (outside >>> 16)) === ports
      )
        return id;
    }
    return 0;
  }

  /** Opens a row and puts both tuples into the index. The caller has checked `full` and that both tuples are new. All other words are 0. */
  insert(
    inside: number,
    remote: number,
    ports: number,
    mapped: number,
    mappedPort: number,
    protocol: number,
    uplink: number,
  ): number {
    const words = this.words;
    let flow = this.#freeHead;
    if (flow !== 0) this.#freeHead = words[flow * flowWords]!;
    else flow = this.#fresh++;
    const row = flow * flowWords;
    words.fill(0, row, row + flowWords);
    words[row + flowWord.inside] = inside;
    words[row + flowWord.remote] = remote;
    words[row + flowWord.ports] = ports;
    words[row + flowWord.mapped] = mapped;
    words[row + flowWord.outside] = (mappedPort << 16) | (protocol << 8) | uplink;
    this.#index.insert(this.#originalHash(flow), (flow << 1) | original);
    this.#index.insert(this.#replyHash(flow), (flow << 1) | reply);
    this.#open++;
    return flow;
  }

  close(flow: number): void {
    const row = flow * flowWords;
    this.#index.remove(this.#originalHash(flow), (flow << 1) | original, this.#hashOf);
    this.#index.remove(this.#replyHash(flow), (flow << 1) | reply, this.#hashOf);
    this.words[row + flowWord.outside] = 0;
    this.words[row] = this.#freeHead;
    this.#freeHead = flow;
    this.#open--;
  }

  #originalHash(flow: number): number {
    const words = this.words;
    const row = flow * flowWords;
    return this.hash(
      words[row + flowWord.inside]!,
      words[row + flowWord.remote]!,
      words[row + flowWord.ports]!,
      (words[row + flowWord.outside]! >>> 8) & 0xff,
    );
  }

  #replyHash(flow: number): number {
    const words = this.words;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    return this.hash(
      words[row + flowWord.remote]!,
      words[row + flowWord.mapped]!,
      (words[row + flowWord.ports]! << 16) | (outside >>> 16),
      (outside >>> 8) & 0xff,
    );
  }
}
