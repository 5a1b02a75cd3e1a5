import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as values from "../../../src/control/config-values.ts";
import { nearest } from "../../../src/control/nearest.ts";

describe("durations", () => {
  it("read as people write them", () => {
    expect(["500ms", "60s", "4m", "2h4m", "5d", "1m30s"].map(values.parseDurationMs)).toEqual([
      500, 60_000, 240_000, 7_440_000, 432_000_000, 90_000,
    ]);
  });

  it("need a unit, and nothing around it", () => {
    for (const text of ["", "5", "5 s", " 5s", "5s ", "-5s", "1.5s", "5S", "s", "5sm", "1e3s"]) {
      expect(values.parseDurationMs(text), text).toBeUndefined();
    }
  });

  it("are printed in a form that reads back the same", () => {
    const inRange = fc.integer({ min: 1, max: 400 * 86_400_000 });
    fc.assert(fc.property(inRange, (ms) => values.parseDurationMs(values.formatDurationMs(ms)) === ms));
    expect(values.formatDurationMs(7_440_000)).toBe("2h4m");
    expect(values.formatDurationMs(0)).toBe("0s");
  });
});

describe("addresses and networks", () => {
  it("read back as they were printed, for every address", () => {
    fc.assert(fc.property(fc.nat(0xffffffff), (address) => values.parseIpv4(values.formatIpv4(address)) === address));
    expect(values.parseIpv4("192.0.2.1")).toBe(0xc0000201);
  });

  it("are dotted quads and nothing else", () => {
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.4.5",
      "1.2.3.256",
      "01.2.3.4",
      "1.2.3.4 ",
      "1..3.4",
      "0x1.2.3.4",
      "1.2.3.-4",
    ]) {
      expect(values.parseIpv4(text), text).toBeUndefined();
    }
    for (const text of ["192.0.2.1", "192.0.2.1/33", "192.0.2.1/", "192.0.2.1/24/24", "/24", "192.0.2.1/+8"]) {
      expect(values.parseNetwork(text), text).toBeUndefined();
    }
  });

  it("overlap when one holds the other, in either order", () => {
    const network = (text: string) => values.parseNetwork(text)!;
    const cases: [string, string, boolean][] = [
      ["198.51.100.0/24", "198.51.100.128/25", true],
      ["198.51.100.0/25", "198.51.100.128/25", false],
      ["0.0.0.0/0", "203.0.113.7/32", true],
      ["255.255.255.252/30", "255.255.255.255/32", true],
      ["192.0.2.1/32", "192.0.2.2/32", false],
    ];
    for (const [a, b, expected] of cases) {
      expect(values.overlap(network(a), network(b)), `${a} ${b}`).toBe(expected);
      expect(values.overlap(network(b), network(a)), `${b} ${a}`).toBe(expected);
    }
  });

  it("of a host are neither loopback, multicast, broadcast nor 0/8", () => {
    const isHost = (text: string) => values.isHostAddress(values.parseIpv4(text)!);
    expect(["203.0.113.1", "10.0.0.1", "1.0.0.0", "223.255.255.255"].every(isHost)).toBe(true);
    expect(["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"].some(isHost)).toBe(false);
  });
});

describe("did you mean", () => {
  it("finds the known word that a slip of the finger missed", () => {
    const known = ["name", "interface", "weight", "gateway"];
    expect(["wieght", "Interface", "gatway", "nmae"].map((word) => nearest(word, known))).toEqual([
      "weight",
      "interface",
      "gateway",
      "name",
    ]);
  });

  it("says nothing when no word is near", () => {
    expect(nearest("colour", ["name", "interface", "weight"])).toBeUndefined();
    expect(nearest("x".repeat(100_000), ["name"])).toBeUndefined();
  });
});
