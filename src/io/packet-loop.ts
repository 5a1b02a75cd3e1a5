/**
 * A worker's packet memory on real devices: the `PacketIO` of the shim back end.
 *
 * The descriptors are opened by the main thread and handed over; the loop holds them (closing one
 * meanwhile gives EBUSY) but does not own them: `close` gives up the loop, not the devices.
 */

import {
  DeviceQueues,
  ethernetBytes,
  layoutMemory,
  type MemoryLayout,
  type PacketIO,
  slotBytes,
} from "../tables/packet-memory.ts";
import { type LoopDevice, loadNative, type Native } from "./native.ts";

const ETH_P_IP = 0x0800;

export interface PacketLoopOptions {
  readonly tunFd: number;
  /** Uplinks, then LANs, in the order of their index. `linkHeaderBytes` is 14, or 0 on a link without a MAC header. */
  readonly links: readonly { readonly fd: number; readonly linkHeaderBytes: number }[];
  /** Signalled to end a wait. */
  readonly eventFd: number;
  readonly receiveSlots: number;
  readonly scratchSlots: number;
}

/** Opens the loop of the calling thread. Throws a `NativeError` when a descriptor is not what it is said to be. */
export function openPacketLoop(options: PacketLoopOptions): PacketIO {
  const native = loadNative();
  const layout = layoutMemory(1 + options.links.length, options.receiveSlots, options.scratchSlots);
  const { memory, handle } = native.loopOpen({
    totalBytes: layout.totalBytes,
    slotsAt: layout.slotsAt,
    receiveSlots: layout.receiveSlots,
    sendCapacity: layout.sendCapacity,
    slotBytes,
    eventFd: options.eventFd,
    devices: describeDevices(options, layout),
  });
  const linkBytes = [0, ...options.links.map((link) => link.linkHeaderBytes)];
  return new PacketLoop(native, handle, memory, layout, linkBytes);
}

function describeDevices({ tunFd, links }: PacketLoopOptions, layout: MemoryLayout): LoopDevice[] {
  const tun: LoopDevice = { fd: tunFd, kind: "tun", readOffset: ethernetBytes, queueAt: 0, sendProtocol: 0 };
  const sockets = links.map(
    ({ fd, linkHeaderBytes }, index): LoopDevice => ({
      fd,
      kind: "packet",
      readOffset: ethernetBytes - linkHeaderBytes,
      queueAt: (index + 1) * layout.queueBytes,
      sendProtocol: linkHeaderBytes === 0 ? ETH_P_IP : 0,
    }),
  );
  return [tun, ...sockets];
}

class PacketLoop implements PacketIO {
  readonly memory: ArrayBuffer;
  readonly layout: MemoryLayout;
  readonly devices: readonly DeviceQueues[];
  readonly #native: Native;
  readonly #handle: number;

  constructor(native: Native, handle: number, memory: ArrayBuffer, layout: MemoryLayout, linkBytes: number[]) {
    this.#native = native;
    this.#handle = handle;
    this.memory = memory;
    this.layout = layout;
    this.devices = linkBytes.map((bytes, device) => new DeviceQueues(memory, layout, device, bytes));
  }

  turn(timeoutMs: number): number {
    return this.#native.turn(this.#handle, timeoutMs);
  }

  close(): void {
    this.#native.loopClose(this.#handle);
  }
}
