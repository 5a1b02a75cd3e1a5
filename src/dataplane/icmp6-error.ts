/**
 * ICMPv6 errors: those that others send about our flows, translated with the packet they quote, and the ones
 * we send ourselves. As icmp-error.ts, but that the quoted packet may have extension headers, and that the
 * checksum covers the addresses (RFC 4443, section 2.3).
 */
import type { AddressBook } from "../tables/address-book.ts";
import { type FlowTable, flowWord, flowWords } from "../tables/flow-table.ts";
import { icmp, icmpHeaderBytes } from "../wire/icmp.ts";
import { icmpv6Mtu, icmpv6Type } from "../wire/icmpv6.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import {
  fragmentHeader,
  fragmentOffsetMask6,
  ipv6,
  ipv6AddressBytes,
  ipv6HeaderBytes,
  leastMtu6,
  protocolIcmpv6,
  walkEnd,
  walkExtensions,
  walked,
  walkedWords,
} from "../wire/ipv6.ts";
import { tcp } from "../wire/tcp.ts";
import { icmpv6Sum, nameAt } from "./decode6.ts";
import { flowFlag } from "./flow-state.ts";
import { keepPort, setAddress6, setDestination6, setSource6 } from "./masquerade6.ts";

/** Bytes of layer 4 that must be quoted to tell the flow. */
const quotedL4Bytes = 8;

export class IcmpErrors6 {
  readonly #view: DataView;
  readonly #flows: FlowTable;
  readonly #names: AddressBook;
  readonly #found = new Int32Array(walkedWords);
  /** Of the quoted packet, once `read`: where it and its layer 4 begin, its flow's protocol, and the ports of its flow's tuple. */
  #inner = 0;
  #innerL4 = 0;
  #protocol = 0;
  #ports = 0;

  constructor(view: DataView, flows: FlowTable, names: AddressBook) {
    this.#view = view;
    this.#flows = flows;
    this.#names = names;
  }

  /** Protocol and ports of the tuple that answers the quoted packet, and whether the kernel's programs see those ports where they stand. */
  get protocol(): number {
    return this.#protocol;
  }

  get ports(): number {
    return this.#ports;
  }

  get isPlain(): boolean {
    return this.#innerL4 === this.#inner + ipv6HeaderBytes;
  }

