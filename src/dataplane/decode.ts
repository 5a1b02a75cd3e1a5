/**
 * Reads a packet once and writes down all that the later steps ask: where its layer 4 stands, its
 * tuple, and what kind it is. After a verdict of `forward` every header offset named in wire/ for
 * that kind lies inside the packet. Checks follow RFC 1812, section 5.2.2 (IPv4), RFC 9293 (TCP),
 * RFC 768 (UDP), RFC 5508 (ICMP) and the contract of the virtio-net header.
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
  protocolDccp,
  protocolHopByHop,
  protocolIcmp,
  protocolIgmp,
  protocolTcp,
  protocolUdp,
  protocolUdpLite,
} from "../wire/ipv4.ts";
import { flagsValid, tcp, tcpHeaderBytes } from "../wire/tcp.ts";
import { udp, udpHeaderBytes } from "../wire/udp.ts";
import { gso, isPartial, isSuperPacket, offloadOf, vnet } from "../wire/vnet.ts";
import { verdict } from "./verdict.ts";

export const kind = {
  /** TCP, UDP or an ICMP query or reply, whole: belongs to the flow of its own tuple. */
  flow: 0,
  /** An ICMP error: belongs to the flow of the packet it quotes. */
  icmpError: 1,
  /** Has the layer-4 header, and later fragments follow it. */
  firstFragment: 2,
  /** Has no layer-4 header: `ports`, `l4End` and `offload` hold nothing. */
  laterFragment: 3,
} as const;

/** Decodes what a turn has put into a device's slots. */
export function decodeBatch(view: DataView, device: DeviceQueues, batch: Batch): void {
  const { linkBytes, receiveLength } = device;
  const { rows } = batch;
  const count = device.counts[queueWords.receiveCount]!;
  const headers = vnetBytes + linkBytes;
  let at = device.firstSlotAt + ipOffset;
  for (let i = 0; i < count; i++, at += slotBytes) {
    const p = i * packetWords;
    rows[p + packetWord.verdict] = decode(view, at, receiveLength[i]! - headers, linkBytes, rows, p);
  }
  batch.count = count;
}

/**
 * Decodes the packet whose IP header is at `at`, with `bytes` received from there on, into the row at
 * `p`, and returns the verdict. Before it stand `linkBytes` of MAC header, and before those its vnet header.
 */
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
  const isTrue = fragment === 0 && offloadOk(view, start, at + totalLength, l4, protocol, offload);
  return isTrue ? verdict.forward : verdict.vnetHeader;
}

function decodeTcp(view: DataView, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < tcpHeaderBytes) return truncated(rows, p, verdict.tcpTruncated);
  const headerLength = (view.getUint8(l4 + tcp.dataOffset) >>> 4) << 2;
  if (headerLength < tcpHeaderBytes || headerLength > bytes) return verdict.tcpTruncated;
  const flags = view.getUint8(l4 + tcp.flags);
  if (!flagsValid(flags)) return verdict.tcpFlags;
  rows[p + packetWord.flags] = flags;
  rows[p + packetWord.l4End] = l4 + headerLength;
  return setPorts(rows, p, view.getInt32(l4));
}

function decodeUdp(view: DataView, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < udpHeaderBytes) return truncated(rows, p, verdict.udpLength);
  const length = view.getUint16(l4 + udp.length);
  if (length < udpHeaderBytes) return verdict.udpLength;
  // A first fragment's length is that of the whole datagram.
  if (length > bytes && rows[p + packetWord.kind] === kind.flow) return verdict.udpLength;
  rows[p + packetWord.l4End] = l4 + udpHeaderBytes;
  return setPorts(rows, p, view.getInt32(l4));
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

/** A protocol without ports of ours: GRE, ESP, SCTP, whatever is not for the router's own link (RFC 3022, section 2.2: basic translation). */
function decodeOther(rows: Int32Array, p: number, l4: number, bytes: number, protocol: number): number {
  if (protocol === protocolIgmp || protocol === protocolHopByHop) return verdict.protocolUnsupported;
  if ((protocol === protocolDccp || protocol === protocolUdpLite) && bytes < udpHeaderBytes)
    return truncated(rows, p, verdict.udpLength);
  rows[p + packetWord.l4End] = l4;
  rows[p + packetWord.ports] = 0;
  rows[p + packetWord.flags] = 0;
  return verdict.forward;
}

/** A first fragment without its whole header is the tiny-fragment attack (RFC 1858), not a short packet. */
function truncated(rows: Int32Array, p: number, whole: number): number {
  return rows[p + packetWord.kind] === kind.firstFragment ? verdict.fragmentTooShort : whole;
}

function setPorts(rows: Int32Array, p: number, ports: number): number {
  if (ports >>> 16 === 0 || (ports & 0xffff) === 0) return verdict.portZero;
  rows[p + packetWord.ports] = ports;
  return verdict.forward;
}

/** Whether a vnet header that asks for something tells the truth about the packet. It stands before `start`, and the packet ends at `end`. */
function offloadOk(view: DataView, start: number, end: number, l4: number, protocol: number, offload: number): boolean {
  const header = start - vnetBytes;
  if (!isPartial(offload)) return false;
  // Beyond the end the kernel refuses to send it (EINVAL); a short one it corrects.
  if (start + view.getUint16(header + vnet.headerLength, true) > end) return false;
  if (start + view.getUint16(header + vnet.checksumStart, true) !== l4) return false;
  const offset = view.getUint16(header + vnet.checksumOffset, true);
  if (protocol === protocolTcp ? offset !== tcp.checksum : protocol !== protocolUdp || offset !== udp.checksum)
    return false;
  if (!isSuperPacket(offload)) return true;
  if (view.getUint16(header + vnet.gsoSize, true) === 0) return false;
  return ((offload >>> 8) & ~gso.ecn) === (protocol === protocolTcp ? gso.tcpv4 : gso.udpL4);
}
