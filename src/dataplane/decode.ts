/**
 * Reads a packet once and writes down all that the later steps ask: where its layer 4 stands, its
 * tuple, and what kind it is. After a verdict of `forward` every header offset named in wire/ for
 * that kind lies inside the packet. Checks follow RFC 1812, section 5.2.2 (IPv4), RFC 9293 (TCP),
 * RFC 768 (UDP), RFC 5508 (ICMP) and the contract of the virtio-net header. IPv6 has a decoder of its own.
 */
import { type Batch, packetWord, packetWords } from "../tables/batch.ts";
import { type DeviceQueues, ipOffset, queueWords, slotBytes, vnetBytes } from "../tables/packet-memory.ts";
import { sumBytes } from "../wire/checksum.ts";
import { icmp, icmpHeaderBytes, isError, isQuery, isReply } from "../wire/icmp.ts";
import {
  fragmentOffsetMask,
  hasSourceRoute,
  headerChecksumOk,
  ipv4,
  ipv4HeaderBytes,
  isUnicastSource,
  moreFragments,
  protocolIcmp,
  protocolTcp,
  protocolUdp,
} from "../wire/ipv4.ts";
import { gso, offloadOf } from "../wire/vnet.ts";
import { decodeOther, decodeTcp, decodeUdp, kind, offloadOk, truncated } from "./decode-layer4.ts";
import type { Decoder6 } from "./decode6.ts";
import { verdict } from "./verdict.ts";

export { kind };

/** Decodes what a turn has put into a device's slots. */
export function decodeBatch(view: DataView, device: DeviceQueues, batch: Batch, decoder6: Decoder6): void {
  const { linkBytes, receiveLength } = device;
  const { rows } = batch;
  const count = device.counts[queueWords.receiveCount]!;
  const headers = vnetBytes + linkBytes;
  let at = device.firstSlotAt + ipOffset;
  for (let i = 0; i < count; i++, at += slotBytes) {
    const p = i * packetWords;
    rows[p + packetWord.verdict] = decodePacket(view, at, receiveLength[i]! - headers, linkBytes, rows, p, decoder6);
  }
  batch.count = count;
}

/**
 * Decodes the packet whose IP header is at `at`, with `bytes` received from there on, into the row at
 * `p`, and returns the verdict. Before it stand `linkBytes` of MAC header, and before those its vnet header.
 */
export function decodePacket(
  view: DataView,
  at: number,
  bytes: number,
  linkBytes: number,
  rows: Int32Array,
  p: number,
  decoder6: Decoder6,
): number {
  if (bytes > 0 && view.getUint8(at) >>> 4 === 6) return decoder6.decode(view, at, bytes, linkBytes, rows, p);
  return decode(view, at, bytes, linkBytes, rows, p);
}

/** As `decodePacket`, for IPv4 alone. */
export function decode(
  view: DataView,
  at: number,
  bytes: number,
  linkBytes: number,
  rows: Int32Array,
  p: number,
): number {
  if (bytes < ipv4HeaderBytes) return verdict.ipTruncated;
  const first = view.getUint8(at);
  if (first >>> 4 !== 4) return verdict.ipVersion;
  const headerLength = (first & 0x0f) << 2;
  if (headerLength < ipv4HeaderBytes || headerLength > bytes) return verdict.ipHeaderLength;
  const totalLength = view.getUint16(at + ipv4.totalLength);
  if (totalLength < headerLength || totalLength > bytes) return verdict.ipTotalLength;
  if (!headerChecksumOk(view, at, headerLength)) return verdict.ipChecksum;
  if (headerLength !== ipv4HeaderBytes && hasSourceRoute(view, at, headerLength)) return verdict.sourceRoute;

  const source = view.getInt32(at + ipv4.source);
  const destination = view.getInt32(at + ipv4.destination);
  if (!isUnicastSource(source)) return verdict.badSource;
  if (!isUnicastSource(destination)) return verdict.badDestination;

  const protocol = view.getUint8(at + ipv4.protocol);
  const l4 = at + headerLength;
  rows[p + packetWord.at] = at;
  rows[p + packetWord.length] = totalLength;
  rows[p + packetWord.l4] = l4;
  rows[p + packetWord.source] = source;
  rows[p + packetWord.destination] = destination;
  rows[p + packetWord.protocol] = protocol;
  rows[p + packetWord.kind] = kind.flow;
  rows[p + packetWord.version] = 4;

  const l4Bytes = totalLength - headerLength;
  const fragment = view.getUint16(at + ipv4.fragment) & (moreFragments | fragmentOffsetMask);
  if (fragment !== 0) {
    const offset = (fragment & fragmentOffsetMask) << 3;
    if (headerLength + offset + l4Bytes > 65_535) return verdict.fragmentBeyondEnd;
    rows[p + packetWord.kind] = offset === 0 ? kind.firstFragment : kind.laterFragment;
    rows[p + packetWord.identification] = view.getUint16(at + ipv4.identification);
    if (offset !== 0) return verdict.forward;
  }

  let result: number;
  if (protocol === protocolTcp) result = decodeTcp(view, l4, l4Bytes, rows, p);
  else if (protocol === protocolUdp) result = decodeUdp(view, l4, l4Bytes, rows, p);
  else if (protocol === protocolIcmp) result = decodeIcmp(view, l4, l4Bytes, rows, p);
  else result = decodeOther(rows, p, l4, l4Bytes, protocol);
  if (result !== verdict.forward) return result;

  const start = at - linkBytes;
  const offload = offloadOf(view, start - vnetBytes);
  rows[p + packetWord.offload] = offload;
  if (offload === 0) return verdict.forward;
  // No card can finish the checksum of a fragment, or segment it.
  const isTrue = fragment === 0 && offloadOk(view, start, at + totalLength, l4, protocol, offload, gso.tcpv4);
  return isTrue ? verdict.forward : verdict.vnetHeader;
}

function decodeIcmp(view: DataView, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < icmpHeaderBytes) return truncated(rows, p, verdict.icmpTruncated);
  const type = view.getUint8(l4 + icmp.type);
  const isWhole = rows[p + packetWord.kind] === kind.flow;
  rows[p + packetWord.flags] = type;
  rows[p + packetWord.l4End] = l4 + icmpHeaderBytes;
  // RFC 5508, REQ-3. A fragment's checksum covers what is not here.
  if (isWhole && sumBytes(view, l4, bytes) !== 0xffff) return verdict.icmpChecksum;
  const identifier = view.getUint16(l4 + icmp.identifier);
  if (isQuery(type)) rows[p + packetWord.ports] = identifier << 16;
  else if (isReply(type)) rows[p + packetWord.ports] = identifier;
  else if (isWhole && isError(type)) rows[p + packetWord.kind] = kind.icmpError;
  else return verdict.icmpType;
  return verdict.forward;
}
