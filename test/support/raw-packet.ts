/** Packets for tests that talk to the kernel: built field by field, checksums by the book (RFC 1071). */

import type { Link } from "./own-network.ts";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const GRE = 47;

export interface Ipv4Fields {
  source: number;
  destination: number;
  protocol: number;
  payload: Uint8Array;
  identification?: number;
  /** The flags and offset word: 0x2000 is more fragments, the low 13 bits count 8 bytes. */
  fragment?: number;
  /** Words of options (no-operations) to put in. */
  optionWords?: number;
}

export function ipv4(fields: Ipv4Fields): Uint8Array {
  const headerBytes = 20 + 4 * (fields.optionWords ?? 0);
  const packet = new Uint8Array(headerBytes + fields.payload.length).fill(1, 20, headerBytes);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x40 | (headerBytes / 4));
  view.setUint16(2, packet.length);
  view.setUint16(4, fields.identification ?? 0);
  view.setUint16(6, fields.fragment ?? 0);
  view.setUint8(8, 64);
  view.setUint8(9, fields.protocol);
  view.setUint32(12, fields.source);
  view.setUint32(16, fields.destination);
  view.setUint16(10, checksum(packet.subarray(0, headerBytes)));
  packet.set(fields.payload, headerBytes);
  return packet;
}

/** Without a checksum, which IPv4 allows. */
export function udp(sourcePort: number, destinationPort: number, data: Uint8Array = new Uint8Array()): Uint8Array {
  return concat(words(sourcePort, destinationPort, 8 + data.length, 0), data);
}

/** A bare header with ACK set; the checksum is left to whoever needs one. */
export function tcp(sourcePort: number, destinationPort: number, data: Uint8Array = new Uint8Array()): Uint8Array {
  return concat(words(sourcePort, destinationPort, 0, 1, 0, 1, 0x5010, 0xffff, 0, 0), data);
}

/** Echo and timestamp, requests and replies. */
export function icmpEcho(type: 0 | 8 | 13 | 14, identifier: number, data: Uint8Array = new Uint8Array()): Uint8Array {
  return withIcmpChecksum(concat(words(type << 8, 0, identifier, 1), data));
}

export function icmpError(type: number, inner: Uint8Array): Uint8Array {
  return withIcmpChecksum(concat(words(type << 8, 0, 0, 0), inner));
}

function withIcmpChecksum(message: Uint8Array): Uint8Array {
  new DataView(message.buffer).setUint16(2, checksum(message));
  return message;
}

/** A vnet header without offloads, then an Ethernet header, then the packet. */
export function frame(from: Link, to: Link, packet: Uint8Array, vnet: Uint8Array = new Uint8Array(10)): Uint8Array {
  return concat(vnet, to.mac, from.mac, words(0x0800), packet);
}

export function words(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  for (const [i, value] of values.entries()) view.setUint16(i * 2, value);
  return new Uint8Array(view.buffer);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** The Internet checksum of the bytes; 0 when they contain a right one. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Numbers from a seed (mulberry32), below `limit`. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}
