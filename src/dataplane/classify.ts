/**
 * The hashes by which new flows are told apart: over what the configuration calls the key for the choice of an uplink, over
 * an address, a network or a source for what is remembered of them. All are keyed by one secret, which is not the flow table's, so
 * that an uplink says nothing about a bucket; equal in all workers, since they share what they remember.
 */
import { hashWords } from "../tables/hash.ts";

export const balanceKey = { fiveTuple: 0, sourceDestination: 1, source: 2, destination: 3 } as const;
/** No protocol's numbers: keep hashes of different things apart. */
const ipv4Network = 0x104;
const ipv6Network = 0x106;
const ipv4Address = 0x204;
const stickySource = 0x300;

/** What the lookup table is asked with: its lower 16 bits are the place there, the upper ones decide who explores. */
export function balanceHash(
  key: number,
  key0: number,
  key1: number,
  source: number,
  destination: number,
  ports: number,
  protocol: number,
): number {
  return hashWords(
    key0,
    key1,
    key === balanceKey.destination ? 0 : source,
    key === balanceKey.source ? 0 : destination,
    key === balanceKey.fiveTuple ? ports : 0,
    key === balanceKey.fiveTuple ? protocol : 0,
  );
}

/** Another place for a hash whose own did not serve (the finalizer of MurmurHash3, a permutation; plus one, as that leaves 0 where it is). */
export function nextHash(hash: number): number {
  let mixed = (hash + 1) | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return mixed ^ (mixed >>> 16);
}

/** What a source, or source and destination, are remembered under. */
export function stickyHash(key0: number, key1: number, source: number, destination: number, group: number): number {
  return hashWords(key0, key1, source, destination, group, stickySource);
}

/** What an IPv4 address is remembered under. */
export function addressHash(key0: number, key1: number, address: number): number {
  return hashWords(key0, key1, address, 0, 0, ipv4Address);
}

/** The same of an IPv6 address; also what stands for it in the balance. */
export function addressHash6(
  key0: number,
  key1: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): number {
  return hashWords(key0, key1, word0, word1, word2, word3);
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