  /** Reads the packet that an error quotes; false when that can belong to no flow. The error is `length` bytes at `at`, its ICMPv6 header at `l4`. */
  read(at: number, length: number, l4: number): boolean {
    const view = this.#view;
    const inner = l4 + icmpHeaderBytes;
    const end = at + length;
    if (end - inner < ipv6HeaderBytes || view.getUint8(inner) >>> 4 !== 6) return false;
    if (walkExtensions(view, inner, end, this.#found) !== walkEnd.ok) return false;
    const innerL4 = this.#found[walked.l4]!;
    const fragment = this.#found[walked.fragment]!;
    if (fragment !== 0 && (view.getUint16(fragment + fragmentHeader.offset) & fragmentOffsetMask6) !== 0) return false;
    if (end - innerL4 < quotedL4Bytes) return false;

    const protocol = this.#found[walked.protocol]!;
    this.#inner = inner;
    this.#innerL4 = innerL4;
    this.#protocol = protocol === protocolIcmpv6 ? protocolIcmp : protocol;
    this.#ports = 0;
    if (protocol === protocolTcp || protocol === protocolUdp) {
      const quoted = view.getInt32(innerL4);
      this.#ports = (quoted << 16) | (quoted >>> 16);
      return true;
    }
    if (protocol !== protocolIcmpv6) return protocol !== protocolIcmp;
    const type = view.getUint8(innerL4);
    const identifier = view.getUint16(innerL4 + icmp.identifier);
    // The identifier stands for the asker's port: the answer to a question goes to the asker, and comes from him else.
    if (type === icmpv6Type.echo) this.#ports = identifier;
    else if (type === icmpv6Type.echoReply) this.#ports = identifier << 16;
    else return false;
    return true;
  }

  /** The flow (`flow << 1 | direction`) of the packet that was read, or 0: `direction` is reply for an error from outside, original for one from inside. */
  find(direction: number): number {
    const source = nameAt(this.#names, this.#view, this.#inner + ipv6.destination);
    const destination = nameAt(this.#names, this.#view, this.#inner + ipv6.source);
    const hash = this.#flows.hash(source, destination, this.#ports, this.#protocol);
    const id = this.#flows.find(hash, source, destination, this.#ports, this.#protocol);
    return id !== 0 && (id & 1) === direction ? id : 0;
  }

  /** Translates the error that was read, from outside: towards the inside host, about the packet as that host sent it. */
  translateInbound(at: number, length: number, l4: number, flow: number): void {
    const view = this.#view;
    const { words } = this.#flows;
    const row = flow * flowWords;
    const inside = words[row + flowWord.inside]!;
    floorMtu(view, l4);
    setAddress6(view, at + ipv6.destination, this.#names, inside);
    const port = this.#keepsPort(row) ? keepPort : words[row + flowWord.ports]! >>> 16;
    this.#rewriteQuoted(at + length, ipv6.source, inside, port);
    setChecksum(view, at, length, l4);
  }

  /** Translates the error that was read, from inside, whoever sent it there: from the mapped address, about the packet as the remote sent it. */
  translateOutbound(at: number, length: number, l4: number, flow: number): void {
    const view = this.#view;
    const { words } = this.#flows;
    const row = flow * flowWords;
    const mapped = words[row + flowWord.mapped]!;
    setAddress6(view, at + ipv6.source, this.#names, mapped);
    const port = this.#keepsPort(row) ? keepPort : words[row + flowWord.outside]! >>> 16;
    this.#rewriteQuoted(at + length, ipv6.destination, mapped, port);
    setChecksum(view, at, length, l4);
  }

  #keepsPort(row: number): boolean {
    return keepsIdentifier(this.#flows.words, row);
  }

  /** Sets one endpoint of the quoted packet: the one on our side. */
  #rewriteQuoted(end: number, field: number, name: number, port: number): void {
    const view = this.#view;
    const inner = this.#inner;
    const innerL4 = this.#innerL4;
    const isSource = field === ipv6.source;
    if (this.#protocol === protocolTcp && end < innerL4 + tcp.checksum + 2) {
      // Only the first bytes of a TCP header are quoted: there is no checksum to keep right.
      setAddress6(view, inner + field, this.#names, name);
      view.setUint16(innerL4 + (isSource ? tcp.sourcePort : tcp.destinationPort), port);
    } else if (isSource) setSource6(view, inner, innerL4, this.#protocol, this.#names, name, port, false);
    else setDestination6(view, inner, innerL4, this.#protocol, this.#names, name, port, false);
  }
}

/** Whether a flow is a ping that came from outside: its identifier is the remote's, and stays (the row stands for it as the remote's port). */
export function keepsIdentifier(words: Int32Array, row: number): boolean {
  const protocol = (words[row + flowWord.outside]! >>> 8) & 0xff;
  return protocol === protocolIcmp && (words[row + flowWord.state]! & flowFlag.openedByRemote) !== 0;
}

/**
 * Writes an error about the packet at `at` to `to`, addressed to its source, and returns its length. `from` is the
 * name of the address of the router that says so; `mtu` is for "packet too big", else 0. As much is quoted
 * as fits the least MTU (RFC 4443, section 3).
 */
export function writeError6(
  view: DataView,
  memory: Uint8Array,
  names: AddressBook,
  to: number,
  at: number,
  length: number,
  from: number,
  type: number,
  code: number,
  mtu: number,
): number {
  const quoted = Math.min(length, leastMtu6 - ipv6HeaderBytes - icmpHeaderBytes);
  const l4 = to + ipv6HeaderBytes;
  const total = ipv6HeaderBytes + icmpHeaderBytes + quoted;
  memory.fill(0, to, l4 + icmpHeaderBytes);
  memory.copyWithin(l4 + icmp.inner, at, at + quoted);
  view.setUint8(to, 0x60);
  view.setUint16(to + ipv6.payloadLength, total - ipv6HeaderBytes);
  view.setUint8(to + ipv6.nextHeader, protocolIcmpv6);
  view.setUint8(to + ipv6.hopLimit, 64);
  setAddress6(view, to + ipv6.source, names, from);
  memory.copyWithin(to + ipv6.destination, at + ipv6.source, at + ipv6.source + ipv6AddressBytes);
  view.setUint8(l4 + icmp.type, type);
  view.setUint8(l4 + icmp.code, code);
  view.setUint32(l4 + icmpv6Mtu, mtu);
  setChecksum(view, to, total, l4);
  return total;
}

/** Raises the MTU of "packet too big" to what every link has: nobody may be asked for less (RFC 8201, section 4). */
function floorMtu(view: DataView, l4: number): void {
  if (view.getUint8(l4 + icmp.type) !== icmpv6Type.packetTooBig) return;
  if (view.getUint32(l4 + icmpv6Mtu) < leastMtu6) view.setUint32(l4 + icmpv6Mtu, leastMtu6);
}

function setChecksum(view: DataView, at: number, length: number, l4: number): void {
  view.setUint16(l4 + icmp.checksum, 0);
  view.setUint16(l4 + icmp.checksum, ~icmpv6Sum(view, at, l4, at + length - l4) & 0xffff);
}
