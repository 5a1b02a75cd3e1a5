/**
 * A `PacketIO` without Linux: what a test injects is received by the next turn, what the data plane
 * queued is kept as copies. The slots, the queues and the order of events are those of the real loop:
 * a turn sends first, then fills, and fills no more slots than there are.
 */

import {
  DeviceQueues,
  ethernetBytes,
  layoutMemory,
  type MemoryLayout,
  type PacketIO,
  queueWords,
  slotBytes,
} from "../tables/packet-memory.ts";

export interface MemoryIOOptions {
  /** One entry per uplink: 14, or 0 on a link without a MAC header. */
  readonly linkHeaderBytes: readonly number[];
  readonly receiveSlots: number;
  readonly scratchSlots: number;
}

export class MemoryIO implements PacketIO {
  readonly memory: ArrayBuffer;
  readonly layout: MemoryLayout;
  readonly devices: readonly DeviceQueues[];
  readonly #bytes: Uint8Array;
  /** Where in its slots each device reads, as packet-memory.ts draws it. */
  readonly #readOffsets: readonly number[];
  readonly #waiting: Uint8Array[][];
  readonly #sent: Uint8Array[][];
  #closed = false;

  constructor({ linkHeaderBytes, receiveSlots, scratchSlots }: MemoryIOOptions) {
    const layout = layoutMemory(1 + linkHeaderBytes.length, receiveSlots, scratchSlots);
    const memory = new ArrayBuffer(layout.totalBytes);
    this.layout = layout;
    this.memory = memory;
    this.devices = [0, ...linkHeaderBytes].map(
      (linkBytes, device) => new DeviceQueues(memory, layout, device, linkBytes),
    );
    this.#bytes = new Uint8Array(memory);
    this.#readOffsets = [ethernetBytes, ...linkHeaderBytes.map((bytes) => ethernetBytes - bytes)];
    this.#waiting = this.devices.map(() => []);
    this.#sent = this.devices.map(() => []);
  }

  /** Lets a device receive a packet: vnet header, link header where the device has one, IP packet. It waits for a turn with a free slot. */
  inject(device: number, packet: Uint8Array): void {
    if (packet.length > slotBytes - ethernetBytes)
      throw new RangeError(`a packet of ${packet.length} bytes does not fit a slot`);
    this.#queueOf(this.#waiting, device).push(packet.slice());
  }

  /** What a device was given to send since the last call, oldest first, vnet header included. */
  takeSent(device: number): Uint8Array[] {
    return this.#queueOf(this.#sent, device).splice(0);
  }

  turn(_timeoutMs: number): number {
    if (this.#closed) throw new Error("turn: this packet memory is closed");
    for (let device = 0; device < this.devices.length; device++) this.#flush(device);
    let received = 0;
    for (let device = 0; device < this.devices.length; device++) received += this.#fill(device);
    return received;
  }

  close(): void {
    this.#closed = true;
  }

  #flush(device: number): void {
    const { counts, sendStart, sendLength } = this.devices[device]!;
    for (let i = 0; i < counts[queueWords.sendCount]!; i++) {
      const start = sendStart[i]!;
      const end = start + sendLength[i]!;
      if (start < this.layout.slotsAt || sendLength[i]! < 0 || end > this.layout.totalBytes) {
        throw new RangeError(
          `turn: device ${device}, send entry ${i}: bytes ${start} to ${end} lie outside the packet area`,
        );
      }
      this.#sent[device]!.push(this.#bytes.slice(start, end));
    }
    counts[queueWords.sendCount] = 0;
  }

  #fill(device: number): number {
    const { counts, receiveLength, firstSlotAt } = this.devices[device]!;
    const packets = this.#waiting[device]!.splice(0, this.layout.receiveSlots);
    for (const [slot, packet] of packets.entries()) {
      this.#bytes.set(packet, firstSlotAt + slot * slotBytes + this.#readOffsets[device]!);
      receiveLength[slot] = packet.length;
    }
    counts[queueWords.receiveCount] = packets.length;
    return packets.length;
  }

  #queueOf(queues: Uint8Array[][], device: number): Uint8Array[] {
    const queue = queues[device];
    if (!queue) throw new RangeError(`device ${device} does not exist: there are ${queues.length}`);
    return queue;
  }
}
