/**
 * Which uplink a new flow gets: a keyed hash over what the configuration calls the key, looked up in
 * the table that the scheduler publishes. Weights, tiers and liveness are all in the table, so
 * this stays one hash and one load.
 */
import { hashWords } from "../tables/hash.ts";
import { lookupSize } from "../tables/shared-state.ts";

export const balanceKey = { fiveTuple: 0, sourceDestination: 1, source: 2, destination: 3 } as const;
/** No protocol's numbers: keep hashes of different things apart. */
const ipv4Network = 0x104;
const ipv6Network = 0x106;

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

/**
 * What handshake times and the nearest uplink are kept under: the hash of an IPv4 destination's /24. Neighbours there are behind the
 * same lines nearly always.
 */
export function networkHash(key0: number, key1: number, address: number): number {
  return hashWords(key0, key1, address & ~0xff, 0, 0, ipv4Network);
}

/** The same for IPv6, of the /48 that a site has (RFC 6177), by its first two words. */
export function networkHash6(key0: number, key1: number, word0: number, word1: number): number {
  return hashWords(key0, key1, word0, word1 & ~0xffff, 0, ipv6Network);
}
