import fc from "fast-check";
import { expect, test } from "vitest";
import { FragmentRanges } from "../../../src/dataplane/fragment-ranges.ts";
import { verdict } from "../../../src/dataplane/verdict.ts";

test("ranges are taken if none of their units has been, whatever the order, for each datagram by itself", () => {
  const range = fc.record({ datagram: fc.nat(1), from: fc.nat(30), units: fc.integer({ min: 1, max: 6 }) });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), (given) => {
      const ranges = new FragmentRanges(2);
      const taken = [new Set<number>(), new Set<number>()];
      for (const { datagram, from, units } of given) {
        const wanted = Array.from({ length: units }, (_, i) => from + i);
        const overlaps = wanted.some((unit) => taken[datagram]!.has(unit));
        const result = ranges.add(datagram, from, from + units);
        if (overlaps) expect(result).toBe(verdict.fragmentOverlap);
        else if (result === verdict.forward) for (const unit of wanted) taken[datagram]!.add(unit);
        else {
          expect(result).toBe(verdict.fragmentTableFull);
          const all = taken[datagram]!;
          const runs = [...all].filter((unit) => !all.has(unit - 1)).length;
          expect(runs).toBe(8);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("a datagram that was forgotten begins anew, and the largest offsets fit", () => {
  const ranges = new FragmentRanges(2);
  expect(ranges.add(1, 0, 8192)).toBe(verdict.forward);
  expect(ranges.add(1, 8191, 8192)).toBe(verdict.fragmentOverlap);
  expect(ranges.add(0, 8191, 8192)).toBe(verdict.forward);
  ranges.reset(1);
  expect(ranges.add(1, 8191, 8192)).toBe(verdict.forward);
});
