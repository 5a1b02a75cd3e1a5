/**
 * Which uplink is nearest to each network of destinations, by the handshakes of real connections.
 *
 * The data plane asks for a destination's network and goes where the pin says, but for a few percent of connections that
 * explore; without a pin it goes by the weights. A network is pinned when two uplinks have been measured.
 * Weights and chance may take long to get there (a hash over the destination alone never does), so once a network has been
 * seen twice it is pinned to what is still unknown for a connection or two each: looked at.
 *
 * A pin changes only for an uplink that has been nearer for five seconds, by a tenth and a millisecond: queues come and go. Between equal
 * ones the probes decide.
 */

import { maxUplinks, noUplink } from "../tables/shared-state.ts";
import { HandshakeTimes } from "./latency/handshake-times.ts";

/** An uplink that may be pinned. */
export interface NearCandidate {
  readonly slot: number;
  /** Of its probes; null: none. */
  readonly rttMs: number | null;
}

const defaultNetworks = 16_384;
/** A network that is still used has its pin renewed. The data plane keeps one for ten minutes. */
const renewedAfterMs = 60_000;
const seenBeforeLooking = 2;
const wantedSamples = 2;
/** A look that nobody has answered for so long has failed. */
const lookMs = 1_500;
const mostLooks = 2;
/** So long another must be nearer. */
const doubtMs = 5_000;
const nearerRatio = 0.9;
const nearerMs = 1;

export class NearestUplinks {
  readonly #onPin: (networkHash: number, slot: number) => void;
  readonly #times: HandshakeTimes;
  /** By row: where it is pinned, or `noUplink`, and since when. */
  readonly #pins: Uint8Array;
  readonly #pinnedMs: Float64Array;
  /** By row: whether that is only to have a look. */
  readonly #isLook: Uint8Array;
  /** By row: since when another is nearer; 0: none is. */
  readonly #doubtedMs: Float64Array;
  /** By row and uplink: looks that failed. */
  readonly #failedLooks: Uint8Array;
  /** Null: whatever is measured. */
  #candidates: readonly NearCandidate[] | null = null;

  /** `onPin` is told where a network's connections go from now on; `noUplink`: by the weights. */
  constructor(onPin: (networkHash: number, slot: number) => void, networks = defaultNetworks) {
    this.#onPin = onPin;
    this.#times = new HandshakeTimes(networks);
    this.#pins = new Uint8Array(networks).fill(noUplink);
    this.#pinnedMs = new Float64Array(networks);
    this.#isLook = new Uint8Array(networks);
    this.#doubtedMs = new Float64Array(networks);
    this.#failedLooks = new Uint8Array(networks * maxUplinks);
  }

  /** A handshake with a host of this network took so long by the uplink in place `slot`. */
  add(networkHash: number, slot: number, rttMs: number, nowMs: number): void {
    const row = this.#times.use(networkHash, (fresh) => this.#clear(fresh));
    this.#times.add(row, slot, rttMs, nowMs);
    this.#failedLooks[row * maxUplinks + slot] = 0;
    this.#pin(networkHash, row, this.#choose(row, nowMs), nowMs);
  }

  /** Who may be pinned: the uplinks that have a share of the new flows. Networks pinned elsewhere move at once. */
  follow(candidates: readonly NearCandidate[], nowMs: number): void {
    const before = this.#candidates;
    this.#candidates = candidates;
    if (before !== null && slotsOf(before) === slotsOf(candidates)) return;
    for (const [network, row] of this.#times.networks()) {
      const pin = this.#pins[row]!;
      if (pin === noUplink || candidates.some(({ slot }) => slot === pin)) continue;
      this.#pin(network, row, this.#choose(row, nowMs), nowMs);
    }
  }

