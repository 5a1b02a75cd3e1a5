import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isError, isQuery, isReply } from "../../../src/wire/icmp.ts";
import {
  formatAddress,
  hasSourceRoute,
  headerBytes,
  headerChecksumOk,
  isUnicastSource,
  parseAddress,
  setHeaderChecksum,
} from "../../../src/wire/ipv4.ts";
import { ack, fin, flagsValid, rst, syn } from "../../../src/wire/tcp.ts";
import { clearVnetHeader, moveVnetHeader, offloadOf } from "../../../src/wire/vnet.ts";
import { internetChecksum, ip, PSH, readVnetHeader, URG, type VnetFields, vnetHeader } from "../../support/packets.ts";

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const address = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

describe("an address", () => {
  test("is the same after it was written out and read again", () => {
    fc.assert(
      fc.property(address, (value) => {
        expect(parseAddress(formatAddress(value))).toBe(value);
      }),
    );
  });

  test("is read in network order, as a signed number", () => {
    expect(parseAddress("192.0.2.1")).toBe(0xc000_0201 | 0);
    expect(parseAddress("0.0.0.0")).toBe(0);
    expect(parseAddress("255.255.255.255")).toBe(-1);
    expect(parseAddress("127.255.255.255")).toBe(0x7fff_ffff);
  });

  test("is nothing but a dotted quad", () => {
    const others = [
      "",
      "1",
      "1.2.3",
      "1.2.3.4.5",
      "256.0.0.1",
      "1.2.3.999",
      "1.2.3.-4",
      " 1.2.3.4",
      "1.2.3.4\n",
      "a.b.c.d",
    ];
    for (const text of [...others, "1..2.3", "0x1.2.3.4", "1.2.3.4/24", "::1"])
      expect(parseAddress(text), text).toBeNull();
  });

  test("may send unless it is in 0/8, 127/8, multicast, class E or broadcast", () => {
    const may = (text: string) => isUnicastSource(parseAddress(text)!);
    const can = ["1.0.0.0", "10.0.0.1", "126.255.255.255", "128.0.0.0", "192.0.2.1", "223.255.255.255"];
    const cannot = [
      "0.0.0.0",
      "0.255.255.255",
      "127.0.0.0",
      "127.255.255.255",
      "224.0.0.0",
      "240.0.0.0",
      "255.255.255.255",
    ];
    expect(can.filter((text) => !may(text))).toEqual([]);
    expect(cannot.filter(may)).toEqual([]);
  });
});

describe("an IPv4 header", () => {
  const header = fc.record({
    source: address.map(formatAddress),
    destination: address.map(formatAddress),
    protocol: fc.nat(255),
    identification: fc.nat(65_535),
    ttl: fc.nat(255),
    tos: fc.nat(255),
    options: fc.uint8Array({ maxLength: 40 }),
  });

  test("has a right checksum exactly when the reference says so, whatever its length", () => {
    fc.assert(
      fc.property(header, fc.boolean(), fc.nat(65_535), (fields, isBroken, noise) => {
        const packet = ip({ ...fields, payload: new Uint8Array(3) });
        const view = viewOf(packet);
        if (isBroken) view.setUint16(10, noise);
        const bytes = headerBytes(view, 0);
        expect(headerChecksumOk(view, 0, bytes)).toBe(internetChecksum(packet.subarray(0, bytes)) === 0);
      }),
      { numRuns: 2000 },
    );
  });

  test("of 20 bytes is found wrong when any one of its bits is", () => {
    const packet = ip({ source: "192.0.2.1", destination: "198.51.100.1", protocol: 6, payload: new Uint8Array() });
    for (let bit = 0; bit < 160; bit++) {
      packet[bit >> 3]! ^= 1 << (bit & 7);
      expect(headerChecksumOk(viewOf(packet), 0, 20), `bit ${bit}`).toBe(false);
      packet[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect(headerChecksumOk(viewOf(packet), 0, 20)).toBe(true);
  });

  test("of zeros has no right checksum, of ones has", () => {
    expect(headerChecksumOk(viewOf(new Uint8Array(20)), 0, 20)).toBe(false);
    expect(headerChecksumOk(viewOf(new Uint8Array(20).fill(0xff)), 0, 20)).toBe(true);
  });

  test("gets the checksum that the reference computes", () => {
    fc.assert(
      fc.property(header, (fields) => {
        const packet = ip({ ...fields, payload: new Uint8Array() });
        const expected = packet.slice();
        viewOf(packet).setUint16(10, 0x1234);
        setHeaderChecksum(viewOf(packet), 0);
        expect(packet).toEqual(expected);
      }),
    );
  });
});

describe("options", () => {
  const source = (options: number[]) => {
    const packet = ip({
      source: "192.0.2.1",
      destination: "198.51.100.1",
      protocol: 6,
      payload: Uint8Array.of(131, 137, 131),
      options: Uint8Array.from(options),
    });
    return hasSourceRoute(viewOf(packet), 0, headerBytes(viewOf(packet), 0));
  };

  test("hold a source route, loose or strict, anywhere in the list", () => {
    for (const kind of [131, 137]) {
      expect(source([kind, 7, 4, 192, 0, 2, 1])).toBe(true);
      expect(source([1, 1, kind, 3, 4])).toBe(true);
      expect(source([7, 7, 4, 0, 0, 0, 0, kind, 3, 4])).toBe(true);
      expect(source([1, 1, 1, kind])).toBe(true);
    }
  });

  test("hold none in another option's data, after the end, or behind nonsense", () => {
    expect(source([])).toBe(false);
    expect(source([7, 7, 4, 131, 137, 131, 0, 0])).toBe(false);
    expect(source([0, 131, 3, 4])).toBe(false);
    expect(source([0, 2, 131, 3])).toBe(false);
    expect(source([7, 1, 131, 3])).toBe(false);
    expect(source([7, 200, 131, 3])).toBe(false);
  });

  test("of any kind are read to their end, and never beyond the header", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (options) => {
        const packet = ip({
          source: "192.0.2.1",
          destination: "198.51.100.1",
          protocol: 6,
          payload: new Uint8Array(),
          options,
        });
        // A reader that leaves the header leaves the buffer, and throws.
        expect(typeof hasSourceRoute(viewOf(packet), 0, packet.length)).toBe("boolean");
      }),
    );
  });
});

