import { isIPv6 } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatAddress6,
  isForwardable,
  parseAddress6,
  walkEnd,
  walkExtensions,
  walked,
  walkedWords,
} from "../../../src/wire/ipv6.ts";

describe("an address", () => {
  test.each([
    ["::", [0, 0, 0, 0]],
    ["::1", [0, 0, 0, 1]],
    ["2001:db8::a:0:0:1", [0x20010db8, 0, 0x000a_0000, 1]],
    ["fe80::", [0xfe80_0000 | 0, 0, 0, 0]],
    ["::ffff:192.0.2.1", [0, 0, 0xffff, 0xc000_0201 | 0]],
    ["1:2:3:4:5:6:7:8", [0x0001_0002, 0x0003_0004, 0x0005_0006, 0x0007_0008]],
    ["2001:DB8::", [0x20010db8, 0, 0, 0]],
  ])("%s is read", (text, words) => {
    expect(parseAddress6(text)).toEqual(words);
  });

  test("that is none is refused, as node:net refuses it", () => {
    for (const text of [
      ...["", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", "::1%eth0"],
      ...[
        "1:2:3:4:5:6:7::8",
        ":1::2",
        "1::2:",
        "::256.0.0.1",
        "192.0.2.1",
        "::1.2.3",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::/64",
      ],
    ]) {
      expect(parseAddress6(text), text).toBeNull();
      // A zone is an address to node, and none to us: no packet has one.
      if (!text.includes("%")) expect(isIPv6(text), text).toBe(false);
    }
  });

  test.each([
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:0:0:0:0:0:0", "1::"],
  ])("%s is written %s (RFC 5952)", (long, short) => {
    expect(formatAddress6(parseAddress6(long)!)).toBe(short);
  });

  test("that was written is read as it was", () => {
    const word = fc.oneof(fc.constant(0), fc.integer(), fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), (words) => {
        const text = formatAddress6([7, ...words], 1);
        expect(isIPv6(text)).toBe(true);
        expect(parseAddress6(text)).toEqual(words.map((each) => each | 0));
      }),
    );
  });
});

test.each([
  ["2001:db8::1", true],
  ["fd00::2", true],
  ["fec0::1", true],
  ["::", false],
  ["::1", false],
  ["::192.0.2.1", false],
  ["::ffff:192.0.2.1", false],
  ["fe80::1", false],
  ["febf::1", false],
  ["ff02::1", false],
  ["ff0e::1", false],
])("whether %s may be forwarded: %s", (text, expected) => {
  const [word0, word1, word2] = parseAddress6(text)!;
  expect(isForwardable(word0!, word1!, word2!)).toBe(expected);
});

/** A header whose first next header is given, and what follows it. */
function packet(first: number, ...parts: number[][]): { view: DataView; end: number } {
  const bytes = Uint8Array.from([0x60, 0, 0, 0, 0, 0, first, 64, ...new Array<number>(32).fill(0), ...parts.flat()]);
  return { view: new DataView(bytes.buffer), end: bytes.length };
}

function walk({ view, end }: { view: DataView; end: number }): { end: number; found: number[] } {
  const found = new Int32Array(walkedWords);
  return { end: walkExtensions(view, 0, end, found), found: [...found] };
}

const options = (next: number, length = 0) => [next, length, ...new Array<number>(6 + 8 * length).fill(0)];
const fragment = (next: number, field: number) => [next, 0, field >> 8, field & 255, 1, 2, 3, 4];

describe("the walk over extension headers", () => {
  test("finds the upper layer at once where there are none", () => {
    const { end, found } = walk(packet(17));
    expect(end).toBe(walkEnd.ok);
    expect([found[walked.l4], found[walked.protocol], found[walked.fragment]]).toEqual([40, 17, 0]);
  });

  test("steps over hop-by-hop and destination options, spent routing headers and the fragment header", () => {
    const spent = [60, 0, 4, 0, 0, 0, 0, 0];
    const { end, found } = walk(packet(0, options(43, 1), spent, options(44, 2), fragment(6, 1), [1]));
    expect(end).toBe(walkEnd.ok);
    expect(found).toEqual([40 + 16 + 8 + 24 + 8, 6, 40 + 16 + 8 + 24]);
  });

  test("ends at a later fragment, whatever its bytes look like", () => {
    const { end, found } = walk(packet(44, fragment(0, 0x0008), options(6)));
    expect(end).toBe(walkEnd.ok);
    expect(found).toEqual([48, 0, 40]);
  });

  test.each([50, 51, 59, 135])("takes protocol %i for an upper layer", (protocol) => {
    expect(walk(packet(60, options(protocol))).found).toEqual([48, protocol, 0]);
  });

  test.each([
    ["one that begins beyond the end", packet(60, [17, 0, 0])],
    ["one that ends beyond the end", packet(60, options(17, 1).slice(0, 9))],
    ["hop-by-hop options that are not the first", packet(60, options(0), options(17))],
    ["two fragment headers", packet(44, fragment(44, 1), fragment(17, 1))],
    ["nine of them", packet(60, ...Array.from({ length: 9 }, () => options(60)))],
  ])("refuses %s", (_, given) => {
    expect(walk(given).end).toBe(walkEnd.malformed);
  });

  test("takes eight of them", () => {
    const { end, found } = walk(packet(60, ...Array.from({ length: 8 }, (_, i) => options(i === 7 ? 17 : 60))));
    expect([end, found[walked.l4]]).toEqual([walkEnd.ok, 104]);
  });

  test("refuses source routes: type 0, and any other with places left", () => {
    expect(walk(packet(43, [17, 0, 0, 0, 0, 0, 0, 0])).end).toBe(walkEnd.sourceRoute);
    expect(walk(packet(43, [17, 0, 4, 1, 0, 0, 0, 0])).end).toBe(walkEnd.sourceRoute);
  });

  test("stays within the packet, whatever stands there", () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 43, 44, 60, 6), fc.uint8Array({ maxLength: 120 }), (first, rest) => {
        const given = packet(first, [...rest]);
        const { end, found } = walk(given);
        if (end !== walkEnd.ok) return;
        expect(found[walked.l4]).toBeGreaterThanOrEqual(40);
        expect(found[walked.l4]).toBeLessThanOrEqual(given.end);
      }),
    );
  });
});
