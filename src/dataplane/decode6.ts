/**
 * Decoding of IPv6 (RFC 8200): as decode.ts does it for IPv4, into the same row. Addresses become their
 * names (tables/address-book.ts); one that nobody has named yet is 0, so that no flow can match it. The flow
 * label is no part of the tuple. An echo counts as ICMP, whatever the family: the addresses tell them apart.
 *
 * What is of the link or of the node is not forwarded: link-local and multicast addresses, neighbour
 * discovery, router advertisements, MLD.
 */
import type { AddressBook } from "../tables/address-book.ts";
import { packetWord } from "../tables/batch.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import { fold, sumBytes } from "../wire/checksum.ts";
import { icmp, icmpHeaderBytes } from "../wire/icmp.ts";
import { icmpv6Type, isError6 } from "../wire/icmpv6.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import {
  fragmentHeader,
  fragmentHeaderBytes,
  fragmentOffsetMask6,
  ipv6,
  ipv6AddressBytes,
  ipv6HeaderBytes,
  isForwardable,
  isLinkLocal,
  moreFragments6,
  protocolIcmpv6,
  protocolNoNext,
  walkEnd,
  walkExtensions,
  walked,
  walkedWords,
} from "../wire/ipv6.ts";
import { gso, offloadOf } from "../wire/vnet.ts";
import { decodeOther, decodeTcp, decodeUdp, kind, offloadOk, truncated } from "./decode-layer4.ts";
import { verdict } from "./verdict.ts";

export class Decoder6 {
  readonly #names: AddressBook;
  readonly #found = new Int32Array(walkedWords);

  constructor(names: AddressBook) {
    this.#names = names;
  }

  /** As `decode`, for a packet that says it is IPv6. */
  decode(view: DataView, at: number, bytes: number, linkBytes: number, rows: Int32Array, p: number): number {
    if (bytes < ipv6HeaderBytes) return verdict.ipTruncated;
    const length = ipv6HeaderBytes + view.getUint16(at + ipv6.payloadLength);
    if (length > bytes) return verdict.ipTotalLength;
    if (isLinkLocal(view.getInt32(at + ipv6.source)) || isLinkLocal(view.getInt32(at + ipv6.destination)))
      return verdict.linkLocal;
    if (!isForwardableAt(view, at + ipv6.source)) return verdict.badSource;
    if (!isForwardableAt(view, at + ipv6.destination)) return verdict.badDestination;
    const found = this.#found;
    const end = walkExtensions(view, at, at + length, found);
    if (end !== walkEnd.ok) return end === walkEnd.sourceRoute ? verdict.sourceRoute : verdict.extensionHeader;

    const l4 = found[walked.l4]!;
    const l4Bytes = at + length - l4;
    const protocol = found[walked.protocol]!;
    const fragment = found[walked.fragment]!;
    rows[p + packetWord.at] = at;
    rows[p + packetWord.length] = length;
    rows[p + packetWord.l4] = l4;
    rows[p + packetWord.source] = nameAt(this.#names, view, at + ipv6.source);
    rows[p + packetWord.destination] = nameAt(this.#names, view, at + ipv6.destination);
    rows[p + packetWord.protocol] = protocol === protocolIcmpv6 ? protocolIcmp : protocol;
    rows[p + packetWord.kind] = kind.flow;
    rows[p + packetWord.version] = 6;
    rows[p + packetWord.fragment] = fragment;
    if (fragment !== 0) {
      const result = decodeFragment(view, at, length, fragment, rows, p);
      if (result !== verdict.forward || rows[p + packetWord.kind] === kind.laterFragment) return result;
    }
    const result = decodeLayer4(view, at, l4, l4Bytes, protocol, rows, p);
    if (result !== verdict.forward) return result;

    const start = at - linkBytes;
    const offload = offloadOf(view, start - vnetBytes);
    rows[p + packetWord.offload] = offload;
    if (offload === 0) return verdict.forward;
    const isTrue = fragment === 0 && offloadOk(view, start, at + length, l4, protocol, offload, gso.tcpv6);
    return isTrue ? verdict.forward : verdict.vnetHeader;
  }
}

/** The name of the address at `at`, or 0. */
export function nameAt(names: AddressBook, view: DataView, at: number): number {
  return names.find(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
}

/** The sum that an ICMPv6 packet's words add up to, pseudo-header included (RFC 8200, section 8.1): 0xffff where the checksum is right. */
export function icmpv6Sum(view: DataView, at: number, l4: number, bytes: number): number {
  const addresses = sumBytes(view, at + ipv6.source, 2 * ipv6AddressBytes);
  return fold(sumBytes(view, l4, bytes) + addresses + bytes + protocolIcmpv6);
}

function isForwardableAt(view: DataView, at: number): boolean {
  return isForwardable(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8));
}

/** One that is the whole datagram already, an atomic fragment, stands for itself (RFC 6946). */
function decodeFragment(
  view: DataView,
  at: number,
  length: number,
  fragment: number,
  rows: Int32Array,
  p: number,
): number {
  const field = view.getUint16(fragment + fragmentHeader.offset);
  const offset = field & fragmentOffsetMask6;
  const isLast = (field & moreFragments6) === 0;
  rows[p + packetWord.identification] = view.getInt32(fragment + fragmentHeader.identification);
  const bytes = at + length - fragment - fragmentHeaderBytes;
  // Behind the last piece the datagram would be longer than its length field can say (RFC 8200, section 4.5).
  const beforeFragment = fragment - at - ipv6HeaderBytes;
  if (beforeFragment + offset + bytes > 65_535) return verdict.fragmentBeyondEnd;
  if ((!isLast && (bytes & 7) !== 0) || (bytes === 0 && field !== 0)) return verdict.fragmentTooShort;
  if (offset !== 0) rows[p + packetWord.kind] = kind.laterFragment;
  else if (!isLast) rows[p + packetWord.kind] = kind.firstFragment;
  return verdict.forward;
}

function decodeLayer4(
  view: DataView,
  at: number,
  l4: number,
  bytes: number,
  protocol: number,
  rows: Int32Array,
  p: number,
): number {
  if (protocol === protocolTcp) return decodeTcp(view, l4, bytes, rows, p);
  if (protocol === protocolUdp) return decodeUdp(view, l4, bytes, rows, p);
  if (protocol === protocolIcmpv6) return decodeIcmpv6(view, at, l4, bytes, rows, p);
  // ICMP within IPv6 is nobody's; and its number stands for ICMPv6 in the tables.
  if (protocol === protocolIcmp || protocol === protocolNoNext) return verdict.protocolUnsupported;
  return decodeOther(rows, p, l4, bytes, protocol);
}

function decodeIcmpv6(view: DataView, at: number, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < icmpHeaderBytes) return truncated(rows, p, verdict.icmpTruncated);
  const type = view.getUint8(l4 + icmp.type);
  const isWhole = rows[p + packetWord.kind] === kind.flow;
  rows[p + packetWord.flags] = type;
  rows[p + packetWord.l4End] = l4 + icmpHeaderBytes;
  if (isWhole && icmpv6Sum(view, at, l4, bytes) !== 0xffff) return verdict.icmpChecksum;
  const identifier = view.getUint16(l4 + icmp.identifier);
  if (type === icmpv6Type.echo) rows[p + packetWord.ports] = identifier << 16;
  else if (type === icmpv6Type.echoReply) rows[p + packetWord.ports] = identifier;
  else if (isWhole && isError6(type)) rows[p + packetWord.kind] = kind.icmpError;
  else return verdict.icmpType;
  return verdict.forward;
}
