import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashWords } from "../../../src/tables/hash.ts";
import { HashIndex } from "../../../src/tables/hash-index.ts";
import { randomFrom } from "../../support/packets.ts";

/** An owner of rows as the tables are: every row has a key, and a hash that the test chooses. */
class Rows {
  readonly index: HashIndex;
  readonly #hashOfKey: (key: number) => number;
  readonly #keys: number[] = [0];
  readonly #free: number[] = [];
  readonly model = new Map<number, number>();

  constructor(capacity: number, hashOfKey: (key: number) => number) {
    this.index = new HashIndex(capacity, capacity);
    this.#hashOfKey = hashOfKey;
  }

  find(key: number): number {
    const { index } = this;
    const hash = this.#hashOfKey(key);
    for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
      if (this.#keys[index.idAt(slot)] === key) return index.idAt(slot);
    }
    return 0;
  }

  insert(key: number): void {
    const id = this.#free.pop() ?? this.#keys.length;
    this.#keys[id] = key;
    this.index.insert(this.#hashOfKey(key), id);
    this.model.set(key, id);
  }

  remove(key: number): void {
    const id = this.model.get(key)!;
    this.index.remove(this.#hashOfKey(key), id, (other) => this.#hashOfKey(this.#keys[other]!));
    this.model.delete(key);
    this.#free.push(id);
  }

  expectSame(keys: Iterable<number>): void {
    for (const key of keys) {
      if (this.find(key) !== (this.model.get(key) ?? 0)) throw new Error(`key ${key} is not what the model says`);
    }
  }
}

const mixed = (key: number) => hashWords(1, 2, key, 0, 0, 0);
const hashes: [string, (key: number) => number][] = [
  ["well mixed", mixed],
  ["all the same", () => 12_345],
  ["all in one slot, with different tags", (key) => (key << 16) | 7],
  ["all in the last slots, so that clusters wrap", (key) => (key << 20) | (0xffff - (key % 3))],
  ["one long cluster of neighbouring homes", (key) => key % 40],
  ["negative", (key) => -1 - (key % 5)],
];

describe.each(hashes)("with hashes that are %s", (_, hashOf) => {
  test("the index finds what a Map would, after any insertions and removals", () => {
    const key = fc.nat(120);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), key), { maxLength: 400 }), (operations) => {
        const rows = new Rows(100, hashOf);
        for (const [isRemoval, each] of operations) {
          const has = rows.model.has(each);
          if (isRemoval && has) rows.remove(each);
          else if (!isRemoval && !has && rows.model.size < 100) rows.insert(each);
        }
        rows.expectSame(Array.from({ length: 121 }, (_, i) => i));
      }),
      { numRuns: 150 },
    );
  });

  test("a full index finds everything, and nothing once it is emptied again in another order", () => {
    const rows = new Rows(100, hashOf);
    const keys = Array.from({ length: 100 }, (_, i) => i);
    for (const key of keys) rows.insert(key);
    rows.expectSame([...keys, 100, 101]);
    for (const key of keys.toSorted((a, b) => ((a * 37) % 100) - ((b * 37) % 100))) {
      rows.remove(key);
      rows.expectSame(keys);
    }
    for (const key of keys) expect(rows.find(key)).toBe(0);
  });
});

test("a hundred thousand insertions and removals leave no trace: lookups stay as short as in a new index", () => {
  const rows = new Rows(1000, mixed);
  const random = randomFrom(3);
  for (let i = 0; i < 100_000; i++) {
    const key = Math.floor(random() * 2000);
    if (rows.model.has(key)) rows.remove(key);
    else if (rows.model.size < 1000) rows.insert(key);
  }
  rows.expectSame(Array.from({ length: 2000 }, (_, i) => i));
  for (const key of [...rows.model.keys()]) rows.remove(key);
  let used = 0;
  for (let slot = 0; slot <= rows.index.mask; slot++) if (rows.index.idAt(slot) !== 0) used++;
  expect(used).toBe(0);
});

test("ids up to the largest are told apart, at sizes around powers of two", () => {
  for (const largest of [1, 2, 3, 7, 8, 9, 1023, 1024, 1025, 65_535, 65_536]) {
    const index = new HashIndex(4, largest);
    index.insert(0x7fff_ffff, largest);
    index.insert(-1, 1);
    const ids = (hash: number) => {
      const found: number[] = [];
      for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) found.push(index.idAt(slot));
      return found;
    };
    expect(ids(0x7fff_ffff)).toContain(largest);
    expect(ids(-1)).toContain(1);
    expect(index.bytes).toBe(16 * 4);
  }
});

test("an id that is not there can't be removed, and too many ids are refused at once", () => {
  const index = new HashIndex(4, 4);
  index.insert(5, 1);
  expect(() => index.remove(6, 1, () => 0)).toThrow("id 1 is not in the index");
  expect(() => new HashIndex(4, 2 ** 30)).toThrow(/at most 2\^30/);
});

describe("the hash", () => {
  test("is HalfSipHash-1-3 over the four words, as worked out with big integers", () => {
    const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(word, word, word, word, word, word, (key0, key1, a, b, c, d) => {
        expect(hashWords(key0, key1, a, b, c, d)).toBe(halfSipHash(key0, key1, [a, b, c, d]));
      }),
    );
  });

  test("spreads neighbouring tuples evenly over slots and tags", () => {
    const slots = new Array<number>(256).fill(0);
    const tags = new Array<number>(256).fill(0);
    for (let port = 0; port < 65_536; port++) {
      const hash = hashWords(1, 2, 0xc0a8_0a02 | 0, 0xc000_020a | 0, (port << 16) | 443, 6);
      slots[hash & 255]!++;
      tags[hash >>> 24]!++;
    }
    for (const count of [...slots, ...tags]) expect(Math.abs(count - 256)).toBeLessThan(100);
  });

  test("depends on either half of its key and on every word", () => {
    const words = [1, 2, 3, 4, 5, 6] as const;
    const base = hashWords(...words);
    for (let i = 0; i < 6; i++) {
      const changed = [...words] as [number, number, number, number, number, number];
      changed[i]! ^= 0x100;
      expect(hashWords(...changed), `word ${i}`).not.toBe(base);
    }
  });
});

/** The paper's round with 32-bit words, one compression a word and three rounds to finish; no length block, as all inputs have one length. */
function halfSipHash(key0: number, key1: number, words: number[]): number {
  const mask = 0xffff_ffffn;
  const unsigned = (value: number) => BigInt(value >>> 0);
  const rotate = (value: bigint, by: bigint) => ((value << by) | (value >> (32n - by))) & mask;
  const [k0, k1] = [unsigned(key0), unsigned(key1)];
  let [v0, v1, v2, v3] = [k0, k1, 0x6c79_6765n ^ k0, 0x7465_6462n ^ k1];
  const round = () => {
    v0 = (v0 + v1) & mask;
    v1 = rotate(v1, 5n) ^ v0;
    v0 = rotate(v0, 16n);
    v2 = (v2 + v3) & mask;
    v3 = rotate(v3, 8n) ^ v2;
    v0 = (v0 + v3) & mask;
    v3 = rotate(v3, 7n) ^ v0;
    v2 = (v2 + v1) & mask;
    v1 = rotate(v1, 13n) ^ v2;
    v2 = rotate(v2, 16n);
  };
  for (const word of words.map(unsigned)) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number(v1 ^ v3) | 0;
}
