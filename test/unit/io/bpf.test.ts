import { expect, test } from "vitest";
import { assembleClassic, assembleExtended, classic, extended } from "../../../src/io/bpf.ts";

test("a classic instruction is eight bytes: code, jumps, constant", () => {
  const program = assembleClassic([
    classic.loadHalf(12),
    classic.jumpIfEqual(0x0800, "take"),
    classic.return(0),
    "take:",
    classic.return(-1),
  ]);
  // What `tcpdump -dd ip` prints, but for the length it returns.
  expect([...new Uint16Array(program.buffer)]).toEqual([
    ...[0x28, 0x0000, 12, 0],
    ...[0x15, 0x0001, 0x0800, 0],
    ...[0x06, 0x0000, 0, 0],
    ...[0x06, 0x0000, 0xffff, 0xffff],
  ]);
});

test("an extended instruction is eight bytes: code, registers, jump, value", () => {
  const program = assembleExtended([
    extended.move(6, 1),
    extended.jumpIfAnyBit(0, 0x3fff, "end"),
    extended.multiply(9, 0x9e3779b1),
    "end:",
    extended.exit(),
  ]);
  expect(Buffer.from(program).toString("hex").match(/.{16}/g)).toEqual([
    "bf16000000000000",
    "45000100ff3f0000",
    "24090000b179379e",
    "9500000000000000",
  ]);
});

test("a jump to a label that is missing, or behind it, is refused", () => {
  expect(() => assembleClassic([classic.jump("nowhere"), classic.return(0)])).toThrow(/no label "nowhere" after it/);
  expect(() => assembleExtended(["start:", extended.exit(), extended.jump("start")])).toThrow(/no label "start" after/);
});

test("a classic conditional jump reaches 255 instructions and no further, an unconditional one does", () => {
  const far = (count: number) => [...new Array(count).fill(classic.index()), "end:" as const, classic.return(0)];
  expect(() => assembleClassic([classic.jumpIfEqual(1, "end"), ...far(255)])).not.toThrow();
  expect(() => assembleClassic([classic.jumpIfEqual(1, "end"), ...far(256)])).toThrow(/more than 255/);
  expect(() => assembleClassic([classic.jump("end"), ...far(256)])).not.toThrow();
});
