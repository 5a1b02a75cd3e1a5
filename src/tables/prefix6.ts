/** An IPv6 prefix: the first `length` bits of four words, the most significant first, each in host order. */
export interface Prefix6 {
  readonly words: readonly number[];
  /** 0 to 64: what a router gives to a site (RFC 6296 knows no longer ones that are worth having). */
  readonly length: number;
}

/** The two words of which a prefix of at most 64 bits is part, as masks over an address's first two words. */
export function prefixMasks(length: number): [number, number] {
  return [maskOf(length), maskOf(length - 32)];
}

/** The first so many bits of a word: none below 1, all from 32 on. */
export function maskOf(bits: number): number {
  // A shift by 32 would shift by 0.
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}
