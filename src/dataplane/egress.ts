/**
 * The last step of both paths: puts the headers of the other link before a packet, where it stands,
 * and queues it. Also the packets that we make ourselves, in scratch slots: an error to the sender,
 * the pieces of a packet that is too long for its uplink.
 */
import {
  type DeviceQueues,
  ethernetBytes,
  ipOffset,
  type PacketIO,
  scratchSlotAt,
  vnetBytes,
} from "../tables/packet-memory.ts";
import { maxUplinks, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { sumBytes } from "../wire/checksum.ts";
import { dontFragment, ipv4, ipv4HeaderBytes, moreFragments, setHeaderChecksum } from "../wire/ipv4.ts";
import { clearVnetHeader, gso, moveVnetHeader, needsChecksum, vnet } from "../wire/vnet.ts";
import { writeFragmentationNeeded } from "./icmp-error.ts";
import { verdict } from "./verdict.ts";

/** Own ICMP errors: at most this many at once, and one more every so many milliseconds (RFC 1812, section 4.3.2.8). */
const errorBurst = 50;
const errorIntervalMs = 10;

export class Egress {
  readonly view: DataView;
  readonly memory: Uint8Array;
  /** This worker's copy of the uplink rows, and the bytes of the same. */
  readonly uplinks = new Int32Array(maxUplinks * uplinkWords);
  readonly #uplinkView = new DataView(this.uplinks.buffer);
  readonly #io: PacketIO;
  readonly #tun: DeviceQueues;
  /** The address that our own errors come from: no interface's, or the kernel would take it for spoofed. */
  readonly #errorSource: number;
  #scratchUsed = 0;
  #errorTokens = errorBurst;
  #errorTokensAtMs = 0;

  constructor(io: PacketIO, errorSource: number) {
    this.#io = io;
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

  uplinkWord(uplink: number, word: number): number {
    return this.uplinks[uplink * uplinkWords + word]!;
  }

  /**
   * Whether a packet, as the inside sent it, fits its uplink or may be cut. If not, its sender is told
   * (RFC 1191), and it is not to be sent. `header` is the vnet header's place, `l4End` the end of the layer-4 header.
   */
  fits(at: number, length: number, header: number, l4End: number, uplink: number, nowMs: number): boolean {
    const mtu = this.uplinkWord(uplink, uplinkWord.mtu);
    if (length <= mtu) return true;
    const view = this.view;
    const isSuperPacket = view.getUint8(header + vnet.gsoType) !== gso.none;
    if (isSuperPacket && l4End - at + view.getUint16(header + vnet.gsoSize, true) <= mtu) return true;
    const mayCut = (view.getUint16(at + ipv4.fragment) & dontFragment) === 0;
    // A super-packet is cut into segments by whoever sends it, and those can't be cut again here.
    if (mayCut && !isSuperPacket && (view.getUint8(at) & 0x0f) === 5) return true;
    const to = this.#mayMakeError(nowMs) ? this.takeScratch() : 0;
    if (to !== 0) {
      const bytes = writeFragmentationNeeded(view, this.memory, to, at, length, this.#errorSource, mtu);
      clearVnetHeader(view, to - vnetBytes);
      this.#tun.send(to - vnetBytes, vnetBytes + bytes);
    }
    return false;
  }

  /** Queues a packet, already rewritten, on an uplink. Returns the verdict. `header` is the place of its vnet header. */
  toUplink(uplink: number, at: number, length: number, header: number, l4: number): number {
    const view = this.view;
    if (length > this.uplinkWord(uplink, uplinkWord.mtu) && view.getUint8(header + vnet.gsoType) === gso.none)
      return this.#cut(uplink, at, length, header, l4);
    const { linkBytes } = this.#io.devices[uplink + 1]!;
    const start = at - linkBytes - vnetBytes;
    moveVnetHeader(view, header, start, header - start);
    return this.#queue(uplink, at, length, linkBytes);
  }

  /** Queues a packet, already rewritten, for the inside. */
  toInside(at: number, length: number, header: number): number {
    const start = at - vnetBytes;
    moveVnetHeader(this.view, header, start, header - start);
    return this.#tun.send(start, vnetBytes + length) ? verdict.forward : verdict.sendQueueFull;
  }

  /** Writes the MAC header and queues; the vnet header is in place. */
  #queue(uplink: number, at: number, length: number, linkBytes: number): number {
    if (linkBytes !== 0) {
      const view = this.view;
      const from = (uplink * uplinkWords + uplinkWord.linkHeader) * 4;
      const to = at - ethernetBytes;
      view.setInt32(to, this.#uplinkView.getInt32(from));
      view.setInt32(to + 4, this.#uplinkView.getInt32(from + 4));
      view.setInt32(to + 8, this.#uplinkView.getInt32(from + 8));
      view.setInt16(to + 12, this.#uplinkView.getInt16(from + 12));
    }
    const start = at - linkBytes - vnetBytes;
    const sent = this.#io.devices[uplink + 1]!.send(start, vnetBytes + linkBytes + length);
    return sent ? verdict.forward : verdict.sendQueueFull;
  }

  /** Cuts a packet without DF and options into fragments (RFC 791, section 3.2), each in a slot of its own. */
  #cut(uplink: number, at: number, length: number, header: number, l4: number): number {
    const { view, memory } = this;
    this.#finishChecksum(at, length, header, l4);
    const { linkBytes } = this.#io.devices[uplink + 1]!;
    const step = (this.uplinkWord(uplink, uplinkWord.mtu) - ipv4HeaderBytes) & ~7;
    const field = view.getUint16(at + ipv4.fragment);
    const end = length - ipv4HeaderBytes;
    for (let offset = 0; offset < end; offset += step) {
      const to = this.takeScratch();
      if (to === 0) return verdict.tooBig;
      const bytes = Math.min(step, end - offset);
      const more = offset + bytes < end ? moreFragments : field & moreFragments;
      memory.copyWithin(to, at, at + ipv4HeaderBytes);
      memory.copyWithin(to + ipv4HeaderBytes, l4 + offset, l4 + offset + bytes);
      view.setUint16(to + ipv4.totalLength, ipv4HeaderBytes + bytes);
      view.setUint16(to + ipv4.fragment, more | ((field & 0x1fff) + (offset >>> 3)));
      setHeaderChecksum(view, to);
      clearVnetHeader(view, to - linkBytes - vnetBytes);
      const result = this.#queue(uplink, to, ipv4HeaderBytes + bytes, linkBytes);
      if (result !== verdict.forward) return result;
    }
    return verdict.forward;
  }

  /** A partial checksum is finished here when the packet can't be handed over whole. */
  #finishChecksum(at: number, length: number, header: number, l4: number): void {
    const view = this.view;
    if ((view.getUint8(header + vnet.flags) & needsChecksum) === 0) return;
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
