/**
 * The last rounds of an uplink's probes, and what they say of loss, latency and jitter.
 *
 * Two kinds of figure come out. `measured` is what is reported: the plain means over what is there. `certain` is what
 * thresholds are held against: the lowest value that the full window can still come to, were every round that is missing
 * answered at once. So a threshold is never said to be exceeded before a full window would say so, and never later
 * than that is certain: with a window of 30 and 20 % loss allowed it takes seven lost rounds, whether they are
 * seven in a row after the start or seven among thirty. A mean over the first few rounds would call two losses of
 * five 40 %, on a line that loses 5 %.
 *
 * The rounds of an outage (successive failures until the first answer, or no link) are known to be one: they are reported as
 * loss, but not held against the line again when it is back.
 */

export interface LineFigures {
  /** Null: no rounds. */
  readonly lossRatio: number | null;
  /** Mean time of an answer; null: none. */
  readonly latencyMs: number | null;
  /** Mean difference of successive times; null: fewer than two. */
  readonly jitterMs: number | null;
}

export interface CertainFigures {
  readonly lossRatio: number;
  readonly latencyMs: number;
  readonly jitterMs: number;
}

export class ProbeRing {
  /** NaN: no answer. */
  readonly #rttsMs: Float64Array;
  /** 1: part of an outage. */
  readonly #outage: Uint8Array;
  #next = 0;
  #count = 0;

  constructor(window: number) {
    this.#rttsMs = new Float64Array(window);
    this.#outage = new Uint8Array(window);
  }

  /** Adds a round, in the place of the oldest one when the ring is full. `rttMs` null: no answer. */
  add(rttMs: number | null, isOutage: boolean): void {
    this.#rttsMs[this.#next] = rttMs ?? Number.NaN;
    this.#outage[this.#next] = isOutage ? 1 : 0;
    this.#next = (this.#next + 1) % this.#rttsMs.length;
    this.#count = Math.min(this.#count + 1, this.#rttsMs.length);
  }

  /** Says of the last so many rounds that they were part of an outage. */
  markOutage(rounds: number): void {
    const length = this.#rttsMs.length;
    for (let back = 1; back <= Math.min(rounds, this.#count); back++) {
      this.#outage[(this.#next - back + length) % length] = 1;
    }
  }

  measured(): LineFigures {
    const { rounds, answers, pairs, lost, sumMs, differencesMs } = this.#sum(true);
    return {
      lossRatio: rounds === 0 ? null : lost / rounds,
      latencyMs: answers === 0 ? null : sumMs / answers,
      jitterMs: pairs === 0 ? null : differencesMs / pairs,
    };
  }

  certain(): CertainFigures {
    const { rounds, answers, lost, sumMs, differencesMs } = this.#sum(false);
    const window = this.#rttsMs.length;
    const missing = window - rounds;
    return {
      lossRatio: lost / window,
      latencyMs: sumMs / Math.max(answers + missing, 1),
      jitterMs: differencesMs / Math.max(answers + missing - 1, 1),
    };
  }

  #sum(withOutages: boolean) {
    const length = this.#rttsMs.length;
    const sums = { rounds: 0, answers: 0, pairs: 0, lost: 0, sumMs: 0, differencesMs: 0 };
    let lastMs = Number.NaN;
    for (let back = this.#count; back > 0; back--) {
      const at = (this.#next - back + length) % length;
      if (this.#outage[at] === 1 && !withOutages) continue;
      sums.rounds++;
      const rttMs = this.#rttsMs[at]!;
      if (Number.isNaN(rttMs)) {
        sums.lost++;
        continue;
      }
      sums.answers++;
      sums.sumMs += rttMs;
      if (!Number.isNaN(lastMs)) {
        sums.pairs++;
        sums.differencesMs += Math.abs(rttMs - lastMs);
      }
      lastMs = rttMs;
    }
    return sums;
  }
}
