/**
 * A cache of small numbers that all threads share: a hash -> a byte, until some second. For what is worth remembering
 * but nothing depends on: which uplink a source sticks to, which is nearest to a destination, whose address a name has.
 *
 * Sets of four entries, two words each: [upper 24 bits of the hash, value] and the second at which it ends. Whoever
 * writes first ends the entry and then fills it, without a lock; a reader that comes in between misses, and two writers
 * at once leave one of their entries. Strangers share an entry when 24 bits and the set are equal, one in millions.
 */
const ways = 4;
const entryWords = 2;
const valueMask = 0xff;

/** Bytes for so many entries, a power of two from 4. */
export function sharedCacheBytes(entries: number): number {
  return entries * entryWords * 4;
}

export class SharedCache {
  readonly #words: Int32Array;
  readonly #setMask: number;

  constructor(buffer: SharedArrayBuffer, byteOffset: number, entries: number) {
    this.#words = new Int32Array(buffer, byteOffset, entries * entryWords);
    this.#setMask = entries / ways - 1;
  }

  /** The value, 0 to 255, or -1. `nowS`: seconds on the clock that all threads share. */
  get(hash: number, nowS: number): number {
    const words = this.#words;
    const first = (hash & this.#setMask) * ways * entryWords;
    for (let at = first; at < first + ways * entryWords; at += entryWords) {
      if (((words[at]! ^ hash) & ~valueMask) === 0 && words[at + 1]! > nowS) return words[at]! & valueMask;
    }
    return -1;
  }

  /** Remembers a value until a second; the entry of the set that would have ended first gives way. */
  set(hash: number, value: number, untilS: number): void {
    const words = this.#words;
    const first = (hash & this.#setMask) * ways * entryWords;
    let place = first;
    for (let at = first; at < first + ways * entryWords; at += entryWords) {
      if (((words[at]! ^ hash) & ~valueMask) === 0) {
        place = at;
        break;
      }
      if (words[at + 1]! < words[place + 1]!) place = at;
    }
    Atomics.store(words, place + 1, 0);
    words[place] = (hash & ~valueMask) | value;
    Atomics.store(words, place + 1, untilS);
  }

  clear(): void {
    this.#words.fill(0);
  }
}
