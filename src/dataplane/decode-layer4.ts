/**
 * The layer-4 half of decoding, the same for both families: headers are whole, flags and lengths make
 * sense, ports are there; and the virtio-net header tells the truth about the packet.
 */
import { packetWord } from "../tables/batch.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import {
  protocolDccp,
  protocolHopByHop,
  protocolIgmp,
  protocolTcp,
  protocolUdp,
  protocolUdpLite,
} from "../wire/ipv4.ts";
import { flagsValid, tcp, tcpHeaderBytes } from "../wire/tcp.ts";
import { udp, udpHeaderBytes } from "../wire/udp.ts";
import { gso, isPartial, isSuperPacket, vnet } from "../wire/vnet.ts";
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

export function decodeTcp(view: DataView, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < tcpHeaderBytes) return truncated(rows, p, verdict.tcpTruncated);
  const headerLength = (view.getUint8(l4 + tcp.dataOffset) >>> 4) << 2;
  if (headerLength < tcpHeaderBytes || headerLength > bytes) return verdict.tcpTruncated;
  const flags = view.getUint8(l4 + tcp.flags);
  if (!flagsValid(flags)) return verdict.tcpFlags;
  rows[p + packetWord.flags] = flags;
  rows[p + packetWord.l4End] = l4 + headerLength;
  return setPorts(rows, p, view.getInt32(l4));
}

export function decodeUdp(view: DataView, l4: number, bytes: number, rows: Int32Array, p: number): number {
  if (bytes < udpHeaderBytes) return truncated(rows, p, verdict.udpLength);
  const length = view.getUint16(l4 + udp.length);
  if (length < udpHeaderBytes) return verdict.udpLength;
  // A first fragment's length is that of the whole datagram.
  if (length > bytes && rows[p + packetWord.kind] === kind.flow) return verdict.udpLength;
  rows[p + packetWord.l4End] = l4 + udpHeaderBytes;
  return setPorts(rows, p, view.getInt32(l4));
}

/** A protocol without ports of ours: GRE, ESP, SCTP, whatever is not for the router's own link (RFC 3022, section 2.2: basic translation). */
export function decodeOther(rows: Int32Array, p: number, l4: number, bytes: number, protocol: number): number {
  if (protocol === protocolIgmp || protocol === protocolHopByHop) return verdict.protocolUnsupported;
  if ((protocol === protocolDccp || protocol === protocolUdpLite) && bytes < udpHeaderBytes)
    return truncated(rows, p, verdict.udpLength);
  rows[p + packetWord.l4End] = l4;
  rows[p + packetWord.ports] = 0;
  rows[p + packetWord.flags] = 0;
  return verdict.forward;
}

/** A first fragment without its whole header is the tiny-fragment attack (RFC 1858), not a short packet. */
export function truncated(rows: Int32Array, p: number, whole: number): number {
  return rows[p + packetWord.kind] === kind.firstFragment ? verdict.fragmentTooShort : whole;
}

function setPorts(rows: Int32Array, p: number, ports: number): number {
  if (ports >>> 16 === 0 || (ports & 0xffff) === 0) return verdict.portZero;
  rows[p + packetWord.ports] = ports;
  return verdict.forward;
}

/**
 * Whether a vnet header that asks for something tells the truth about the packet. It stands before `start`, the
 * packet ends at `end`, and `gsoTcp` is what segments of TCP are called in this family.
 */
export function offloadOk(
  view: DataView,
  start: number,
  end: number,
  l4: number,
  protocol: number,
  offload: number,
  gsoTcp: number,
): boolean {
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
  return ((offload >>> 8) & ~gso.ecn) === (protocol === protocolTcp ? gsoTcp : gso.udpL4);
}
