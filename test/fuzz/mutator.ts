/** Makes an input out of others: one to eight small changes on top of each other, as AFL's "havoc" stage does. */
import { concat } from "../support/packets.ts";
import type { Instrumented } from "./instrument.ts";

const interesting = [0, 1, 2, 4, 6, 8, 14, 16, 17, 20, 24, 28, 40, 64, 127, 128, 192, 254, 255];
const mostChanges = 8;
const longestPiece = 32;

export class Mutator {
  readonly #random: () => number;
  readonly #dictionary: readonly Uint8Array[];
  readonly #mostBytes: number;

  constructor(random: () => number, { numbers, texts }: Instrumented["words"], mostBytes: number) {
    this.#random = random;
    this.#mostBytes = mostBytes;
    this.#dictionary = [
      ...[...numbers].flatMap(encodings),
      ...[...texts].map((text) => new TextEncoder().encode(text)),
    ];
  }

  /** `input` changed; `other` lends pieces. */
  change(input: Uint8Array, other: Uint8Array): Uint8Array {
    let bytes: Uint8Array = input.slice();
    for (let left = 1 + this.#below(mostChanges); left > 0; left--) bytes = this.#once(bytes, other);
    return bytes.subarray(0, this.#mostBytes);
  }

  #once(bytes: Uint8Array, other: Uint8Array): Uint8Array {
    const at = this.#below(bytes.length + 1);
    const piece = Math.min(1 + this.#below(this.#below(longestPiece) + 1), bytes.length - at);
    switch (this.#below(10)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << this.#below(8));
        return bytes;
      case 1:
        bytes[at] = interesting[this.#below(interesting.length)]!;
        return bytes;
      case 2:
        bytes[at] = bytes[at]! + this.#below(33) - 16;
        return bytes;
      case 3:
        bytes[at] = this.#below(256);
        return bytes;
      case 4:
        return this.#replace(bytes, at, piece, new Uint8Array());
      case 5:
        return this.#replace(
          bytes,
          at,
          0,
          Uint8Array.from({ length: 1 + this.#below(8) }, () => this.#below(256)),
        );
      case 6:
        return this.#replace(bytes, at, 0, bytes.slice(at, at + piece));
      case 7: {
        const word = this.#dictionary[this.#below(this.#dictionary.length)] ?? new Uint8Array(1);
        return this.#replace(bytes, at, this.#below(4) === 0 ? 0 : word.length, word);
      }
      case 8: {
        const from = this.#below(other.length + 1);
        const lent = other.slice(from, from + 1 + this.#below(longestPiece * 4));
        return this.#replace(bytes, at, this.#below(2) === 0 ? 0 : lent.length, lent);
      }
      default:
        return this.#below(4) === 0
          ? concat(bytes.subarray(0, at), other.subarray(this.#below(other.length + 1)))
          : bytes;
    }
  }

  #replace(bytes: Uint8Array, at: number, length: number, by: Uint8Array): Uint8Array {
    return concat(bytes.subarray(0, at), by, bytes.subarray(Math.min(at + length, bytes.length)));
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** A number as a packet may have it: the fewest bytes, and two and four in either order. */
function encodings(number: number): Uint8Array[] {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt32(0, number | 0);
  const bytes = new Uint8Array(view.buffer);
  if (number >= 0 && number < 256) return [bytes.slice(3), bytes.slice(2)];
  const forward = number >= 0 && number < 65_536 ? bytes.slice(2) : bytes.slice();
  return [forward, forward.toReversed()];
}
