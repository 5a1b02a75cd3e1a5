/** A loop over any devices, for tests that send and receive single packets as byte arrays. */

import { type LoopDevice, loadNative } from "../../src/io/native.ts";
import { DeviceQueues, layoutMemory, queueWords, scratchSlotAt, slotBytes } from "../../src/tables/packet-memory.ts";

export type TestDevice = Pick<LoopDevice, "fd" | "kind"> & Partial<Pick<LoopDevice, "sendProtocol">>;

export class DeviceLoop {
  readonly native = loadNative();
  readonly layout;
  readonly memory: ArrayBuffer;
  readonly handle: number;
  readonly devices: readonly DeviceQueues[];
  readonly eventFd: number;
  #scratch = 0;

  constructor(devices: readonly TestDevice[], { receiveSlots = 64, scratchSlots = 64 } = {}) {
    const layout = layoutMemory(devices.length, receiveSlots, scratchSlots);
    this.layout = layout;
    this.eventFd = this.native.eventOpen();
    const { memory, handle } = this.native.loopOpen({
      totalBytes: layout.totalBytes,
      slotsAt: layout.slotsAt,
      receiveSlots,
      sendCapacity: layout.sendCapacity,
      slotBytes,
      eventFd: this.eventFd,
      devices: devices.map((device, i) => ({
        readOffset: 0,
        sendProtocol: 0,
        ...device,
        queueAt: i * layout.queueBytes,
      })),
    });
    this.memory = memory;
    this.handle = handle;
    this.devices = devices.map((_, i) => new DeviceQueues(memory, layout, i, 0));
  }

  /** Queues a packet, vnet header included. A turn sends at most `scratchSlots` of them. */
  send(device: number, packet: Uint8Array): void {
    if (this.#scratch === this.layout.scratchSlots) throw new RangeError("no scratch slot left in this turn");
    const at = scratchSlotAt(this.layout, this.#scratch++);
    new Uint8Array(this.memory).set(packet, at);
    this.devices[device]!.send(at, packet.length);
  }

  /** One turn; what each device received, as copies, vnet header included. */
  turn(timeoutMs = 0): Uint8Array[][] {
    this.native.turn(this.handle, timeoutMs);
    this.#scratch = 0;
    return this.devices.map(({ counts, receiveLength, firstSlotAt }) =>
      Array.from({ length: counts[queueWords.receiveCount]! }, (_, slot) => {
        const at = firstSlotAt + slot * slotBytes;
        return new Uint8Array(this.memory.slice(at, at + receiveLength[slot]!));
      }),
    );
  }

  /** Turns until nothing has come for `quietMs`. */
  drain(quietMs = 100): Uint8Array[][] {
    const all = this.devices.map((): Uint8Array[] => []);
    for (;;) {
      const received = this.turn(quietMs);
      if (received.every((packets) => packets.length === 0)) return all;
      for (const [device, packets] of received.entries()) all[device]!.push(...packets);
    }
  }

  dropped(device: number): number {
    return this.devices[device]!.counts[queueWords.dropped]!;
  }

  lastErrno(device: number): number {
    return this.devices[device]!.counts[queueWords.lastErrno]!;
  }

  close(): void {
    this.native.loopClose(this.handle);
    this.native.close(this.eventFd);
  }
}
