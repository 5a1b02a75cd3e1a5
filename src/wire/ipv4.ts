/**
 * IPv4 (RFC 791). Offsets and small questions; `checkHeader` is asked once, after that every offset
 * up to the header length may be read. Addresses are signed 32-bit integers, so that they compare
 * with `===` and live in an Int32Array: 192.0.2.1 is 0xc0000201 | 0.
 */
import { fold, sumBytes } from "./checksum.ts";

export const ipv4 = {
  tos: 1,
  totalLength: 2,
  identification: 4,
  fragment: 6,
  ttl: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
  options: 20,
} as const;

export const ipv4HeaderBytes = 20;
export const dontFragment = 0x4000;
export const moreFragments = 0x2000;
export const fragmentOffsetMask = 0x1fff;

/** Means something in IPv6 only. As 0 it could not be told from a row that is free, either. */
export const protocolHopByHop = 0;
export const protocolIcmp = 1;
export const protocolIgmp = 2;
export const protocolTcp = 6;
export const protocolUdp = 17;
export const protocolDccp = 33;
export const protocolUdpLite = 136;

/** Whether layer 4 has an endpoint within the host that a translator can change: a port, or an ICMP query's identifier. */
export function hasPorts(protocol: number): boolean {
  return protocol === protocolTcp || protocol === protocolUdp || protocol === protocolIcmp;
}

export function headerBytes(view: DataView, at: number): number {
  return (view.getUint8(at) & 0x0f) << 2;
}

/** Whether the header's checksum is right: its words add up to 0xffff. */
export function headerChecksumOk(view: DataView, at: number, bytes: number): boolean {
  if (bytes !== ipv4HeaderBytes) return sumBytes(view, at, bytes) === 0xffff;
  // The common header, unrolled: five words, the sum of their halves.
  const a = view.getInt32(at);
  const b = view.getInt32(at + 4);
  const c = view.getInt32(at + 8);
  const d = view.getInt32(at + 12);
  const e = view.getInt32(at + 16);
  const high = (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16);
  const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return fold(high + low) === 0xffff;
}

/** Sets the header checksum from the header as it stands. */
export function setHeaderChecksum(view: DataView, at: number): void {
  view.setUint16(at + ipv4.checksum, 0);
  view.setUint16(at + ipv4.checksum, ~sumBytes(view, at, headerBytes(view, at)) & 0xffff);
}

/** Whether a datagram is whole and may not be cut: DF, no MF, offset 0 (RFC 6864, section 4). */
export function isAtomic(view: DataView, at: number): boolean {
  return (view.getUint16(at + ipv4.fragment) & (dontFragment | moreFragments | fragmentOffsetMask)) === dontFragment;
}

/** Whether the options hold a source route (LSRR or SSRR), which nobody forwards any more (RFC 7126, section 4.3 and 4.4). */
export function hasSourceRoute(view: DataView, at: number, bytes: number): boolean {
  for (let i = at + ipv4.options, end = at + bytes; i < end; ) {
    const kind = view.getUint8(i);
    if (kind === 0) return false;
    if (kind === 1) {
      i++;
      continue;
    }
    if (kind === 131 || kind === 137) return true;
    const size = i + 1 < end ? view.getUint8(i + 1) : 0;
    if (size < 2) return false;
    i += size;
  }
  return false;
}

/** Whether a host may send from this address: not 0/8, loopback, multicast, class E or broadcast (RFC 1122, section 3.2.1.3). */
export function isUnicastSource(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** The address as a signed 32-bit integer, or null when the text is not a dotted quad. */
export function parseAddress(text: string): number | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return null;
  let address = 0;
  for (let i = 1; i <= 4; i++) {
    const part = Number(match[i]);
    if (part > 255) return null;
    address = (address << 8) | part;
  }
  return address;
}

export function formatAddress(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
