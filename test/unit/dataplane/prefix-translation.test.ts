import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PrefixTranslation } from "../../../src/dataplane/prefix-translation.ts";
import { formatAddress6, parseAddress6 } from "../../../src/wire/ipv6.ts";
import { internetChecksum } from "../../support/packets.ts";
import { address6Bytes, address6Text } from "../../support/packets6.ts";

function open(inside: string, outside: string): PrefixTranslation {
  return new PrefixTranslation(prefix(inside), prefix(outside));
}

function prefix(text: string): { words: number[]; length: number } {
  const [address, length] = text.split("/") as [string, string];
  return { words: parseAddress6(address)!, length: Number(length) };
}

function translate(translation: PrefixTranslation, which: "toOutside" | "toInside", text: string): string | null {
  const [word0, word1, word2, word3] = parseAddress6(text) as [number, number, number, number];
  return translation[which](word0, word1, word2, word3) ? formatAddress6(translation.result) : null;
}

describe("prefix translation", () => {
  test("does the example of RFC 6296", () => {
    const translation = open("fd01:203:405::/48", "2001:db8:1::/48");
    expect(translate(translation, "toOutside", "fd01:203:405:1::1234")).toBe("2001:db8:1:d550::1234");
    expect(translate(translation, "toInside", "2001:db8:1:d550::1234")).toBe("fd01:203:405:1::1234");
  });

  test.each([
    ["fd00:10::/48", "2001:db8:a::/48", "fd00:10:0:ffff::1", "the subnet is 0xffff"],
    ["fd00:10::/64", "2001:db8:a:b::/64", "fd00:10::ffff:ffff:ffff:ffff", "no word is left to adjust"],
    ["fd00:10::/48", "2001:db8:a::/48", "fd00:11::1", "it has another prefix"],
    ["fd00:10::/48", "2001:db8:a:100::/56", "fd00:10:0:100::1", "the outside prefix leaves it no room"],
  ])("from %s to %s leaves %s alone: %s", (inside, outside, address) => {
    expect(translate(open(inside, outside), "toOutside", address)).toBeNull();
  });

  test("adjusts the first word of the identifier that is not 0xffff where prefixes are longer than 48 bits", () => {
    const translation = open("fd00:10::/64", "2001:db8:a:b::/64");
    const outside = translate(translation, "toOutside", "fd00:10::ffff:1:2:3")!;
    expect(outside).toMatch(/^2001:db8:a:b:ffff:[0-9a-f]+:2:3$/);
    expect(translate(translation, "toInside", outside)).toBe("fd00:10::ffff:1:2:3");
  });

  test("turns every address back into itself, and leaves every sum of its words as it was", () => {
    const pairs: [string, string][] = [
      ["fd00:10::/48", "2001:db8:a::/48"],
      ["fd00::/16", "2001::/16"],
      ["fd00:10::/64", "2001:db8:a:b::/64"],
      ["fd00:10:20::/48", "2001:db8:a:b00::/56"],
      ["fd00:10:20:3000::/52", "2001:db8::/32"],
      ["fd00:10::/49", "2001:db8:a:8000::/49"],
      // Sums that are the same, and one that makes 0xffff.
      ["fd00:10::/32", "fd00:10::/32"],
      ["fffe::/16", "1::/16"],
    ];
    const half = fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0xffff, 1, 0xfffe));
    fc.assert(
      fc.property(fc.constantFrom(...pairs), fc.tuple(half, half, half, half, half, half), ([inside, outside], low) => {
        const translation = open(inside, outside);
        const bytes = address6Bytes(inside.split("/")[0]!);
        const longest = Math.max(...[inside, outside].map((text) => Number(text.split("/")[1])));
        // What lies behind both prefixes is arbitrary.
        for (const [i, value] of low.entries())
          for (let bit = 0; bit < 16; bit++) {
            const at = 32 + i * 16 + bit;
            if (at >= longest && ((value >> (15 - bit)) & 1) === 1) bytes[at >> 3]! |= 0x80 >> (at & 7);
          }
        const address = address6Text(bytes);
        const translated = translate(translation, "toOutside", address);
        if (translated === null) return;
        expect(translate(translation, "toInside", translated)).toBe(address);
        const sums = [bytes, address6Bytes(translated)].map((each) => internetChecksum(each) % 0xffff);
        expect(sums[0]).toBe(sums[1]);
        expect(translation.isOutside(...(parseAddress6(translated)!.slice(0, 2) as [number, number]))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
