import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AddressBook, isName } from "../../../src/tables/address-book.ts";
import { parseAddress } from "../../../src/wire/ipv4.ts";

type Words = [number, number, number, number];
const one: Words = [0x20010db8, 0, 0, 1];
const two: Words = [0x20010db8, 0, 0, 2];

function open(capacity: number): AddressBook {
  return new AddressBook(capacity, 1, 2);
}

describe("a name", () => {
  test("is the same for one address as long as somebody holds it, and gives it back", () => {
    const book = open(4);
    const name = book.take(...one);
    expect(book.take(...one)).toBe(name);
    expect(book.find(...one)).toBe(name);
    expect([0, 1, 2, 3].map((word) => book.word(name, word))).toEqual(one);
    book.release(name);
    expect(book.find(...one)).toBe(name);
    book.release(name);
    expect(book.find(...one)).toBe(0);
    expect(book.count).toBe(0);
  });

  test("is no IPv4 address that a packet may have, and no such address is a name", () => {
    const name = open(4).take(...one);
    expect(isName(name)).toBe(true);
    expect(name).toBe(name | 0);
    for (const text of ["1.0.0.1", "127.0.0.1", "192.0.2.1", "203.0.113.2", "223.255.255.255"])
      expect(isName(parseAddress(text)!), text).toBe(false);
  });

  test("is not found for an address that differs in a single word", () => {
    const book = open(4);
    book.take(...one);
    for (let word = 0; word < 4; word++) {
      const other = one.map((value, i) => (i === word ? value ^ 0x8000_0000 : value)) as Words;
      expect(book.find(...other), `word ${word}`).toBe(0);
    }
  });
});

test("a full book gives no new names, but the ones it has, and new ones when one is given back", () => {
  const book = open(1);
  const name = book.take(...one);
  expect(book.take(...two)).toBe(0);
  expect(book.take(...one)).toBe(name);
  book.release(name);
  book.release(name);
  expect(book.take(...two)).not.toBe(0);
  book.release(0);
  expect(book.count).toBe(1);
});

test("a book does under random operations what a plain map does, and is empty when all is given back", () => {
  const capacity = 6;
  const operation = fc.record({ take: fc.boolean(), which: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const book = open(capacity);
      const held = new Map<number, { name: number; references: number }>();
      for (const { take, which } of operations) {
        const words: Words = [0x20010db8, which, which * 7, -which];
        const known = held.get(which);
        if (take) {
          const name = book.take(...words);
          if (known !== undefined) expect(name).toBe(known.name);
          else expect(name === 0).toBe(held.size === capacity);
          if (name === 0) continue;
          held.set(which, { name, references: (known?.references ?? 0) + 1 });
        } else if (known !== undefined) {
          book.release(known.name);
          if (--known.references === 0) held.delete(which);
        }
        expect(book.find(...words)).toBe(held.get(which)?.name ?? 0);
        expect(book.count).toBe(held.size);
        expect(new Set([...held.values()].map(({ name }) => name)).size).toBe(held.size);
      }
      for (const { name, references } of held.values()) for (let i = 0; i < references; i++) book.release(name);
      expect(book.count).toBe(0);
    }),
  );
});
