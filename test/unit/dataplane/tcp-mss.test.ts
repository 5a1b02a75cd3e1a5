import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clampMss, findOption } from "../../../src/dataplane/tcp-mss.ts";
import { concat, parse, SYN, tcp, words } from "../../support/packets.ts";

const l4 = 20;

/** A SYN with these options, clamped to this MTU. */
function clamped(tcpOptions: Uint8Array, mtu: number, checksum: "right" | "wrong" | "partial" = "right"): Uint8Array {
  const packet = tcp({ source: "192.0.2.1:1", destination: "198.51.100.1:2", flags: SYN, tcpOptions, checksum });
  const view = new DataView(packet.buffer);
  clampMss(view, l4, l4 + ((packet[l4 + 12]! >> 4) << 2), mtu, checksum === "partial");
  return packet;
}

const optionsOf = (packet: Uint8Array) => packet.slice(l4 + 20, l4 + ((packet[l4 + 12]! >> 4) << 2));
const mss = (value: number) => concat(Uint8Array.of(2, 4), words(value));
const nops = (count: number) => new Uint8Array(count).fill(1);

/** Options that are well formed and not the one sought, of any length, so that what follows stands anywhere. */
const filler = fc.oneof(
  fc.constant(Uint8Array.of(1)),
  fc
    .tuple(fc.constantFrom(3, 4, 5, 8, 30, 254), fc.uint8Array({ maxLength: 7 }))
    .map(([kind, data]) => concat(Uint8Array.of(kind, data.length + 2), data)),
);

describe("the maximum segment size", () => {
  test("is lowered to the MTU less 40 bytes, and never raised", () => {
    for (const [offered, mtu, expected] of [
      [1460, 1500, 1460],
      [1461, 1500, 1460],
      [65_535, 1500, 1460],
      [1460, 1400, 1360],
      [1360, 1400, 1360],
      [536, 1500, 536],
      [1, 1500, 1],
      [0, 1500, 0],
      [1460, 68, 28],
      [8960, 9000, 8960],
      [65_535, 65_535, 65_495],
    ] as const)
      expect(optionsOf(clamped(mss(offered), mtu)), `${offered} at ${mtu}`).toEqual(mss(expected));
  });

  test("is found behind any options, at even and odd places, and the checksum is right or wrong as it was", () => {
    const before = fc.array(filler, { maxLength: 6 }).map((parts) => concat(...parts));
    const word = fc.integer({ min: 0, max: 65_535 });
    const mtu = fc.integer({ min: 68, max: 65_535 });
    fc.assert(
      fc.property(before, word, mtu, fc.constantFrom("right", "wrong"), (front, offered, mtu, checksum) => {
        fc.pre(front.length <= 36);
        const packet = clamped(concat(front, mss(offered)), mtu, checksum);
        const expected = Math.min(offered, mtu - 40);
        expect(optionsOf(packet).slice(0, front.length + 4)).toEqual(concat(front, mss(expected)));
        expect(parse(packet).checksumOk).toBe(checksum === "right");
      }),
      { numRuns: 2000 },
    );
  });

  test("changes a checksum as the book would compute it, at an odd place too, for every value it could have had", () => {
    for (const front of [nops(0), nops(1)]) {
      for (let offered = 0; offered < 65_536; offered += 257)
        expect(parse(clamped(concat(front, mss(offered)), 576)).checksumOk, `${offered}`).toBe(true);
    }
  });

  test("leaves a partial checksum as it is: the sum over the pseudo-header has no options in it", () => {
    const before = clamped(mss(1460), 1500, "partial");
    const after = clamped(mss(1460), 1400, "partial");
    expect(parse(after).checksum).toBe(parse(before).checksum);
    expect(optionsOf(after)).toEqual(mss(1360));
  });

  test.each([
    ["no options", new Uint8Array()],
    ["an option of another length", concat(Uint8Array.of(2, 3, 255, 1), Uint8Array.of(2, 6), words(9000, 0), nops(2))],
    ["its kind as another option's data", concat(Uint8Array.of(254, 6), mss(9000), nops(2))],
    ["one after the end of the list", concat(Uint8Array.of(0, 0, 0, 0), mss(9000))],
    ["one behind an option of length 0", concat(Uint8Array.of(3, 0, 1, 1), mss(9000))],
    ["one behind an option of length 1", concat(Uint8Array.of(3, 1, 1, 1), mss(9000))],
    ["one behind an option beyond the header", concat(Uint8Array.of(3, 200, 1, 1), mss(9000))],
    ["one that the header cuts off", concat(nops(1), Uint8Array.of(2, 4, 255))],
    ["a kind alone at the end", concat(nops(3), Uint8Array.of(2))],
  ])("is left alone where there is %s", (_, options) => {
    expect(optionsOf(clamped(options, 576))).toEqual(options);
    expect(parse(clamped(options, 576)).checksumOk).toBe(true);
  });
});

test("the walk over options ends, and within the header, whatever they hold", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(255), fc.nat(40), (options, kind, size) => {
      // A reader that leaves the header leaves the buffer, and throws.
      const view = new DataView(concat(new Uint8Array(20), options).buffer);
      const at = findOption(view, 0, 20 + options.length, kind, size);
      if (at >= 0) expect([view.getUint8(at), at + size <= view.byteLength]).toEqual([kind, true]);
    }),
    { numRuns: 3000 },
  );
});
