/** Membership against the obvious reference: the first bits as text. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type InsideNetwork,
  insideNetworkWords,
  isInside,
  isInside6,
  mostInsideNetworks,
  writeInsideNetworks,
} from "../../../src/tables/inside-networks.ts";

const bitsOf = (words: readonly number[]) => words.map((word) => (word >>> 0).toString(2).padStart(32, "0")).join("");
const holds = ({ words, prefixLength }: InsideNetwork, address: readonly number[]) =>
  words.length === address.length && bitsOf(words).slice(0, prefixLength) === bitsOf(address).slice(0, prefixLength);

const word = fc.oneof(fc.integer(), fc.constantFrom(0, -1, 0xc0a8_0a00 | 0, 1));
const words = (size: number) => fc.array(word, { minLength: size, maxLength: size });
const networks = (size: number) =>
  fc.array(fc.record({ words: words(size), prefixLength: fc.integer({ min: 0, max: size * 32 }) }), { maxLength: 6 });

describe("the networks of the inside", () => {
  test("hold exactly the addresses that begin like one of them, each family its own", () => {
    const table = new Int32Array(insideNetworkWords);
    fc.assert(
      fc.property(networks(1), networks(4), words(1), words(4), fc.nat(5), (four, six, address4, address6, which) => {
        writeInsideNetworks(table, [...six, ...four]);
        const near4 = four[which]?.words ?? address4;
        const near6 = six[which]?.words ?? address6;
        for (const [a] of [address4, near4, near4.map((value) => value ^ 1)])
          expect(isInside(table, a! | 0)).toBe(four.some((network) => holds(network, [a!])));
        for (const [a, b, c, d] of [address6, near6, near6.map((value, i) => (i === 2 ? value ^ 0x8000_0000 : value))])
          expect(isInside6(table, a! | 0, b! | 0, c! | 0, d! | 0)).toBe(
            six.some((network) => holds(network, [a!, b!, c!, d!])),
          );
      }),
      { numRuns: 500 },
    );
  });

  test("hold nothing before any are told, and no more than there is room for", () => {
    const table = new Int32Array(insideNetworkWords);
    expect([isInside(table, 0), isInside6(table, 0, 0, 0, 0)]).toEqual([false, false]);
    const hosts = Array.from({ length: mostInsideNetworks + 1 }, (_, i) => ({ words: [i + 1], prefixLength: 32 }));
    writeInsideNetworks(table, hosts);
    expect([1, mostInsideNetworks, mostInsideNetworks + 1].map((host) => isInside(table, host))).toEqual([
      true,
      true,
      false,
    ]);
    expect(isInside6(table, 0, 0, 0, 1)).toBe(false);
  });
});
