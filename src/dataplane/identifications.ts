/**
 * Identifications for datagrams that may be cut on the way: one sequence a worker, over its share of
 * the 65,536, from a random start. The same number comes again after the whole share has been used,
 * whatever uplink and remote it was for: the longest distance there can be without a table.
 */
const identifications = 65_536;

export class Identifications {
  readonly #first: number;
  readonly #count: number;
  #next: number;

  constructor(worker: number, workers: number, random: () => number) {
    this.#count = Math.floor(identifications / workers);
    this.#first = worker * this.#count;
    this.#next = Math.floor(random() * this.#count);
  }

  /** The first of as many successive ones as the segments of a super-packet take. */
  take(segments: number): number {
    if (this.#next + segments > this.#count) this.#next = 0;
    const first = this.#next;
    this.#next += segments;
    return this.#first + first;
  }
}
