/**
 * The Internet checksum: full (RFC 1071) and by difference (RFC 1624, equation 3).
 *
 * A delta is a sum of 16-bit words that can be added to any checksum: `~old + new` for every word
 * that changes. Deltas are plain numbers below 2^31 and add up; only `apply` folds.
 */

/** The folded, not inverted sum over `length` bytes at `at`, starting from `initial`. An odd last byte counts as if a zero followed. */
export function sumBytes(view: DataView, at: number, length: number, initial = 0): number {
  let sum = initial;
  const even = at + (length & ~1);
  for (let i = at; i < even; i += 2) sum += view.getUint16(i);
  if (length & 1) sum += view.getUint8(even) << 8;
  return fold(sum);
}

/** Folds a sum below 2^32 to 16 bits with end-around carry. */
export function fold(sum: number): number {
  let folded = (sum >>> 16) + (sum & 0xffff);
  folded = (folded >>> 16) + (folded & 0xffff);
  return folded;
}

/** The delta of replacing the 32-bit word `from` by `to`. */
export function delta32(from: number, to: number): number {
  return (~from & 0xffff) + (~from >>> 16) + (to & 0xffff) + (to >>> 16);
}

/** The delta of replacing the 16-bit word `from` by `to`. */
export function delta16(from: number, to: number): number {
  return (~from & 0xffff) + to;
}

/** A checksum field after the change that `delta` describes: HC' = ~(~HC + delta). */
export function applyDelta(checksum: number, delta: number): number {
  return ~fold((~checksum & 0xffff) + delta) & 0xffff;
}

/** A pseudo-header sum (the field of a partial checksum, not inverted) after the change that `delta` describes. */
export function applyDeltaPartial(sum: number, delta: number): number {
  return fold(sum + delta);
}
