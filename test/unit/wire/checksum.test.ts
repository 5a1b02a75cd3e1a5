import fc from "fast-check";
import { expect, test } from "vitest";
import { applyDelta, applyDeltaPartial, delta16, delta32, fold, sumBytes } from "../../../src/wire/checksum.ts";
import { internetChecksum, pattern } from "../../support/packets.ts";

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

test("the sum of bytes is the reference's, at every length from 0 to 2,000 and at every alignment", () => {
  for (let length = 0; length <= 2000; length++) {
    const at = length % 5;
    const bytes = pattern(length + 8, length);
    expect(~sumBytes(viewOf(bytes), at, length) & 0xffff).toBe(internetChecksum(bytes.subarray(at, at + length)));
  }
});

test("the sum of bytes is the reference's for random and for extreme bytes, up to a super-packet", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.nat(65_535).map((length) => new Uint8Array(length).fill(0xff)),
    fc.nat(65_535).map((length) => new Uint8Array(length)),
    fc.nat(65_535).map((length) => pattern(length)),
  );
  fc.assert(
    fc.property(bytes, (data) => {
      expect(~sumBytes(viewOf(data), 0, data.length) & 0xffff).toBe(internetChecksum(data));
    }),
  );
});

test("a sum may go on from another", () => {
  const bytes = pattern(300);
  const first = sumBytes(viewOf(bytes), 0, 120);
  expect(sumBytes(viewOf(bytes), 120, 180, first)).toBe(sumBytes(viewOf(bytes), 0, 300));
});

test("folding is the remainder modulo 65,535, except that a sum that is not 0 never folds to 0", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (sum) => {
      expect(fold(sum)).toBe(sum === 0 ? 0 : sum % 65_535 || 65_535);
    }),
  );
});

test("a checksum changed by difference equals the one computed anew", () => {
  const change = fc.record({
    bytes: fc.uint8Array({ minLength: 24, maxLength: 64 }).filter((bytes) => bytes.length % 2 === 0),
    address: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    port: fc.integer({ min: 0, max: 65_535 }),
  });
  fc.assert(
    fc.property(change, ({ bytes, address, port }) => {
      const view = viewOf(bytes);
      const before = internetChecksum(bytes);
      const delta = delta32(view.getInt32(4), address) + delta16(view.getUint16(10), port);
      view.setInt32(4, address);
      view.setUint16(10, port);
      expect(same(applyDelta(before, delta))).toBe(same(internetChecksum(bytes)));
    }),
    { numRuns: 2000 },
  );
});

test("a change and its reverse leave the checksum as it was", () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 65_535 }), word, word, (checksum, from, to) => {
      expect(same(applyDelta(applyDelta(checksum, delta32(from, to)), delta32(to, from)))).toBe(same(checksum));
      expect(same(applyDeltaPartial(applyDeltaPartial(checksum, delta32(from, to)), delta32(to, from)))).toBe(
        same(checksum),
      );
    }),
  );
});

test("a partial checksum changed by difference is the pseudo-header's new sum", () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  fc.assert(
    fc.property(word, word, word, fc.nat(65_535), (source, newSource, destination, length) => {
      const before = pseudoHeaderSum(source, destination, length);
      const after = applyDeltaPartial(before, delta32(source, newSource));
      expect(same(after)).toBe(same(pseudoHeaderSum(newSource, destination, length)));
    }),
  );
});

test("the example of RFC 1624, section 4: 0x5555 becoming 0x3285 turns 0xdd2f into 0x0000", () => {
  expect(applyDelta(0xdd2f, delta16(0x5555, 0x3285))).toBe(0);
});

/** 0 and 0xffff are one number to a receiver. */
function same(checksum: number): number {
  return checksum % 0xffff;
}

/** The sum over the pseudo-header of a UDP packet (RFC 768), of its bytes. */
function pseudoHeaderSum(source: number, destination: number, length: number): number {
  const bytes = new Uint8Array(12);
  const view = viewOf(bytes);
  view.setInt32(0, source);
  view.setInt32(4, destination);
  view.setUint8(9, 17);
  view.setUint16(10, length);
  return ~internetChecksum(bytes) & 0xffff;
}
