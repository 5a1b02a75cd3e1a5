import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildLookup, type Candidate, lowestTier } from "../../../src/control/scheduler.ts";
import { lookupSize, noUplink } from "../../../src/tables/shared-state.ts";

function build(candidates: readonly Candidate[]): Uint8Array {
  const lookup = new Uint8Array(lookupSize).fill(noUplink);
  buildLookup(lookup, candidates);
  return lookup;
}

/** Uplinks named as people name them, numbered in order. */
function uplinks(...weights: number[]): Candidate[] {
  return weights.map((weight, index) => ({ index, name: `isp${index + 1}`, weight }));
}

/** The names that the slots belong to: comparable when the numbers have changed. */
function owners(candidates: readonly Candidate[]): string[] {
  const names = new Map(candidates.map(({ index, name }) => [index, name]));
  return Array.from(build(candidates), (index) => names.get(index) ?? "none");
}

const someUplinks = fc
  .uniqueArray(fc.record({ name: fc.string({ minLength: 1 }), weight: fc.integer({ min: 1, max: 1000 }) }), {
    selector: ({ name }) => name,
    minLength: 2,
    maxLength: 5,
  })
  .map((rows) => rows.map((row, index): Candidate => ({ index, ...row })));
const runs = { numRuns: 15 };

describe("the lookup table", () => {
  it.each([
    [[1, 1]],
    [[3, 1]],
    [[11, 45]],
    [[1, 100]],
    [[5, 3, 2]],
    [Array.from({ length: 16 }, () => 1)],
    [Array.from({ length: 16 }, (_, i) => i + 1)],
  ])("gives uplinks of weights %j their shares within half a percentage point", (weights) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const lookup = build(uplinks(...weights));
    for (const [index, weight] of weights.entries()) {
      const share = lookup.filter((owner) => owner === index).length / lookupSize;
      expect(Math.abs(share - weight / total)).toBeLessThan(0.005);
    }
  });

  it("keeps the shares for whatever names", () => {
    const property = ([a, b]: string[]) => {
      const lookup = build([
        { index: 0, name: a!, weight: 1 },
        { index: 1, name: b!, weight: 1 },
      ]);
      const first = lookup.filter((owner) => owner === 0).length;
      return Math.abs(first / lookupSize - 0.5) < 0.006;
    };
    const names = fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 2 });
    // The spread is 0.11 percentage points: 0.6 is beyond five of them.
    fc.assert(fc.property(names, property), { numRuns: 60 });
  });

  it("moves only the slots of an uplink that leaves", () => {
    const property = (all: Candidate[], which: number) => {
      const gone = all[which % all.length]!.name;
      const before = owners(all);
      const after = owners(all.filter(({ name }) => name !== gone));
      return before.every((owner, slot) => (owner === gone ? after[slot] !== gone : after[slot] === owner));
    };
    fc.assert(fc.property(someUplinks, fc.nat(), property), runs);
  });

  it("moves slots only to an uplink that gains weight, and only from one that loses it", () => {
    const property = (all: Candidate[], which: number, weight: number) => {
      const changed = all[which % all.length]!;
      const before = owners(all);
      const after = owners(all.map((uplink) => (uplink === changed ? { ...uplink, weight } : uplink)));
      const moved = before.flatMap((owner, slot) => (owner === after[slot] ? [] : [[owner, after[slot]!]]));
      const [end, other] = weight > changed.weight ? [1, 0] : [0, 1];
      return moved.every((pair) => pair[end] === changed.name && pair[other] !== changed.name);
    };
    fc.assert(fc.property(someUplinks, fc.nat(), fc.integer({ min: 1, max: 1000 }), property), runs);
  });

  it("does not depend on the order or the numbers of the uplinks", () => {
    const property = (all: Candidate[]) => {
      const reversed = [...all].reverse().map((uplink, index) => ({ ...uplink, index: index + 7 }));
      expect(owners(reversed)).toEqual(owners(all));
    };
    fc.assert(fc.property(someUplinks, property), runs);
  });

  it("stays the same for the same names from one version to the next", () => {
    // A router that is updated must not move flows; these are what the first version gave.
    const lookup = build(uplinks(3, 1, 2));
    expect(Array.from(lookup.subarray(0, 24)).join("")).toBe("202101022210012020012202");
  });

  it("writes only what changes, and says how much", () => {
    const lookup = build(uplinks(1, 1, 1));
    const before = lookup.slice();
    expect(buildLookup(lookup, uplinks(1, 1, 1))).toBe(0);
    const written = buildLookup(lookup, uplinks(1, 1));
    expect(written).toBe(before.filter((owner) => owner === 2).length);
    expect(written).toBeGreaterThan(0);
  });

  it("says that there is no uplink when there is none", () => {
    const lookup = build(uplinks(1, 1));
    expect(buildLookup(lookup, [])).toBe(lookupSize);
    expect(lookup.every((owner) => owner === noUplink)).toBe(true);
  });
});

describe("the tiers", () => {
  const up = (name: string, tier: number) => ({ name, tier });

  it("offer the lowest one that has a live uplink", () => {
    expect(lowestTier([up("c", 3), up("a", 2), up("b", 2)])).toEqual([up("a", 2), up("b", 2)]);
    expect(lowestTier([up("c", 3)])).toEqual([up("c", 3)]);
  });

  it("offer nothing when nothing lives", () => {
    expect(lowestTier([])).toEqual([]);
  });
});
