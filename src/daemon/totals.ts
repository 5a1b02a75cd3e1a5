/** The workers' counters, summed over all of them. */
import { counter, type SharedState, uplinkCounter, uplinkCounterAt } from "../tables/shared-state.ts";

export type UplinkTotals = Record<keyof typeof uplinkCounter, number>;

export class Totals {
  readonly #counters: readonly Float64Array[];

  constructor(shared: SharedState, workers: number) {
    this.#counters = Array.from({ length: workers }, (_, worker) => shared.counters(worker));
  }

  /** One of `counter`, or of `uplinkCounterAt`. */
  sum(at: number): number {
    return this.#counters.reduce((sum, counters) => sum + counters[at]!, 0);
  }

  dropped(reason: number): number {
    return this.sum(counter.drops + reason);
  }

  uplink(place: number): UplinkTotals {
    const sums = Object.entries(uplinkCounter).map(([name, which]) => [name, this.sum(uplinkCounterAt(place, which))]);
    return Object.fromEntries(sums) as UplinkTotals;
  }
}
