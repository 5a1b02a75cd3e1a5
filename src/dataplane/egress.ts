/**
 * The last step of both paths: puts the headers of the other link before a packet, where it stands,
 * and queues it. Also the packets that we make ourselves, in scratch slots: an error to the sender,
 * the pieces of a packet that is too long for its uplink.
 */
import { insideNetworkWords } from "../tables/inside-networks.ts";
import { type DeviceQueues, ipOffset, type PacketIO, scratchSlotAt, vnetBytes } from "../tables/packet-memory.ts";
import { maxUplinks, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { sumBytes } from "../wire/checksum.ts";
import { codeFragmentationNeeded } from "../wire/icmp.ts";
import {
  dontFragment,
  fragmentOffsetMask,
  headerBytes,
  ipv4,
  ipv4HeaderBytes,
  moreFragments,
  setHeaderChecksum,
} from "../wire/ipv4.ts";
import { isPartial, isSuperPacket, moveVnetHeader, vnet } from "../wire/vnet.ts";
import { writeUnreachable } from "./icmp-error.ts";
import { verdict } from "./verdict.ts";

/** Own ICMP errors: at most this many at once, and one more every so many milliseconds (RFC 1812, section 4.3.2.8). */
const errorBurst = 50;
const errorIntervalMs = 10;

export class Egress {
  readonly view: DataView;
  readonly memory: Uint8Array;
  /** This worker's copy of the uplink rows, as 32-bit words. */
  readonly uplinks = new Int32Array(maxUplinks * uplinkWords);
  /** This worker's copy of the networks of the inside. */
  readonly inside = new Int32Array(insideNetworkWords);
  readonly #io: PacketIO;
  readonly #uplinkCount: number;
  readonly #tun: DeviceQueues;
  /** The address that our own errors come from: no interface's, or the kernel would take it for spoofed. */
  readonly #errorSource: number;
  #scratchUsed = 0;
  #errorTokens = errorBurst;
  #errorTokensAtMs = 0;

  constructor(io: PacketIO, uplinkCount: number, errorSource: number) {
    this.#io = io;
    this.#uplinkCount = uplinkCount;
    this.#tun = io.devices[0]!;
    this.view = new DataView(io.memory);
    this.memory = new Uint8Array(io.memory);
    this.#errorSource = errorSource;
  }

  /** All scratch slots are free again: what was queued has been sent. */
  beginTurn(): void {
    this.#scratchUsed = 0;
  }

  /** Where the IP header of a packet of ours may be written, or 0 when this turn's slots are used up. */
  takeScratch(): number {
    if (this.#scratchUsed === this.#io.layout.scratchSlots) return 0;
    return scratchSlotAt(this.#io.layout, this.#scratchUsed++) + ipOffset;
  }

  /** Whether half of this turn's slots are left, so that a packet out of the mail finds some for the pieces that it is cut into. */
  get hasRoomForMail(): boolean {
    return this.#scratchUsed * 2 < this.#io.layout.scratchSlots;
  }

  uplinkWord(uplink: number, word: number): number {
    return this.uplinks[uplink * uplinkWords + word]!;
  }

  /** The uplink that has this address, or -1. */
  uplinkWith(address: number): number {
    for (let uplink = 0; uplink < this.#uplinkCount; uplink++) {
      if (this.uplinkWord(uplink, uplinkWord.address) === address) return uplink;
    }
    return -1;
  }

  /** Whether an uplink can send now. */
  isReady(uplink: number): boolean {
    return this.uplinkWord(uplink, uplinkWord.ready) !== 0;
  }

  /**
   * Whether the uplink has another address than the one that a flow is mapped to: nothing may leave with that source any
   * more. An uplink without any address, between two leases, may yet get the old one back.
   */
  hasLost(uplink: number, mapped: number): boolean {
    const address = this.uplinkWord(uplink, uplinkWord.address);
    return address !== 0 && mapped !== address;
  }

  /** Whether an uplink can send now, and has this address. */
  maySend(uplink: number, source: number): boolean {
    return this.uplinkWord(uplink, uplinkWord.ready) !== 0 && this.uplinkWord(uplink, uplinkWord.address) === source;
  }

  /**
   * Tells the sender of a packet that is longer than its uplink's MTU (RFC 1191), unless each of its
   * segments fits, or it may be cut; true when the packet may be sent on. It stands as the inside sent it.
   */
  fits(at: number, length: number, l4End: number, offload: number, mtu: number, nowMs: number): boolean {
    const view = this.view;
    if (isSuperPacket(offload)) {
      const gsoSize = view.getUint16(at - vnetBytes + vnet.gsoSize, true);
      if (l4End - at + gsoSize <= mtu) return true;
      // Whoever sends a super-packet cuts it into segments, and those can't be cut again here.
    } else if (mayBeCut(view, at)) return true;
    this.tellUnreachable(at, length, codeFragmentationNeeded, mtu, nowMs);
    return false;
  }

  /** Where the IP header of an error of ours may be written, or 0: at a limited rate, for both families together. */
  takeErrorSlot(nowMs: number): number {
    return this.#mayMakeError(nowMs) ? this.takeScratch() : 0;
  }

  /** Tells the sender of a packet from inside, as it stands, that it can't go on; at a limited rate. */
  tellUnreachable(at: number, length: number, code: number, mtu: number, nowMs: number): void {
    const to = this.takeErrorSlot(nowMs);
    if (to !== 0) this.sendUnreachable(to, at, length, code, mtu);
  }

  /** The same from a slot that `takeErrorSlot` gave. */
  sendUnreachable(to: number, at: number, length: number, code: number, mtu: number): void {
    const bytes = writeUnreachable(this.view, this.memory, to, at, length, this.#errorSource, code, mtu);
    this.toInside(to, bytes, 0, to, 0);
  }

  /**
   * Queues a packet, already rewritten, on an uplink and returns the verdict. `start` is the first byte
   * after the vnet header it was received with, `offload` what that header asks for, `l4End` the end of
   * its headers (any number when nothing is asked for).
   */
  toUplink(uplink: number, at: number, length: number, l4End: number, start: number, offload: number): number {
    const row = uplink * uplinkWords;
    if (length > this.uplinks[row + uplinkWord.mtu]! && !isSuperPacket(offload))
      return this.#cut(uplink, at, length, start, offload);
    return this.#queue(uplink, at, length, l4End, start, offload, row + uplinkWord.linkHeader);
  }

  /** As `toUplink`, for IPv6, which nobody but its sender cuts (RFC 8200, section 5). */
  toUplink6(uplink: number, at: number, length: number, l4End: number, start: number, offload: number): number {
    const linkHeader = uplink * uplinkWords + uplinkWord.linkHeader6;
    return this.#queue(uplink, at, length, l4End, start, offload, linkHeader);
  }

  /** `linkHeader`: which words of the uplinks' rows hold the MAC header to send with. */
  #queue(
    uplink: number,
    at: number,
    length: number,
    l4End: number,
    start: number,
    offload: number,
    linkHeader: number,
  ): number {
    const device = this.#io.devices[uplink + 1]!;
    const to = at - device.linkBytes;
    moveVnetHeader(this.view, start - vnetBytes, to - vnetBytes, start - to, l4End - to, offload);
    if (device.linkBytes !== 0) this.#writeLinkHeader(linkHeader, to);
    return device.send(to - vnetBytes, vnetBytes + device.linkBytes + length) ? verdict.forward : verdict.sendQueueFull;
  }

  /** Queues a packet, already rewritten, for the inside. `start` and `offload` as above. */
  toInside(at: number, length: number, l4End: number, start: number, offload: number): number {
    moveVnetHeader(this.view, start - vnetBytes, at - vnetBytes, start - at, l4End - at, offload);
    return this.#tun.send(at - vnetBytes, vnetBytes + length) ? verdict.forward : verdict.sendQueueFull;
  }

  /** The 14 bytes that the control plane has prepared, copied as they are. */
  #writeLinkHeader(from: number, to: number): void {
    const { view, uplinks } = this;
    view.setInt32(to, uplinks[from]!, true);
    view.setInt32(to + 4, uplinks[from + 1]!, true);
    view.setInt32(to + 8, uplinks[from + 2]!, true);
    view.setInt16(to + 12, uplinks[from + 3]!, true);
  }

  /** Cuts a packet into fragments (RFC 791, section 3.2), each in a slot of its own. */
  #cut(uplink: number, at: number, length: number, start: number, offload: number): number {
    const { view, memory } = this;
    if (!mayBeCut(view, at)) return verdict.tooBig;
    const l4 = at + ipv4HeaderBytes;
    if (isPartial(offload)) this.#finishChecksum(at, length, start - vnetBytes, l4);
    const step = (this.uplinkWord(uplink, uplinkWord.mtu) - ipv4HeaderBytes) & ~7;
    const field = view.getUint16(at + ipv4.fragment);
    const end = length - ipv4HeaderBytes;
    for (let offset = 0; offset < end; offset += step) {
      const to = this.takeScratch();
      if (to === 0) return verdict.outOfSlots;
      const bytes = Math.min(step, end - offset);
      const more = offset + bytes < end ? moreFragments : field & moreFragments;
      memory.copyWithin(to, at, at + ipv4HeaderBytes);
      memory.copyWithin(to + ipv4HeaderBytes, l4 + offset, l4 + offset + bytes);
      view.setUint16(to + ipv4.totalLength, ipv4HeaderBytes + bytes);
      view.setUint16(to + ipv4.fragment, more | ((field & fragmentOffsetMask) + (offset >>> 3)));
      setHeaderChecksum(view, to);
      const result = this.toUplink(uplink, to, ipv4HeaderBytes + bytes, 0, to, 0);
      if (result !== verdict.forward) return result;
    }
    return verdict.forward;
  }

  /** A partial checksum is finished here when the packet can't be handed over whole. */
  #finishChecksum(at: number, length: number, header: number, l4: number): void {
    const view = this.view;
    const field = l4 + view.getUint16(header + vnet.checksumOffset, true);
    // The field holds the pseudo-header sum already, so it is summed along with the rest.
    view.setUint16(field, ~sumBytes(view, l4, at + length - l4) & 0xffff || 0xffff);
  }

  #mayMakeError(nowMs: number): boolean {
    const earned = Math.floor((nowMs - this.#errorTokensAtMs) / errorIntervalMs);
    if (earned > 0) {
      this.#errorTokens = Math.min(errorBurst, this.#errorTokens + earned);
      this.#errorTokensAtMs = nowMs;
    }
    if (this.#errorTokens === 0) return false;
    this.#errorTokens--;
    return true;
  }
}

/** Without DF, and without options, which would have to be sorted into those that every fragment repeats and others. */
function mayBeCut(view: DataView, at: number): boolean {
  return (view.getUint16(at + ipv4.fragment) & dontFragment) === 0 && headerBytes(view, at) === ipv4HeaderBytes;
}
