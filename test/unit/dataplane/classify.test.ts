import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { balanceHash, balanceKey, nextHash } from "../../../src/dataplane/classify.ts";
import { dropNames, verdict } from "../../../src/dataplane/verdict.ts";
import { lookupSize, maxDropReasons } from "../../../src/tables/shared-state.ts";

/** A table in which nearly every hash has an answer of its own. */
const lookup = Uint8Array.from({ length: lookupSize }, (_, hash) => (hash ^ (hash >>> 8)) & 0xff);
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const tuple = fc.record({ source: word, destination: word, ports: word, protocol: fc.nat(255) });

type Tuple = { source: number; destination: number; ports: number; protocol: number };

function choose(key: number, { source, destination, ports, protocol }: Tuple, secret = 5): number {
  return lookup[balanceHash(key, secret, 6, source, destination, ports, protocol) & (lookupSize - 1)]!;
}

describe.each([
  ["fiveTuple", ["source", "destination", "ports", "protocol"]],
  ["sourceDestination", ["source", "destination"]],
  ["source", ["source"]],
  ["destination", ["destination"]],
] as const)("the choice by %s", (name, fields) => {
  const key = balanceKey[name];
  const others = (["source", "destination", "ports", "protocol"] as const).filter(
    (field) => !(fields as readonly string[]).includes(field),
  );

  test("does not depend on what is not in the key", () => {
    fc.assert(
      fc.property(tuple, tuple, (each, noise) => {
        const changed = { ...each };
        for (const field of others) changed[field] = noise[field];
        expect(choose(key, changed)).toBe(choose(key, each));
      }),
    );
  });

  test.each(fields)("depends on %s", (field) => {
    const base: Tuple = { source: 1, destination: 2, ports: 3, protocol: 6 };
    const choices = new Set(Array.from({ length: 50 }, (_, i) => choose(key, { ...base, [field]: i })));
    expect(choices.size).toBeGreaterThan(25);
  });

  test("depends on the secret, so that nobody outside can aim at an uplink", () => {
    const base: Tuple = { source: 1, destination: 2, ports: 3, protocol: 6 };
    const choices = new Set(Array.from({ length: 50 }, (_, secret) => choose(key, base, secret)));
    expect(choices.size).toBeGreaterThan(25);
  });
});

test("the choice follows the table's shares over the ports of one client", () => {
  const shares = Uint8Array.from({ length: lookupSize }, (_, hash) => (hash % 4 === 0 ? 1 : 0));
  let second = 0;
  for (let port = 0; port < 20_000; port++)
    second += shares[balanceHash(balanceKey.fiveTuple, 1, 2, 9, 8, port << 16, 6) & (lookupSize - 1)]!;
  expect(Math.abs(second / 20_000 - 0.25)).toBeLessThan(0.015);
});

test("another place for a hash is another one, also for the few that a mixer leaves where they are", () => {
  const places = new Set<number>();
  for (let hash = 0, i = 0; i < 64; i++) {
    hash = nextHash(hash);
    places.add(hash & (lookupSize - 1));
  }
  expect(places.size).toBeGreaterThan(60);
});

test("every verdict has a place of its own among the counters, and a name as status prints it", () => {
  const numbers = Object.values(verdict);
  expect(numbers).toEqual(numbers.map((_, position) => position));
  expect(numbers.length).toBeLessThanOrEqual(maxDropReasons);
  expect(dropNames[verdict.ipChecksum]).toBe("ip-checksum");
  expect(dropNames[verdict.icmpErrorNoFlow]).toBe("icmp-error-no-flow");
  for (const name of dropNames) expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/);
});
