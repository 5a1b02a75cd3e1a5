/**
 * The networks that the inside consists of, as the control plane publishes them: a number of IPv4 networks, then that
 * many pairs of address and mask; the same for IPv6 with four words each. Few as they are, a walk over all of them costs a
 * flow's opening less than a tree would.
 */
import { maskOf } from "./prefix6.ts";

/** Most networks of each family. */
export const mostInsideNetworks = 128;
const inside6At = 1 + mostInsideNetworks * 2;
export const insideNetworkWords = inside6At + 1 + mostInsideNetworks * 8;

/** An address in 32-bit words, the most significant first: one for IPv4, four for IPv6. The bits behind the prefix do not matter. */
export interface InsideNetwork {
  readonly words: readonly number[];
  readonly prefixLength: number;
}

/** Replaces all networks. The first 128 of each family count. */
export function writeInsideNetworks(table: Int32Array, networks: readonly InsideNetwork[]): void {
  for (const [at, size] of [[0, 1] as const, [inside6At, 4] as const]) {
    const own = networks.filter(({ words }) => words.length === size).slice(0, mostInsideNetworks);
    table[at] = own.length;
    for (const [i, { words, prefixLength }] of own.entries()) {
      for (const [word, value] of words.entries()) {
        const mask = maskOf(prefixLength - word * 32);
        table[at + 1 + i * size * 2 + word] = value & mask;
        table[at + 1 + i * size * 2 + size + word] = mask;
      }
    }
  }
}

export function isInside(table: Int32Array, address: number): boolean {
  for (let at = 1, end = 1 + table[0]! * 2; at < end; at += 2) {
    if ((address & table[at + 1]!) === table[at]) return true;
  }
  return false;
}

/** `isInside` for IPv6. */
export function isInside6(table: Int32Array, word0: number, word1: number, word2: number, word3: number): boolean {
  for (let at = inside6At + 1, end = at + table[inside6At]! * 8; at < end; at += 8) {
    if (
      (word0 & table[at + 4]!) === table[at] &&
      (word1 & table[at + 5]!) === table[at + 1] &&
      (word2 & table[at + 6]!) === table[at + 2] &&
      (word3 & table[at + 7]!) === table[at + 3]
    )
      return true;
  }
  return false;
}
