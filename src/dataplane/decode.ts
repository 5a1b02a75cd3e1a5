/**
 * Reads a packet once and writes down all that the later steps ask: where its layer 4 stands, its
 * tuple, and what kind it is. After a verdict of `forward` every header offset named in wire/ for
 * that kind lies inside the packet. Checks follow RFC 1812, section 5.2.2 (IPv4), RFC 9293 (TCP),
 * RFC 768 (UDP), RFC 5508 (ICMP) and the contract of the virtio-net header.
 */
import type { Batch } from "../tables/batch.ts";
import { type DeviceQueues, ipOffset, slotBytes, vnetBytes } from "../tables/packet-memory.ts";
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
import { flagsValid, tcp, tcpHeaderBytes } from "../wire/tcp.ts";
import { udp, udpHeaderBytes } from "../wire/udp.ts";
import { gso, needsChecksum, vnet } from "../wire/vnet.ts";
import { verdict } from "./verdict.ts";

export const kind = {
  /** TCP, UDP or an ICMP query or reply, whole: belongs to the flow of its own tuple. */
  flow: 0,
  /** An ICMP error: belongs to the flow of the packet it quotes. */
  icmpError: 1,
  /** Has the layer-4 header, and later fragments follow it. */
  firstFragment: 2,
  /** Has no layer-4 header; `ports` holds 0. */
  laterFragment: 3,
} as const;

/** Decodes what a turn has put into a device's slots. */
export function decodeBatch(view: DataView, device: DeviceQueues, batch: Batch): void {
  const { linkBytes } = device;
  const count = device.counts[0]!;
  const lengths = device.receiveLength;
  const headers = vnetBytes + linkBytes;
  let at = device.firstSlotAt + ipOffset;
  for (let i = 0; i < count; i++, at += slotBytes) {
    batch.verdict[i] = decode(view, at, lengths[i]! - headers, linkBytes, batch, i);
  }
  batch.count = count;
}

/**
 * Decodes the packet whose IP header is at `at`, with `bytes` received from there on, into row `i`,
 * and returns the verdict. Before it stand `linkBytes` of MAC header, and before those its vnet header.
 */
export function decode(view: DataView, at: number, bytes: number, linkBytes: number, batch: Batch, i: number): number {
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
  if (!isUnicastSource(source) || source === destination) return verdict.badSource;
  if (!isUnicastSource(destination)) return verdict.badDestination;

  const protocol = view.getUint8(at + ipv4.protocol);
  const l4 = at + headerLength;
  batch.at[i] = at;
  batch.length[i] = totalLength;
  batch.l4[i] = l4;
  batch.protocol[i] = protocol;
  batch.source[i] = source;
  batch.destination[i] = destination;
  batch.kind[i] = kind.flow;

  const l4Bytes = totalLength - headerLength;
  const fragment = view.getUint16(at + ipv4.fragment);
  if ((fragment & (moreFragments | fragmentOffsetMask)) !== 0) {
    const offset = (fragment & fragmentOffsetMask) << 3;
    if (headerLength + offset + l4Bytes > 65_535) return verdict.fragmentBeyondEnd;
    if (offset !== 0) {
      batch.kind[i] = kind.laterFragment;
      batch.ports[i] = 0;
      return verdict.forward;
    }
    batch.kind[i] = kind.firstFragment;
  }

  const result =
    protocol === protocolTcp
      ? decodeTcp(view, l4, l4Bytes, batch, i)
      : protocol === protocolUdp
        ? decodeUdp(view, l4, l4Bytes, batch, i)
        : protocol === protocolIcmp
          ? decodeIcmp(view, l4, l4Bytes, batch, i)
          : verdict.protocolUnsupported;
  if (result !== verdict.forward) return result;
  return vnetHeaderOk(view, at - linkBytes, l4, protocol) ? verdict.forward : verdict.vnetHeader;
}

function decodeTcp(view: DataView, l4: number, bytes: number, batch: Batch, i: number): number {
  if (bytes < tcpHeaderBytes) return truncated(batch, i, verdict.tcpTruncated);
  const headerLength = (view.getUint8(l4 + tcp.dataOffset) >>> 4) << 2;
  if (headerLength < tcpHeaderBytes || headerLength > bytes) return verdict.tcpTruncated;
  const flags = view.getUint8(l4 + tcp.flags);
  if (!flagsValid(flags)) return verdict.tcpFlags;
  batch.flags[i] = flags;
  return setPorts(batch, i, view.getInt32(l4));
}

function decodeUdp(view: DataView, l4: number, bytes: number, batch: Batch, i: number): number {
  if (bytes < udpHeaderBytes) return truncated(batch, i, verdict.udpLength);
  const length = view.getUint16(l4 + udp.length);
  if (length < udpHeaderBytes) return verdict.udpLength;
  // A first fragment's length is that of the whole datagram.
  if (length > bytes && batch.kind[i] === kind.flow) return verdict.udpLength;
  return setPorts(batch, i, view.getInt32(l4));
}

function decodeIcmp(view: DataView, l4: number, bytes: number, batch: Batch, i: number): number {
  if (bytes < icmpHeaderBytes) return truncated(batch, i, verdict.icmpTruncated);
  const type = view.getUint8(l4 + icmp.type);
  batch.flags[i] = type;
  // RFC 5508, REQ-3. A fragment's checksum covers what is not here.
  if (batch.kind[i] === kind.flow && sumBytes(view, l4, bytes) !== 0xffff) return verdict.icmpChecksum;
  const identifier = view.getUint16(l4 + icmp.identifier);
  if (isQuery(type)) batch.ports[i] = identifier << 16;
  else if (isReply(type)) batch.ports[i] = identifier;
  else if (isError(type) && batch.kind[i] === kind.flow) {
    batch.kind[i] = kind.icmpError;
    batch.ports[i] = 0;
  } else return verdict.icmpType;
  return verdict.forward;
}

/** A first fragment without its whole header is the tiny-fragment attack (RFC 1858), not a short packet. */
function truncated(batch: Batch, i: number, whole: number): number {
  return batch.kind[i] === kind.firstFragment ? verdict.fragmentTooShort : whole;
}

function setPorts(batch: Batch, i: number, ports: number): number {
  if (ports >>> 16 === 0 || (ports & 0xffff) === 0) return verdict.portZero;
  batch.ports[i] = ports;
  return verdict.forward;
}

/** Whether the offload header tells the truth about the packet. `start` is the first byte after it. */
function vnetHeaderOk(view: DataView, start: number, l4: number, protocol: number): boolean {
  const header = start - vnetBytes;
  const flags = view.getUint8(header + vnet.flags) & needsChecksum;
  const type = view.getUint8(header + vnet.gsoType) & ~gso.ecn;
  if (flags === 0) return type === gso.none;
  if (start + view.getUint16(header + vnet.checksumStart, true) !== l4) return false;
  const offset = view.getUint16(header + vnet.checksumOffset, true);
  if (protocol === protocolTcp ? offset !== tcp.checksum : protocol !== protocolUdp || offset !== udp.checksum)
    return false;
  if (type === gso.none) return true;
  if (view.getUint16(header + vnet.gsoSize, true) === 0) return false;
  return type === (protocol === protocolTcp ? gso.tcpv4 : gso.udpL4);
}
