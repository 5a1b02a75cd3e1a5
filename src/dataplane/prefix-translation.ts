/**
 * Prefix translation (RFC 6296): each inside address has an outside address of its own, which has the
 * provider's prefix instead of ours and one more word changed, so that all words still add up to the same:
 * checksums stay right, also those of protocols that we do not know.
 *
 * Prefixes of different lengths count as long as the longer, the shorter one padded with zeros. The word
 * that is adjusted is the subnet's (bits 48 to 63) where the prefixes leave it, else the first of the
 * interface identifier that is not 0xffff (sections 3.4 and 3.5). An address without such a word is not translated.
 */
import { type Prefix6, prefixMasks } from "../tables/prefix6.ts";
import { fold } from "../wire/checksum.ts";

/** The longest prefix that leaves the subnet's word to be adjusted. */
const longestWithSubnet = 48;
const wordsOfAddress = 4;
const halvesOfAddress = 8;
const subnetHalf = 3;
const identifierHalf = 4;

export class PrefixTranslation {
  /** The four words that the last translation gave. */
  readonly result = new Int32Array(wordsOfAddress);
  readonly #inside: readonly number[];
  readonly #outside: readonly number[];
  readonly #mask0: number;
  readonly #mask1: number;
  readonly #firstHalf: number;
  readonly #lastHalf: number;
  /** What is added to the adjusted word on the way out, and on the way in. */
  readonly #outward: number;
  readonly #inward: number;

  /** Both prefixes have at most 64 bits. */
  constructor(inside: Prefix6, outside: Prefix6) {
    const length = Math.max(inside.length, outside.length);
    [this.#mask0, this.#mask1] = prefixMasks(length);
    this.#inside = padded(inside);
    this.#outside = padded(outside);
    this.#firstHalf = length <= longestWithSubnet ? subnetHalf : identifierHalf;
    this.#lastHalf = length <= longestWithSubnet ? subnetHalf : halvesOfAddress - 1;
    const insideSum = sumOf(this.#inside);
    const outsideSum = sumOf(this.#outside);
    this.#outward = fold(insideSum + (~outsideSum & 0xffff));
    this.#inward = fold(outsideSum + (~insideSum & 0xffff));
  }

  /** Whether an address has the outside prefix. */
  isOutside(word0: number, word1: number): boolean {
    return (word0 & this.#mask0) === this.#outside[0] && (word1 & this.#mask1) === this.#outside[1];
  }

  /** Writes the outside address of an inside one to `result`; false when it has none. */
  toOutside(word0: number, word1: number, word2: number, word3: number): boolean {
    if ((word0 & this.#mask0) !== this.#inside[0] || (word1 & this.#mask1) !== this.#inside[1]) return false;
    return this.#translate(word0, word1, word2, word3, this.#outside, this.#outward);
  }

  /** Writes the inside address of an outside one to `result`; false when it has none. */
  toInside(word0: number, word1: number, word2: number, word3: number): boolean {
    if (!this.isOutside(word0, word1)) return false;
    return this.#translate(word0, word1, word2, word3, this.#inside, this.#inward);
  }

  #translate(
    word0: number,
    word1: number,
    word2: number,
    word3: number,
    prefix: readonly number[],
    adjustment: number,
  ): boolean {
    const { result } = this;
    result[0] = prefix[0]! | (word0 & ~this.#mask0);
    result[1] = prefix[1]! | (word1 & ~this.#mask1);
    result[2] = word2;
    result[3] = word3;
    for (let half = this.#firstHalf; half <= this.#lastHalf; half++) {
      const word = result[half >> 1]!;
      const old = (half & 1) === 0 ? word >>> 16 : word & 0xffff;
      if (old === 0xffff) continue;
      const sum = fold(old + adjustment);
      // Of the two forms of zero only one can be turned back.
      const adjusted = sum === 0xffff ? 0 : sum;
      result[half >> 1] = (half & 1) === 0 ? (adjusted << 16) | (word & 0xffff) : (word & ~0xffff) | adjusted;
      return true;
    }
    return false;
  }
}

/** The first two words of a prefix, zeros behind its length. */
function padded({ words, length }: Prefix6): readonly number[] {
  const [mask0, mask1] = prefixMasks(length);
  return [words[0]! & mask0, words[1]! & mask1];
}

function sumOf(words: readonly number[]): number {
  return fold(words.reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0));
}
