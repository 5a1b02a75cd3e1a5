/**
 * Which parts of a datagram have passed, so that no fragment that overlaps another passes too (RFC 5722: what a
 * filter has seen in the first fragment could be overwritten by a later one). A repeated fragment overlaps itself: it
 * is dropped likewise, and nothing is lost by that.
 *
 * Offsets count units of 8 bytes. Ranges that touch become one, so that a datagram whose fragments come in order has a single one.
 */
import { verdict } from "./verdict.ts";

const rangesEach = 8;

export class FragmentRanges {
  /** First unit (16), unit behind the last (16); 0: unused. */
  readonly #ranges: Uint32Array;

  constructor(datagrams: number) {
    this.#ranges = new Uint32Array(datagrams * rangesEach);
  }

  /** Forgets what is known of a datagram. */
  reset(datagram: number): void {
    this.#ranges.fill(0, datagram * rangesEach, (datagram + 1) * rangesEach);
  }

  /** Adds the units from `from` up to and without `to`, at least one, and returns the verdict: an overlap, or too many gaps. */
  add(datagram: number, from: number, to: number): number {
    const ranges = this.#ranges;
    const first = datagram * rangesEach;
    let start = from;
    let end = to;
    let free = -1;
    for (let i = first; i < first + rangesEach; i++) {
      const range = ranges[i]!;
      if (range === 0) free = i;
      else if (from < (range & 0xffff) && to > range >>> 16) return verdict.fragmentOverlap;
    }
    for (let i = first; i < first + rangesEach; i++) {
      const range = ranges[i]!;
      if (range === 0 || ((range & 0xffff) !== start && range >>> 16 !== end)) continue;
      start = Math.min(start, range >>> 16);
      end = Math.max(end, range & 0xffff);
      ranges[i] = 0;
      free = i;
    }
    if (free < 0) return verdict.fragmentTableFull;
    ranges[free] = (start << 16) | end;
    return verdict.forward;
  }
}
