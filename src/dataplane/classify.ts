/**
 * Which uplink a new flow gets: a keyed hash over what the configuration calls the key, looked up in
 * the table that the scheduler publishes. Weights, tiers and liveness are all in the table, so
 * this stays one hash and one load.
 */
import { hashWords } from "../tables/hash.ts";
import { lookupSize } from "../tables/shared-state.ts";

export const balanceKey = { fiveTuple: 0, sourceDestination: 1, source: 2, destination: 3 } as const;

/** The index of an uplink, or `noUplink`. The secret is not the flow table's, so that an uplink says nothing about a bucket. */
export function chooseUplink(
  lookup: Uint8Array,
  key: number,
  key0: number,
  key1: number,
  source: number,
  destination: number,
  ports: number,
  protocol: number,
): number {
  const hash = hashWords(
    key0,
    key1,
    key === balanceKey.destination ? 0 : source,
    key === balanceKey.source ? 0 : destination,
    key === balanceKey.fiveTuple ? ports : 0,
    key === balanceKey.fiveTuple ? protocol : 0,
  );
  return lookup[hash & (lookupSize - 1)]!;
}
