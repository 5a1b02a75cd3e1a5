import fc from "fast-check";
import { expect, test } from "vitest";
import { PortPool, portSlice } from "../../../src/tables/port-pool.ts";
import { randomFrom } from "../../support/packets.ts";

test("every port is either free or in use, and comes back in the order of release", () => {
  const ports = [10, 20, 30, 40, 50, 65_535];
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 100 }), fc.nat(), (operations, seed) => {
      const pool = new PortPool(ports, randomFrom(seed));
      const first = new Set(ports);
      const released: number[] = [];
      const used: number[] = [];
      for (const isTake of operations) {
        expect(pool.free).toBe(ports.length - used.length);
        if (isTake) {
          const port = pool.take();
          if (used.length === ports.length) expect(port).toBe(0);
          else if (first.size > 0) expect(first.delete(port)).toBe(true);
          else expect(port).toBe(released.shift());
          if (port !== 0) used.push(port);
        } else if (used.length > 0) {
          const port = used.splice((used.length * 7) % used.length, 1)[0]!;
          pool.release(port);
          released.push(port);
        }
      }
    }),
  );
});

test("the first order is a fair shuffle: every port is as likely to be first as any other", () => {
  const firsts = new Map<number, number>();
  for (let seed = 0; seed < 8000; seed++) {
    const port = new PortPool([1, 2, 3, 4, 5, 6, 7, 8], randomFrom(seed)).take();
    firsts.set(port, (firsts.get(port) ?? 0) + 1);
  }
  expect(firsts.size).toBe(8);
  for (const count of firsts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
});

test("a port that is released twice is a mistake that shows", () => {
  const pool = new PortPool([5], randomFrom(1));
  expect(() => pool.release(5)).toThrow("port 5 released twice");
});

test("the slices of all workers make up the range, and each port says whose it is", () => {
  for (const workers of [1, 2, 3, 16]) {
    const slices = Array.from({ length: workers }, (_, worker) => portSlice(1000, 1100, worker, workers));
    expect(slices.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 101 }, (_, i) => 1000 + i));
    for (const [worker, slice] of slices.entries()) for (const port of slice) expect(port % workers).toBe(worker);
  }
});

test("a worker may be without any port, and then has none to give", () => {
  const slice = portSlice(1000, 1000, 1, 2);
  expect(slice).toEqual([]);
  expect(new PortPool(slice, randomFrom(1)).take()).toBe(0);
});
