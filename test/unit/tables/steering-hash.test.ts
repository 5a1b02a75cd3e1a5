import { expect, test } from "vitest";
import { steer } from "../../../src/tables/steering-hash.ts";

const address = 0xc0a80a02; // 192.168.10.2

test("one endpoint has one worker, whether its address is held as a signed or an unsigned integer", () => {
  for (let port = 0; port < 65_536; port += 257) expect(steer(address | 0, port, 7)).toBe(steer(address, port, 7));
});

test("the hash is 32-bit: worked out by hand for 192.168.10.2 port 40000", () => {
  const product = (40_000n * 0x9e3779b1n) & 0xffffffffn;
  const mixed = ((BigInt(address) ^ product) * 0x85ebca6bn) & 0xffffffffn;
  expect(steer(address, 40_000, 16)).toBe(Number((mixed >> 16n) % 16n));
});

test("the ports of one host spread evenly over two, three and sixteen workers", () => {
  for (const workers of [2, 3, 16]) {
    const count = new Array<number>(workers).fill(0);
    for (let port = 1024; port < 65_536; port++) count[steer(address, port, workers)]!++;
    const even = (65_536 - 1024) / workers;
    for (const flows of count) expect(Math.abs(flows - even) / even).toBeLessThan(0.05);
  }
});
