/**
 * The memory that packets live in, and the queues that name them.
 *
 * One region per worker, allocated once. A device (device 0 is the TUN, device u+1 is uplink u) has
 * a fixed set of receive slots and two queues: `receiveLength` says how many bytes the last turn put
 * into slot i; `sendStart`/`sendLength` name bytes anywhere in the packet area that the next turn
 * shall write out. A packet is rewritten where it was received and sent from there: nothing is copied.
 *
 *     slot:  [vnet 10][ethernet 14][IP at 24 ...]        a packet socket reads at +0
 *                     [vnet 10 at 14][IP at 24 ...]      a TUN or a link without a MAC header reads at +14
 *
 * Who writes what: a turn (io) writes receiveCount, receiveLength, dropped and lastErrno and zeroes
 * sendCount; the data plane writes sendCount, sendStart and sendLength. All slots are free again
 * when the next turn begins, because a turn sends or drops everything queued before it reads.
 */

export const vnetBytes = 10;
export const ethernetBytes = 14;
/** Where the IP header stands in every slot: aligned to 4, with room for the headers of either device before it. */
export const ipOffset = vnetBytes + ethernetBytes;
/** 64 KiB super-packet and headers; not a multiple of a page, so that the headers of neighbouring slots fall into different cache sets. */
export const slotBytes = 69_632 + 320;

/** Where a device's queue columns stand, in 32-bit words from `queueAt` (a byte offset). */
export const queueWords = { receiveCount: 0, sendCount: 1, dropped: 2, lastErrno: 3, receiveLength: 4 } as const;

export interface MemoryLayout {
  readonly devices: number;
  /** Receive slots of each device. */
  readonly receiveSlots: number;
  /** Slots that belong to no device: packets that the data plane makes itself. */
  readonly scratchSlots: number;
  /** Most packets one device can be given to send in one turn: every slot there is. */
  readonly sendCapacity: number;
  readonly queueBytes: number;
  /** Byte offset of the first slot; the packet area runs from here to `totalBytes`. */
  readonly slotsAt: number;
  readonly totalBytes: number;
}

export function layoutMemory(devices: number, receiveSlots: number, scratchSlots: number): MemoryLayout {
  const slots = devices * receiveSlots + scratchSlots;
  const queueBytes = roundUp((queueWords.receiveLength + receiveSlots + 2 * slots) * 4, 64);
  const slotsAt = roundUp(devices * queueBytes, 4096);
  return {
    devices,
    receiveSlots,
    scratchSlots,
    sendCapacity: slots,
    queueBytes,
    slotsAt,
    totalBytes: roundUp(slotsAt + slots * slotBytes, 4096),
  };
}

/** One device's queues and slots. */
export class DeviceQueues {
  /** [receiveCount, sendCount, dropped (since start, wraps), lastErrno]. */
  readonly counts: Int32Array;
  /** Bytes in slot i, vnet header included, counted from where the device reads. */
  readonly receiveLength: Int32Array;
  /** Byte offset in the region of a packet to send, at its vnet header. */
  readonly sendStart: Int32Array;
  /** Bytes to send, vnet header included. */
  readonly sendLength: Int32Array;
  /** Byte offset in the region of receive slot 0. */
  readonly firstSlotAt: number;
  /** Bytes of the MAC header that packets of this device carry: 14, or 0 on a TUN or a point-to-point link. */
  readonly linkBytes: number;

  constructor(memory: ArrayBuffer, layout: MemoryLayout, device: number, linkBytes: number) {
    this.linkBytes = linkBytes;
    const at = device * layout.queueBytes;
    const lengths = at + queueWords.receiveLength * 4;
    const starts = lengths + layout.receiveSlots * 4;
    this.counts = new Int32Array(memory, at, queueWords.receiveLength);
    this.receiveLength = new Int32Array(memory, lengths, layout.receiveSlots);
    this.sendStart = new Int32Array(memory, starts, layout.sendCapacity);
    this.sendLength = new Int32Array(memory, starts + layout.sendCapacity * 4, layout.sendCapacity);
    this.firstSlotAt = layout.slotsAt + device * layout.receiveSlots * slotBytes;
  }

  /** Queues a packet for the next turn. The queue holds every slot there is; a caller that queues a slot twice overflows it and is refused. */
  send(start: number, length: number): boolean {
    const count = this.counts[queueWords.sendCount]!;
    if (count >= this.sendStart.length) return false;
    this.sendStart[count] = start;
    this.sendLength[count] = length;
    this.counts[queueWords.sendCount] = count + 1;
    return true;
  }
}

/** What a worker sees of the outside: its memory, its devices and one verb. */
export interface PacketIO {
  readonly memory: ArrayBuffer;
  readonly layout: MemoryLayout;
  /** Device 0 is the TUN, device u+1 is uplink u. */
  readonly devices: readonly DeviceQueues[];
  /**
   * Sends what is queued, waits up to `timeoutMs` (0: not at all) for a packet or a wake-up, and
   * fills the receive slots. Returns how many packets were received on all devices together.
   */
  turn(timeoutMs: number): number;
  close(): void;
}

export function scratchSlotAt(layout: MemoryLayout, index: number): number {
  return layout.slotsAt + (layout.devices * layout.receiveSlots + index) * slotBytes;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
