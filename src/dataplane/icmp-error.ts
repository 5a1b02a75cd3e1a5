/**
 * ICMP errors: those that others send about our flows, translated with the packet they quote, and
 * the one we send ourselves (fragmentation needed).
 *
 * The quoted packet is one of ours as it was seen where the error arose: from outside it carries
 * the mapped source, from inside the real destination. It is looked up by that, turned round, and
 * rewritten back (RFC 5508, section 4; RFC 7857, section 9 for the outer source). Errors neither refresh
 * nor end a flow (RFC 5508, REQ-6; RFC 5382, REQ-10).
 */
import { type FlowTable, flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { applyDelta, delta16, sumBytes } from "../wire/checksum.ts";
import { codeFragmentationNeeded, icmp, icmpHeaderBytes, icmpType, isQuery, isReply } from "../wire/icmp.ts";
import {
  fragmentOffsetMask,
  headerBytes,
  headerChecksumOk,
  ipv4,
  ipv4HeaderBytes,
  protocolIcmp,
  protocolTcp,
  protocolUdp,
  setHeaderChecksum,
} from "../wire/ipv4.ts";
import { tcp } from "../wire/tcp.ts";
import { setAddress, setDestination, setSource } from "./masquerade.ts";

/** Bytes of layer 4 that an error quotes at the least (RFC 792). */
const quotedL4Bytes = 8;
/** An error is no longer than 576 bytes (RFC 1812, section 4.3.2.3). */
const errorBytes = 576;

/**
 * The flow (`flow << 1 | direction`) that the packet quoted by an error belongs to, or 0.
 * `direction` is the tuple to look for: reply for an error from outside, original for one from inside.
 * The error is `length` bytes at `at`, its ICMP header at `l4`, its checksum already checked.
 */
export function findQuotedFlow(
  view: DataView,
  at: number,
  length: number,
  l4: number,
  flows: FlowTable,
  direction: number,
): number {
  const inner = l4 + icmpHeaderBytes;
  const left = at + length - inner;
  if (left < ipv4HeaderBytes || view.getUint8(inner) >>> 4 !== 4) return 0;
  const innerHeader = headerBytes(view, inner);
  if (innerHeader < ipv4HeaderBytes || left < innerHeader + quotedL4Bytes) return 0;
  if (!headerChecksumOk(view, inner, innerHeader)) return 0;
  if ((view.getUint16(inner + ipv4.fragment) & fragmentOffsetMask) !== 0) return 0;

  const protocol = view.getUint8(inner + ipv4.protocol);
  const innerL4 = inner + innerHeader;
  let ports = 0;
  if (protocol === protocolTcp || protocol === protocolUdp) {
    const quoted = view.getInt32(innerL4);
    ports = (quoted << 16) | (quoted >>> 16);
  } else if (protocol === protocolIcmp) {
    const type = view.getUint8(innerL4);
    const identifier = view.getUint16(innerL4 + icmp.identifier);
    // The quoted packet goes the other way than the tuple: a query out, a reply in.
    if (direction === reply && isQuery(type)) ports = identifier;
    else if (direction === original && isReply(type)) ports = identifier << 16;
    else return 0;
  }

  const source = view.getInt32(inner + ipv4.destination);
  const destination = view.getInt32(inner + ipv4.source);
  const id = flows.find(flows.hash(source, destination, ports, protocol), source, destination, ports, protocol);
  return id !== 0 && (id & 1) === direction ? id : 0;
}

/** Translates an error from outside: towards the inside host, about the packet as that host sent it. */
export function translateErrorInbound(
  view: DataView,
  at: number,
  length: number,
  l4: number,
  words: Int32Array,
  flow: number,
): void {
  const row = flow * flowWords;
  const inside = words[row + flowWord.inside]!;
  setAddress(view, at, ipv4.destination, inside);
  rewriteQuoted(view, at, length, l4, ipv4.source, inside, words[row + flowWord.ports]! >>> 16);
}

/** Translates an error from inside, whoever sent it there: from the mapped address, about the packet as the remote sent it. */
export function translateErrorOutbound(
  view: DataView,
  at: number,
  length: number,
  l4: number,
  words: Int32Array,
  flow: number,
): void {
  const row = flow * flowWords;
  const mapped = words[row + flowWord.mapped]!;
  setAddress(view, at, ipv4.source, mapped);
  rewriteQuoted(view, at, length, l4, ipv4.destination, mapped, words[row + flowWord.outside]! >>> 16);
}

function rewriteQuoted(
  view: DataView,
  at: number,
  length: number,
  l4: number,
  field: number,
  address: number,
  port: number,
): void {
  const inner = l4 + icmpHeaderBytes;
  const innerL4 = inner + headerBytes(view, inner);
  const protocol = view.getUint8(inner + ipv4.protocol);
  if (protocol === protocolTcp && at + length < innerL4 + tcp.checksum + 2) {
    // Only the first 8 bytes of a TCP header are quoted: there is no checksum to keep right.
    setAddress(view, inner, field, address);
    view.setUint16(innerL4 + (field === ipv4.source ? tcp.sourcePort : tcp.destinationPort), port);
  } else if (field === ipv4.source) setSource(view, inner, innerL4, protocol, address, port, false);
  else setDestination(view, inner, innerL4, protocol, address, port, false);
  view.setUint16(l4 + icmp.checksum, 0);
  view.setUint16(l4 + icmp.checksum, ~sumBytes(view, l4, at + length - l4) & 0xffff);
}

/** Raises a next-hop MTU that no IPv4 link may have (below 576, RFC 791): an attacker's way to shrink a connection. */
export function floorNextHopMtu(view: DataView, l4: number, smallest: number): void {
  if (view.getUint8(l4) !== icmpType.unreachable || view.getUint8(l4 + icmp.code) !== codeFragmentationNeeded) return;
  const mtu = view.getUint16(l4 + icmp.nextHopMtu);
  if (mtu === 0 || mtu >= smallest) return;
  view.setUint16(l4 + icmp.nextHopMtu, smallest);
  view.setUint16(l4 + icmp.checksum, applyDelta(view.getUint16(l4 + icmp.checksum), delta16(mtu, smallest)));
}

/**
 * Writes "destination unreachable" about the packet at `at` to `to`, addressed to its source, and
 * returns its length. `from` is the address of the router that says so; `mtu` is for
 * "fragmentation needed" (RFC 1191), else 0.
 */
export function writeUnreachable(
  view: DataView,
  memory: Uint8Array,
  to: number,
  at: number,
  length: number,
  from: number,
  code: number,
  mtu: number,
): number {
  const quoted = Math.min(length, errorBytes - ipv4HeaderBytes - icmpHeaderBytes);
  const l4 = to + ipv4HeaderBytes;
  const total = ipv4HeaderBytes + icmpHeaderBytes + quoted;
  memory.fill(0, to, l4 + icmpHeaderBytes);
  memory.copyWithin(l4 + icmp.inner, at, at + quoted);
  view.setUint8(to, 0x45);
  view.setUint8(to + ipv4.tos, 0xc0); // internetwork control, RFC 1812, section 4.3.2.5
  view.setUint16(to + ipv4.totalLength, total);
  view.setUint8(to + ipv4.ttl, 64);
  view.setUint8(to + ipv4.protocol, protocolIcmp);
  view.setInt32(to + ipv4.source, from);
  view.setInt32(to + ipv4.destination, view.getInt32(at + ipv4.source));
  setHeaderChecksum(view, to);
  view.setUint8(l4, icmpType.unreachable);
  view.setUint8(l4 + icmp.code, code);
  view.setUint16(l4 + icmp.nextHopMtu, mtu);
  view.setUint16(l4 + icmp.checksum, ~sumBytes(view, l4, total - ipv4HeaderBytes) & 0xffff);
  return total;
}
