/**
 * Just enough of an assembler for three small programs that the kernel runs on every packet: classic
 * BPF for packet sockets (Linux: Documentation/networking/filter.rst) and extended BPF for the TUN
 * queue (RFC 9669). A program is an array of instructions and labels; jumps name a label.
 *
 * Kept in TypeScript so that a machine needs no BPF compiler, and so that the programs and the
 * functions they mirror can be read side by side.
 */

const instructionBytes = 8;

/** A place to jump to: "name:". */
export type Label = `${string}:`;

interface Jumps {
  readonly yes?: string;
  readonly no?: string;
}

// ---- classic ----

export interface ClassicInstruction extends Jumps {
  readonly code: number;
  readonly k: number;
}

/** Offset of the packet's data about itself ("ancillary"), which Linux keeps beside its bytes. */
const SKF_AD_OFF = -0x1000;
export const ancillary = { protocol: SKF_AD_OFF + 0, packetType: SKF_AD_OFF + 4, vlanTag: SKF_AD_OFF + 44 } as const;

/** A is the accumulator, X the index register, M[n] scratch memory. */
export const classic = {
  /** A = k */
  load: (k: number) => op(0x00, k),
  loadWord: (at: number) => op(0x20, at),
  loadHalf: (at: number) => op(0x28, at),
  loadByte: (at: number) => op(0x30, at),
  /** A = packet[X + at] */
  loadHalfAtIndex: (at: number) => op(0x48, at),
  loadWordAtIndex: (at: number) => op(0x40, at),
  loadByteAtIndex: (at: number) => op(0x50, at),
  /** X = 4 * (packet[at] & 15): an IPv4 header's length. */
  indexFromHeaderLength: (at: number) => op(0xb1, at),
  /** X = k */
  loadImmediateIndex: (k: number) => op(0x01, k),
  /** X = A */
  index: () => op(0x07, 0),
  /** X = M[n] */
  restoreIndex: (n: number) => op(0x61, n),
  store: (n: number) => op(0x02, n),
  restore: (n: number) => op(0x60, n),
  and: (k: number) => op(0x54, k),
  shiftLeft: (k: number) => op(0x64, k),
  shiftRight: (k: number) => op(0x74, k),
  add: (k: number) => op(0x04, k),
  multiply: (k: number) => op(0x24, k),
  xor: (k: number) => op(0xa4, k),
  /** A ^= X */
  xorIndex: () => op(0xac, 0),
  modulo: (k: number) => op(0x94, k),
  /** A += X */
  addIndex: () => op(0x0c, 0),
  jump: (to: string) => ({ ...op(0x05, 0), yes: to }),
  jumpIfEqual: (k: number, to: string) => ({ ...op(0x15, k), yes: to }),
  jumpUnlessEqual: (k: number, to: string) => ({ ...op(0x15, k), no: to }),
  jumpIfAbove: (k: number, to: string) => ({ ...op(0x25, k), yes: to }),
  jumpIfBelow: (k: number, to: string) => ({ ...op(0x35, k), no: to }),
  jumpIfAnyBit: (k: number, to: string) => ({ ...op(0x45, k), yes: to }),
  return: (k: number) => op(0x06, k),
  returnAccumulator: () => op(0x16, 0),
} as const;

function op(code: number, k: number): ClassicInstruction {
  return { code, k };
}

const classicJump = 0x05;

/** The program as `struct sock_filter[]`. */
export function assembleClassic(lines: readonly (ClassicInstruction | Label)[]): Uint8Array {
  const { instructions, distance } = resolve(lines);
  const program = new DataView(new ArrayBuffer(instructions.length * instructionBytes));
  for (const [i, { code, k, yes, no }] of instructions.entries()) {
    const at = i * instructionBytes;
    const [ifTrue, ifFalse] = [distance(i, yes), distance(i, no)];
    if (code !== classicJump && Math.max(ifTrue, ifFalse) > 255)
      throw new RangeError(`instruction ${i} jumps more than 255 instructions`);
    program.setUint16(at, code, true);
    program.setUint8(at + 2, code === classicJump ? 0 : ifTrue);
    program.setUint8(at + 3, ifFalse);
    program.setInt32(at + 4, code === classicJump ? ifTrue : k, true);
  }
  return new Uint8Array(program.buffer);
}

