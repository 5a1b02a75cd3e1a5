/**
 * Builds the lookup table that spreads flows over uplinks by weight: hash -> uplink.
 *
 * Weighted rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit
 * rates", 1998; the logarithmic weights are Schindelhauer and Schomaker, 2005): in every slot each
 * uplink draws a number u in (0, 1) that depends on nothing but its name and the slot, and the lowest
 * -ln(u) / weight takes the slot. -ln(u) / weight is exponentially distributed with rate `weight`, so
 * an uplink wins a slot with probability weight / sum of weights. What an uplink draws never depends
 * on the others. Hence the disruption is the least possible: an uplink that leaves gives up its own
 * slots and no other slot moves; a changed weight moves slots only to or from that uplink.
 *
 * Why not Maglev (Eisenbud et al., NSDI 2016): its table is exactly even, but backends fill it in
 * turns, so one leaving moves a share of the others' slots too - flows of healthy uplinks that are
 * opened again would change their source address. Why not a ring: it needs hundreds of points per
 * uplink for the same evenness and gets weights only by more points. Their gain is time to build
 * with thousands of backends; with 16 uplinks and a table built a few times a day it buys nothing.
 *
 * An uplink's draws are a permutation of 1..65,536 over the slots (shuffled by a generator seeded
 * with the name) rather than independent numbers. Each then draws every value once, which lowers the
 * spread of the shares around the weights: for 1:1 from 0.20 to 0.11 percentage points.
 */

import { noUplink } from "../tables/shared-state.ts";

export interface Candidate {
  /** The uplink's number, which is what the table holds. */
  readonly index: number;
  readonly name: string;
  /** Above 0; only the proportions matter. */
  readonly weight: number;
}

/** The candidates of the lowest tier that has any: a higher tier is used only when the lower ones are all gone. */
export function lowestTier<T extends { readonly tier: number }>(live: readonly T[]): T[] {
  const lowest = Math.min(...live.map((uplink) => uplink.tier));
  return live.filter((uplink) => uplink.tier === lowest);
}

/**
 * Fills `lookup` with the index of the uplink that each slot belongs to, `noUplink` when there are no
 * candidates. Writes only the bytes that change, since workers read the table meanwhile, and returns
 * how many did. The result depends on names, weights and the table's length alone.
 */
export function buildLookup(lookup: Uint8Array, candidates: readonly Candidate[]): number {
  const slots = lookup.length;
  // On a tie the first one keeps the slot, so the order must be the names' own and not the caller's.
  const byName = [...candidates].sort((a, b) => (a.name < b.name ? -1 : 1));
  const draws = byName.map((candidate) => drawsOf(candidate.name, slots));
  const costs = costOfDraw(slots);
  let changed = 0;
  for (let slot = 0; slot < slots; slot++) {
    let best = noUplink;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < byName.length; i++) {
      const cost = costs[draws[i]![slot]!]! / byName[i]!.weight;
      if (cost < lowest) {
        lowest = cost;
        best = byName[i]!.index;
      }
    }
    if (lookup[slot] === best) continue;
    lookup[slot] = best;
    changed++;
  }
  return changed;
}

/** The numbers 0..slots-1 in an order that follows from the name: what this uplink draws in each slot (Fisher-Yates). */
function drawsOf(name: string, slots: number): Uint32Array {
  const draws = new Uint32Array(slots).map((_, slot) => slot);
  const seed = hashName(name);
  for (let last = slots - 1; last > 0; last--) {
    const other = Math.floor((mix(seed + last) / 2 ** 32) * (last + 1));
    const taken = draws[last]!;
    draws[last] = draws[other]!;
    draws[other] = taken;
  }
  return draws;
}

/** -ln(u) for each draw, u in the middle of its step so that neither end is 0. */
function costOfDraw(slots: number): Float64Array {
  return new Float64Array(slots).map((_, draw) => -Math.log((draw + 0.5) / slots));
}

/** FNV-1a over the name's UTF-8 bytes, then mixed: names that differ in one letter get unrelated seeds. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return mix(hash);
}

/** The finalizer of MurmurHash3 (Appleby, public domain): every input bit changes half of the output bits. */
function mix(value: number): number {
  let x = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