test("TCP flags are valid exactly when one of SYN, RST and plain is set, and FIN only with ACK alone", () => {
  for (let flags = 0; flags < 256; flags++) {
    const has = (flag: number) => (flags & flag) !== 0;
    const valid = has(syn) ? !has(fin) && !has(rst) : has(rst) ? !has(fin) : has(ack);
    expect(flagsValid(flags), `flags ${flags}`).toBe(valid);
  }
  expect(flagsValid(fin | PSH | URG)).toBe(false);
});

test("an ICMP type is a query, a reply, an error or nothing that is forwarded", () => {
  const types = Array.from({ length: 256 }, (_, type) => type);
  expect(types.filter(isQuery)).toEqual([8, 13]);
  expect(types.filter(isReply)).toEqual([0, 14]);
  expect(types.filter(isError)).toEqual([3, 11, 12]);
});

describe("a vnet header", () => {
  /** `headers`: the length of all headers on the new link. */
  function move(fields: VnetFields, from: number, to: number, shift: number, headers = 66): Required<VnetFields> {
    const bytes = new Uint8Array(64).fill(0xaa);
    bytes.set(vnetHeader(fields), from);
    const view = viewOf(bytes);
    moveVnetHeader(view, from, to, shift, headers, offloadOf(view, from));
    const untouched = [...bytes].filter((_, at) => at < Math.min(from, to) || at >= Math.max(from, to) + 10);
    expect(new Set(untouched)).toEqual(new Set([0xaa]));
    return readVnetHeader(bytes.slice(to, to + 10));
  }

  const offload = { flags: 1, gsoType: 1, headerLength: 66, gsoSize: 1448, checksumStart: 34, checksumOffset: 16 };

  test("counts from the new link's first byte after it was moved, overlapping or not", () => {
    for (const [from, to] of [
      [30, 16],
      [16, 30],
      [20, 20],
      [30, 27],
      [2, 50],
    ] as const) {
      const moved = { ...offload, headerLength: 80, checksumStart: 48 };
      expect(move(offload, from, to, 14, 80)).toEqual(moved);
      expect(move(moved, from, to, -14)).toEqual(offload);
    }
  });

  test("has the true header length, whatever hint it was received with", () => {
    for (const headerLength of [0, 40, 1500, 65_535])
      expect(move({ ...offload, headerLength }, 30, 16, 14, 80).headerLength).toBe(80);
  });

  test("that asks for nothing becomes all zeros, stale fields and DATA_VALID included", () => {
    const nothing = { flags: 0, gsoType: 0, headerLength: 0, gsoSize: 0, checksumStart: 0, checksumOffset: 0 };
    expect(move({ ...offload, flags: 2, gsoType: 0 }, 30, 16, 14)).toEqual(nothing);
    expect(move({ ...offload, flags: 0, gsoType: 0 }, 16, 30, -14)).toEqual(nothing);
    const bytes = new Uint8Array(12).fill(0xaa);
    clearVnetHeader(viewOf(bytes), 1);
    expect([...bytes]).toEqual([0xaa, ...new Array(10).fill(0), 0xaa]);
  });

  test("loses the flags that concern only its receiver", () => {
    expect(move({ ...offload, flags: 1 | 2 | 4 }, 30, 16, 0).flags).toBe(1);
  });
});