  /** Another uplink has come to this place: what was measured there says nothing about it. */
  forget(slot: number, nowMs: number): void {
    this.#times.forget(slot);
    for (const [network, row] of this.#times.networks()) {
      this.#failedLooks[row * maxUplinks + slot] = 0;
      if (this.#pins[row] === slot) this.#pin(network, row, this.#choose(row, nowMs), nowMs);
    }
  }

  #clear(row: number): void {
    this.#pins[row] = noUplink;
    this.#isLook[row] = 0;
    this.#doubtedMs[row] = 0;
    this.#failedLooks.fill(0, row * maxUplinks, (row + 1) * maxUplinks);
  }

  #pin(network: number, row: number, slot: number, nowMs: number): void {
    const isNew = slot !== this.#pins[row];
    if (!isNew && (slot === noUplink || nowMs - this.#pinnedMs[row]! < renewedAfterMs)) return;
    this.#pins[row] = slot;
    this.#pinnedMs[row] = nowMs;
    this.#onPin(network, slot);
  }

  #choose(row: number, nowMs: number): number {
    const candidates = this.#candidates ?? everyone;
    const samples = candidates.map(({ slot }) => this.#times.samples(row, slot, nowMs));
    const look = this.#candidates === null ? noUplink : this.#unknown(row, candidates, samples, nowMs);
    const wasLook = this.#isLook[row] === 1;
    this.#isLook[row] = look === noUplink ? 0 : 1;
    if (look !== noUplink) return look;
    const measured = candidates.filter((_, i) => samples[i]! > 0);
    const pin = wasLook ? noUplink : this.#pins[row]!;
    if (measured.length >= 2) return this.#nearest(row, measured, pin, nowMs);
    // Where the others have gone, who was nearest still is.
    return measured.some(({ slot }) => slot === pin) ? pin : noUplink;
  }

  /** The candidate that is still to be looked at, or `noUplink`. */
  #unknown(row: number, candidates: readonly NearCandidate[], samples: readonly number[], nowMs: number): number {
    const seen = samples.reduce((sum, count) => sum + count, 0);
    if (candidates.length < 2 || seen < seenBeforeLooking) return noUplink;
    const pin = this.#pins[row]!;
    for (const [i, { slot }] of candidates.entries()) {
      const at = row * maxUplinks + slot;
      if (samples[i]! >= wantedSamples || this.#failedLooks[at]! >= mostLooks) continue;
      if (slot === pin && nowMs - this.#pinnedMs[row]! >= lookMs) this.#failedLooks[at]!++;
      if (this.#failedLooks[at]! < mostLooks) return slot;
    }
    return noUplink;
  }

  #nearest(row: number, measured: readonly NearCandidate[], pin: number, nowMs: number): number {
    const timeOf = (slot: number) => this.#times.estimateMs(row, slot, nowMs);
    const lowestMs = Math.min(...measured.map(({ slot }) => timeOf(slot)));
    const near = measured.filter(({ slot }) => !isNearer(lowestMs, timeOf(slot)));
    if (near.some(({ slot }) => slot === pin)) {
      this.#doubtedMs[row] = 0;
      return pin;
    }
    if (measured.some(({ slot }) => slot === pin)) {
      this.#doubtedMs[row] ||= nowMs;
      if (nowMs - this.#doubtedMs[row]! < doubtMs) return pin;
    }
    this.#doubtedMs[row] = 0;
    const [best] = near.toSorted((a, b) => compare(a.rttMs, b.rttMs) || compare(timeOf(a.slot), timeOf(b.slot)));
    return best!.slot;
  }
}

const everyone: readonly NearCandidate[] = Array.from({ length: maxUplinks }, (_, slot) => ({ slot, rttMs: null }));

function isNearer(timeMs: number, thanMs: number): boolean {
  return timeMs < thanMs * nearerRatio - nearerMs;
}

/** Null is beyond everything. */
function compare(a: number | null, b: number | null): number {
  const infinite = Number.MAX_VALUE;
  return (a ?? infinite) - (b ?? infinite);
}

function slotsOf(candidates: readonly NearCandidate[]): string {
  return candidates.map(({ slot }) => slot).join();
}