// ---- extended ----

export interface ExtendedInstruction extends Jumps {
  readonly code: number;
  readonly to: number;
  readonly from: number;
  readonly value: number;
}

/** r0 takes what a packet load finds and is the result; r6 must hold the context for packet loads, which clobber r1 to r5. */
export const extended = {
  /** r0 = packet[at], in host order; ends the program with 0 when the packet is shorter. */
  loadWord: (at: number) => ext(0x20, 0, 0, at),
  loadHalf: (at: number) => ext(0x28, 0, 0, at),
  loadByte: (at: number) => ext(0x30, 0, 0, at),
  /** r0 = packet[from + at] */
  loadWordAt: (from: number, at: number) => ext(0x40, 0, from, at),
  loadHalfAt: (from: number, at: number) => ext(0x48, 0, from, at),
  loadByteAt: (from: number, at: number) => ext(0x50, 0, from, at),
  move: (to: number, from: number) => ext(0xbf, to, from, 0),
  set: (to: number, value: number) => ext(0xb7, to, 0, value),
  /** The arithmetic is on 32 bits and clears the upper half. */
  add: (to: number, from: number) => ext(0x0c, to, from, 0),
  and: (to: number, value: number) => ext(0x54, to, 0, value),
  shiftLeft: (to: number, bits: number) => ext(0x64, to, 0, bits),
  shiftRight: (to: number, bits: number) => ext(0x74, to, 0, bits),
  multiply: (to: number, value: number) => ext(0x24, to, 0, value),
  modulo: (to: number, value: number) => ext(0x94, to, 0, value),
  xor: (to: number, from: number) => ext(0xac, to, from, 0),
  jump: (to: string) => ({ ...ext(0x05, 0, 0, 0), yes: to }),
  jumpIfEqual: (register: number, value: number, to: string) => ({ ...ext(0x15, register, 0, value), yes: to }),
  jumpUnlessEqual: (register: number, value: number, to: string) => ({ ...ext(0x55, register, 0, value), yes: to }),
  jumpIfAnyBit: (register: number, bits: number, to: string) => ({ ...ext(0x45, register, 0, bits), yes: to }),
  exit: () => ext(0x95, 0, 0, 0),
} as const;

function ext(code: number, to: number, from: number, value: number): ExtendedInstruction {
  return { code, to, from, value };
}

/** The program as `struct bpf_insn[]`, for a little-endian machine (the register byte's order depends on it). */
export function assembleExtended(lines: readonly (ExtendedInstruction | Label)[]): Uint8Array {
  const { instructions, distance } = resolve(lines);
  const program = new DataView(new ArrayBuffer(instructions.length * instructionBytes));
  for (const [i, { code, to, from, value, yes }] of instructions.entries()) {
    const at = i * instructionBytes;
    program.setUint8(at, code);
    program.setUint8(at + 1, (from << 4) | to);
    program.setInt16(at + 2, distance(i, yes), true);
    program.setInt32(at + 4, value, true);
  }
  return new Uint8Array(program.buffer);
}

// ---- both ----

/** Takes the labels out. `distance` counts the instructions that a jump skips; 0 when there is none. */
function resolve<T extends object>(
  lines: readonly (T | Label)[],
): { instructions: T[]; distance(from: number, label?: string): number } {
  const instructions: T[] = [];
  const places = new Map<string, number>();
  for (const line of lines) {
    if (typeof line === "string") places.set(line.slice(0, -1), instructions.length);
    else instructions.push(line);
  }
  return {
    instructions,
    distance(from, label) {
      if (label === undefined) return 0;
      const place = places.get(label);
      if (place === undefined || place <= from)
        throw new RangeError(`instruction ${from}: no label "${label}" after it`);
      return place - from - 1;
    },
  };
}
