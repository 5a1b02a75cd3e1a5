/**
 * Changes the inside's end of a packet, whichever side it comes from, also in what an ICMP error quotes. Checksums change
 * by the difference (RFC 1624), so that what is wrong stays wrong. Takes packets that are broken in any way: what
 * cannot be found is left alone.
 */

import { addressText, ICMP, internetChecksum, TCP, UDP } from "../../support/packets.ts";

/** Where a packet comes from. */
export type Side = "inside" | "outside";

/** Four bytes of an address, and two of a port or of an ICMP query's identifier. */
export interface End {
  readonly address: Uint8Array;
  readonly port: Uint8Array;
}

export interface Flow {
  /** The same for both directions. */
  readonly key: string;
  /** Where the inside's port or identifier stands; -1 when there is none. */
  readonly portAt: number;
}

const sourceAt = 12;
const destinationAt = 16;
const addressBytes = 4;
/** Where the header's checksum stands. */
const headerChecksumAt = 10;
const errorTypes = [3, 4, 5, 11, 12];

/** A copy with another inside end. */
export function withInside(packet: Uint8Array, side: Side, end: End): Uint8Array {
  const bytes = packet.slice();
  if (!hasHeader(bytes)) return bytes;
  const quoted = quotedAt(bytes);
  if (quoted >= 0) setQuoted(bytes, bytes.subarray(quoted), opposite(side), end);
  else setPort(bytes, side, end);
  replace(bytes, insideAt(side), end.address, [headerChecksumAt, ...layer4ChecksumAt(bytes)]);
  return bytes;
}

/** The flow that a packet belongs to, by what it quotes when it is an ICMP error. Undefined for a later fragment and one that is cut off. */
export function flowOf(packet: Uint8Array, side: Side): Flow | undefined {
  if (!hasHeader(packet)) return undefined;
  const quoted = quotedAt(packet);
  return quoted < 0 ? ownFlow(packet, side) : ownFlow(packet.subarray(quoted), opposite(side));
}

/** What the fragments of a datagram have in common. */
export function datagramOf(packet: Uint8Array): string {
  return `${addressText(packet.subarray(sourceAt, destinationAt + addressBytes))} ${packet[9]} ${word(packet, 4)}`;
}

/** Whether it is an ICMP error, which belongs to the flow that it quotes and has no endpoint of its own. */
export function isError(packet: Uint8Array): boolean {
  return quotedAt(packet) >= 0;
}

export function isLaterFragment(packet: Uint8Array): boolean {
  return (word(packet, 6) & 0x1fff) !== 0;
}

function ownFlow(packet: Uint8Array, side: Side): Flow | undefined {
  const l4 = headerBytes(packet);
  if (!hasHeader(packet) || packet.length < l4 + 8 || isLaterFragment(packet)) return undefined;
  const protocol = packet[9]!;
  const [inside, remote] = side === "inside" ? [0, 1] : [1, 0];
  const address = (end: number) => addressText(packet.subarray(sourceAt + 4 * end, destinationAt + 4 * end));
  const hosts = `${protocol} ${address(inside)} ${address(remote)}`;
  if (protocol === TCP || protocol === UDP) {
    const portAt = l4 + 2 * inside;
    return { key: `${hosts} ${word(packet, portAt)} ${word(packet, l4 + 2 * remote)}`, portAt };
  }
  if (protocol === ICMP) return { key: `${hosts} ${word(packet, l4 + 4)}`, portAt: l4 + 4 };
  return { key: hosts, portAt: -1 };
}

function setPort(bytes: Uint8Array, side: Side, { port }: End): void {
  const flow = ownFlow(bytes, side);
  if (flow === undefined || flow.portAt < 0) return;
  const l4 = headerBytes(bytes);
  replace(bytes, flow.portAt, port, bytes[9] === ICMP ? [l4 + 2] : layer4ChecksumAt(bytes));
}

/** The checksum of the error, over all that it quotes, is right afterwards only if it was before. */
function setQuoted(bytes: Uint8Array, quoted: Uint8Array, side: Side, end: End): void {
  const l4 = headerBytes(bytes);
  const wasRight = internetChecksum(bytes.subarray(l4)) === 0;
  if (hasHeader(quoted)) {
    setPort(quoted, side, end);
    replace(quoted, insideAt(side), end.address, [headerChecksumAt, ...layer4ChecksumAt(quoted)]);
  }
  if (!wasRight) return;
  bytes.set([0, 0], l4 + 2);
  const sum = internetChecksum(bytes.subarray(l4));
  bytes.set([sum >> 8, sum & 255], l4 + 2);
}

/** Where the packet that an ICMP error quotes begins, or -1. */
function quotedAt(packet: Uint8Array): number {
  const l4 = headerBytes(packet);
  const isError = packet[9] === ICMP && !isLaterFragment(packet) && errorTypes.includes(packet[l4]!);
  return isError && packet.length >= l4 + 8 + 28 ? l4 + 8 : -1;
}

/** Where the layer-4 checksum stands that covers the addresses: none when it is absent or cut off. */
function layer4ChecksumAt(bytes: Uint8Array): number[] {
  const l4 = headerBytes(bytes);
  const field = bytes[9] === TCP ? l4 + 16 : l4 + 6;
  const isThere = bytes[9] === TCP || (bytes[9] === UDP && word(bytes, field) !== 0);
  return isThere && !isLaterFragment(bytes) && field + 2 <= bytes.length ? [field] : [];
}

function replace(bytes: Uint8Array, at: number, value: Uint8Array, checksums: readonly number[]): void {
  for (const field of checksums) {
    let sum = ~word(bytes, field) & 0xffff;
    for (let i = 0; i < value.length; i += 2) sum += (~word(bytes, at + i) & 0xffff) + word(value, i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    bytes.set([(~sum >> 8) & 255, ~sum & 255], field);
  }
  bytes.set(value, at);
}

function hasHeader(packet: Uint8Array): boolean {
  return packet.length >= 20 && headerBytes(packet) >= 20 && packet.length >= headerBytes(packet);
}

function headerBytes(packet: Uint8Array): number {
  return (packet[0]! & 15) * 4;
}

function insideAt(side: Side): number {
  return side === "inside" ? sourceAt : destinationAt;
}

function opposite(side: Side): Side {
  return side === "inside" ? "outside" : "inside";
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
