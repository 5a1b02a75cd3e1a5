import { expect, test } from "vitest";
import { MemoryIO } from "../../../src/io/memory-io.ts";
import { ipOffset, queueWords, slotBytes, vnetBytes } from "../../../src/tables/packet-memory.ts";

function open(): MemoryIO {
  return new MemoryIO({ linkHeaderBytes: [14, 0], receiveSlots: 2, scratchSlots: 1 });
}

/** A packet with nothing but zeros before its IP header, which starts with 0x45. */
function packet(headerBytes: number): Uint8Array {
  const bytes = new Uint8Array(headerBytes + 20);
  bytes[headerBytes] = 0x45;
  return bytes;
}

test("the IP header of every device's packet stands at the same offset of its slot", () => {
  const io = open();
  io.inject(0, packet(vnetBytes));
  io.inject(1, packet(vnetBytes + 14));
  io.inject(2, packet(vnetBytes));
  expect(io.turn(0)).toBe(3);
  for (const queues of io.devices) {
    expect(queues.counts[queueWords.receiveCount]).toBe(1);
    expect(new Uint8Array(io.memory)[queues.firstSlotAt + ipOffset]).toBe(0x45);
  }
  expect(io.devices.map((queues) => queues.receiveLength[0])).toEqual([30, 44, 30]);
});

test("packets beyond the receive slots wait for the next turn, in order", () => {
  const io = open();
  for (let i = 0; i < 3; i++) io.inject(1, new Uint8Array(40 + i));
  expect(io.turn(0)).toBe(2);
  expect([...io.devices[1]!.receiveLength]).toEqual([40, 41]);
  expect(io.turn(0)).toBe(1);
  expect(io.devices[1]!.receiveLength[0]).toBe(42);
  expect(io.turn(0)).toBe(0);
  expect(io.devices[1]!.counts[queueWords.receiveCount]).toBe(0);
});

test("what is sent is a copy, made before the slots are filled again", () => {
  const io = open();
  io.inject(0, new Uint8Array(30).fill(1));
  io.turn(0);
  const at = io.devices[0]!.firstSlotAt + 14;
  io.devices[1]!.send(at, 30);
  io.inject(0, new Uint8Array(30).fill(2));
  io.turn(0);
  expect(io.takeSent(1)).toEqual([new Uint8Array(30).fill(1)]);
  expect(io.takeSent(1)).toEqual([]);
  expect(new Uint8Array(io.memory)[at]).toBe(2);
});

test("bytes outside the packet area are not sent", () => {
  const io = open();
  io.devices[0]!.send(io.layout.slotsAt - 1, 10);
  expect(() => io.turn(0)).toThrow(/device 0, send entry 0: .* outside the packet area/);
});

test("a packet that fits no slot, or names no device, is refused", () => {
  const io = open();
  expect(() => io.inject(0, new Uint8Array(slotBytes))).toThrow(/does not fit a slot/);
  expect(() => io.inject(3, new Uint8Array(30))).toThrow(/device 3 does not exist/);
});
