/** Packets for tests that talk to the kernel: built field by field, checksums by the book (RFC 1071). */

import type { Link } from "./own-network.ts";

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const GRE = 47;
export const ICMPV6 = 58;

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

export interface Ipv6Fields {
  /** As text. */
  source: string;
  destination: string;
  /** What follows the headers of `extensions`. */
  protocol: number;
  payload: Uint8Array;
  /** 20 bits that the kernel leaves alone: a mark to find the packet again by. */
  flowLabel?: number;
  /** Extension headers, each 8 bytes: its number and the seven bytes after the next header's number. */
  extensions?: readonly { protocol: number; bytes: readonly number[] }[];
}

export function ipv6({
  source,
  destination,
  protocol,
  payload,
  flowLabel = 0,
  extensions = [],
}: Ipv6Fields): Uint8Array {
  const numbers = [...extensions.map((extension) => extension.protocol), protocol];
  const headers = extensions.map(({ bytes }, i) => Uint8Array.from([numbers[i + 1]!, ...bytes]));
  const body = concat(...headers, payload);
  const start = words(0x6000 | (flowLabel >>> 16), flowLabel & 0xffff, body.length, (numbers[0]! << 8) | 64);
  return concat(start, addressBytes6(source), addressBytes6(destination), body);
}

/** Options that do nothing, to be put behind header 0 (hop by hop) or 60 (destination). */
export const noOptions = [0, 1, 4, 0, 0, 0, 0];

/** What header 44 has after the next header's number: RFC 8200, section 4.5. */
export function fragmentFields(offset: number, more: boolean, identification: number): number[] {
  return [0, offset >> 8, (offset & 0xf8) | (more ? 1 : 0), 0, 0, identification >> 8, identification & 0xff];
}

export function addressBytes6(text: string): Uint8Array {
  const [head = "", tail] = text.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const [front, back] = [[...head], [...(tail ?? [])]];
  const zeros = Array.from({ length: tail === undefined ? 0 : 8 - front.length - back.length }, () => "0");
  return words(...[...front, ...zeros, ...back].map((part) => Number.parseInt(part, 16)));
}

/** Four words, as src keeps an address. */
export function addressWords6(text: string): number[] {
  const view = new DataView(addressBytes6(text).buffer);
  return [0, 4, 8, 12].map((at) => view.getInt32(at));
}

/** Without a checksum: nobody on the way looks at it. */
export function icmp6(type: number, identifier: number, data: Uint8Array = new Uint8Array()): Uint8Array {
  return concat(words(type << 8, 0, identifier, 1), data);
}

export function icmpError6(type: number, inner: Uint8Array): Uint8Array {
  return concat(words(type << 8, 0, 0, 0), inner);
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
  return concat(vnet, to.mac, from.mac, words(packet[0]! >> 4 === 6 ? 0x86dd : 0x0800), packet);
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
