/**
 * How long handshakes take to each network by each uplink, for as many networks as were used last.
 *
 * An estimate is the mean of the first handshakes and then follows each new one by an eighth. Not the quickest, though the way's own time
 * would be that: the uplink with more handshakes would always look nearer. What was not measured for ten minutes is forgotten.
 */

import { maxUplinks } from "../../tables/shared-state.ts";

const forgottenAfterMs = 600_000;
const followFactor = 1 / 8;
const mostSamples = 255;

export class HandshakeTimes {
  /** Network -> row; the order is that of their last use. */
  readonly #rows = new Map<number, number>();
  readonly #capacity: number;
  /** By row and uplink. */
  readonly #estimatesMs: Float64Array;
  readonly #measuredMs: Float64Array;
  readonly #samples: Uint8Array;

  constructor(networks: number) {
    this.#capacity = networks;
    this.#estimatesMs = new Float64Array(networks * maxUplinks);
    this.#measuredMs = new Float64Array(networks * maxUplinks);
    this.#samples = new Uint8Array(networks * maxUplinks);
  }

  /** The row of a network, now the last one that was used; `onFresh` is told when it was another network's or nobody's. */
  use(network: number, onFresh: (row: number) => void): number {
    const known = this.#rows.get(network);
    if (known !== undefined) {
      this.#rows.delete(network);
      this.#rows.set(network, known);
      return known;
    }
    const row = this.#freeRow();
    this.#samples.fill(0, row * maxUplinks, (row + 1) * maxUplinks);
    this.#rows.set(network, row);
    onFresh(row);
    return row;
  }

  networks(): IterableIterator<[number, number]> {
    return this.#rows.entries();
  }

  add(row: number, slot: number, rttMs: number, nowMs: number): void {
    const at = row * maxUplinks + slot;
    const samples = this.samples(row, slot, nowMs);
    const beforeMs = samples === 0 ? 0 : this.#estimatesMs[at]!;
    this.#estimatesMs[at] = beforeMs + (rttMs - beforeMs) * Math.max(followFactor, 1 / (samples + 1));
    this.#samples[at] = Math.min(samples + 1, mostSamples);
    this.#measuredMs[at] = nowMs;
  }

  /** How many there are, at most 255. */
  samples(row: number, slot: number, nowMs: number): number {
    const at = row * maxUplinks + slot;
    if (nowMs - this.#measuredMs[at]! >= forgottenAfterMs) return 0;
    return this.#samples[at]!;
  }

  /** Infinite when there are none. */
  estimateMs(row: number, slot: number, nowMs: number): number {
    if (this.samples(row, slot, nowMs) === 0) return Number.POSITIVE_INFINITY;
    return this.#estimatesMs[row * maxUplinks + slot]!;
  }

  /** Another uplink has come to this place. */
  forget(slot: number): void {
    for (let at = slot; at < this.#samples.length; at += maxUplinks) this.#samples[at] = 0;
  }

  #freeRow(): number {
    if (this.#rows.size < this.#capacity) return this.#rows.size;
    const [oldest] = this.#rows;
    const [network, row] = oldest!;
    this.#rows.delete(network);
    return row;
  }
}
