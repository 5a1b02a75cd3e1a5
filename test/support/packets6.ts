/**
 * IPv6 packets for tests, as packets.ts has them for IPv4: built and read field by field, slow and obvious on
 * purpose, without code of src. Endpoints are "[address]:port"; addresses are read by node:net's rules.
 */
import { isIPv6 } from "node:net";
import {
  type Checksum,
  concat,
  internetChecksum,
  type SegmentFields,
  setLayer4Checksum,
  TCP,
  tcpSegment,
  UDP,
  type VnetFields,
  viewOf,
  words,
} from "./packets.ts";

export const ICMPV6 = 58;
export const HOP_BY_HOP = 0;
export const ROUTING = 43;
export const FRAGMENT = 44;
export const DESTINATION_OPTIONS = 60;
export const gsoTcp6 = 4;
const headerBytes = 40;

export interface Ip6Fields {
  source: string;
  destination: string;
  protocol: number;
  payload: Uint8Array;
  hopLimit?: number;
  trafficClass?: number;
  flowLabel?: number;
  /** Extension headers, outermost first: their kind, and their bytes from the third on, a multiple of 8 less 2. */
  extensions?: { kind: number; bytes: Uint8Array }[];
}

export function ip6(fields: Ip6Fields): Uint8Array {
  const { source, destination, protocol, payload, hopLimit = 64, trafficClass = 0, flowLabel = 0 } = fields;
  const extensions = fields.extensions ?? [];
  const chain = extensions.map(({ kind, bytes }, i) => {
    const next = extensions[i + 1]?.kind ?? protocol;
    return concat(Uint8Array.of(next, kind === FRAGMENT ? 0 : (bytes.length - 6) / 8), bytes);
  });
  const body = concat(...chain, payload);
  const head = words(0x6000 | (trafficClass << 4) | (flowLabel >>> 16), flowLabel & 0xffff, body.length, 0);
  head.set([extensions[0]?.kind ?? protocol, hopLimit], 6);
  return concat(head, address6Bytes(source), address6Bytes(destination), body);
}

/** Padding: an extension header of this kind that says nothing. */
export function padding(kind: number, length = 0): { kind: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(6 + length * 8);
  bytes.set([1, bytes.length - 2]);
  return { kind, bytes };
}

export interface Layer46Fields extends Partial<Omit<Ip6Fields, "source" | "destination" | "protocol" | "payload">> {
  source: string;
  destination: string;
  data?: Uint8Array;
  checksum?: Checksum;
}

export function udp6(fields: Layer46Fields & { length?: number }): Uint8Array {
  const data = fields.data ?? new Uint8Array();
  const source = endpoint6(fields.source);
  const destination = endpoint6(fields.destination);
  const payload = concat(words(source.port, destination.port, fields.length ?? 8 + data.length, 0), data);
  setLayer4Checksum(payload, 6, UDP, pseudoHeader(payload.length, UDP, source.address, destination.address), fields);
  return ip6({ ...fields, source: source.address, destination: destination.address, protocol: UDP, payload });
}

export function tcp6(fields: Layer46Fields & SegmentFields): Uint8Array {
  const source = endpoint6(fields.source);
  const destination = endpoint6(fields.destination);
  const payload = tcpSegment(fields, source.port, destination.port);
  setLayer4Checksum(payload, 16, TCP, pseudoHeader(payload.length, TCP, source.address, destination.address), fields);
  return ip6({ ...fields, source: source.address, destination: destination.address, protocol: TCP, payload });
}

/** An echo request (type 128 unless told) or its reply (129); `source` and `destination` are addresses. */
export function echo6(
  fields: Omit<Layer46Fields, "checksum"> & {
    type?: number;
    identifier?: number;
    sequence?: number;
    checksum?: "right" | "wrong";
  },
): Uint8Array {
  const { type = 128, identifier = 1, sequence = 1, data = new Uint8Array() } = fields;
  return icmp6(fields, concat(words(type << 8, 0, identifier, sequence), data));
}

export function icmpError6(
  fields: Omit<Layer46Fields, "checksum" | "data"> & {
    type: number;
    code?: number;
    mtu?: number;
    quoted: Uint8Array;
    checksum?: "right" | "wrong";
  },
): Uint8Array {
  const { type, code = 0, mtu = 0, quoted } = fields;
  return icmp6(fields, concat(words((type << 8) | code, 0, mtu >>> 16, mtu & 0xffff), quoted));
}

function icmp6(fields: { source: string; destination: string; checksum?: Checksum }, payload: Uint8Array): Uint8Array {
  setLayer4Checksum(
    payload,
    2,
    ICMPV6,
    pseudoHeader(payload.length, ICMPV6, fields.source, fields.destination),
    fields,
  );
  return ip6({ ...fields, protocol: ICMPV6, payload });
}

/** The vnet header that the kernel gives a TCP or UDP packet with a partial checksum, and with `gsoSize` a super-packet. */
export function partialVnet6(packet: Uint8Array, linkBytes = 0, gsoSize = 0): VnetFields {
  const { protocol, l4 } = parse6(packet);
  const isTcp = protocol === TCP;
  const fields = { flags: 1, checksumStart: linkBytes + l4, checksumOffset: isTcp ? 16 : 6 };
  if (gsoSize === 0) return fields;
  const l4Bytes = isTcp ? (packet[l4 + 12]! >> 4) * 4 : 8;
  return { ...fields, gsoSize, gsoType: isTcp ? gsoTcp6 : 5, headerLength: linkBytes + l4 + l4Bytes };
}

export interface ParsedPacket6 {
  source: string;
  destination: string;
  hopLimit: number;
  trafficClass: number;
  flowLabel: number;
  /** Of the upper layer. */
  protocol: number;
  /** Where the upper layer begins. */
  l4: number;
  /** The kinds of the extension headers, outermost first. */
  extensions: number[];
  /** Of the fragment header; offset in bytes. */
  fragment: { offset: number; more: boolean; identification: number } | null;
  payload: Uint8Array;
  /** Of TCP and UDP; 0 for others. */
  sourcePort: number;
  destinationPort: number;
  /** Of ICMPv6; 0 for others. */
  type: number;
  code: number;
  identifier: number;
  mtu: number;
  flags: number;
  readonly checksumOk: boolean;
  /** After the layer-4 header. */
  data: Uint8Array;
}

/** Reads a packet that a test has been given. Throws when its lengths don't add up. */
export function parse6(packet: Uint8Array): ParsedPacket6 {
  const view = viewOf(packet);
  if (packet.length < headerBytes || view.getUint8(0) >> 4 !== 6) throw new Error("not an IPv6 header");
  if (view.getUint16(4) + headerBytes !== packet.length)
    throw new Error(`payload length ${view.getUint16(4)}, not ${packet.length - headerBytes}`);
  let protocol = view.getUint8(6);
  let l4 = headerBytes;
  let fragment: ParsedPacket6["fragment"] = null;
  const extensions: number[] = [];
  while ([HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS].includes(protocol) && (fragment?.offset ?? 0) === 0) {
    extensions.push(protocol);
    const next = view.getUint8(l4);
    if (protocol === FRAGMENT) {
      const field = view.getUint16(l4 + 2);
      fragment = { offset: field & 0xfff8, more: (field & 1) === 1, identification: view.getUint32(l4 + 4) };
      l4 += 8;
    } else l4 += (view.getUint8(l4 + 1) + 1) * 8;
    protocol = next;
  }
  const payload = packet.slice(l4);
  const upper = viewOf(payload);
  const isFirst = (fragment?.offset ?? 0) === 0;
  const hasPorts = isFirst && (protocol === TCP || protocol === UDP) && payload.length >= 8;
  const hasTcp = hasPorts && protocol === TCP && payload.length >= 20;
  const hasIcmp = isFirst && protocol === ICMPV6 && payload.length >= 8;
  const source = address6Text(packet.subarray(8, 24));
  const destination = address6Text(packet.subarray(24, 40));
  const l4Bytes = hasTcp ? (payload[12]! >> 4) * 4 : (hasPorts && protocol === UDP) || hasIcmp ? 8 : 0;
  return {
    source,
    destination,
    hopLimit: view.getUint8(7),
    trafficClass: (view.getUint16(0) >> 4) & 0xff,
    flowLabel: view.getUint32(0) & 0xfffff,
    protocol,
    l4,
    extensions,
    fragment,
    payload,
    sourcePort: hasPorts ? upper.getUint16(0) : 0,
    destinationPort: hasPorts ? upper.getUint16(2) : 0,
    type: hasIcmp ? payload[0]! : 0,
    code: hasIcmp ? payload[1]! : 0,
    identifier: hasIcmp ? upper.getUint16(4) : 0,
    mtu: hasIcmp ? upper.getUint32(4) : 0,
    flags: hasTcp ? payload[13]! : 0,
    // Computed when it is asked for: it costs more than all the rest.
    get checksumOk() {
      return layer4Sum(payload, protocol, source, destination) === 0;
    },
    data: payload.slice(l4Bytes),
  };
}

/** Cuts a packet without extension headers into fragments with this much payload each, a multiple of 8. */
export function fragmentsOf6(packet: Uint8Array, payloadBytes: number, identification = 7): Uint8Array[] {
  const whole = parse6(packet);
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < whole.payload.length; offset += payloadBytes) {
    const payload = whole.payload.slice(offset, offset + payloadBytes);
    const isLast = offset + payload.length === whole.payload.length;
    pieces.push(fragment6({ ...whole, payload, offset, more: !isLast, identification }));
  }
  return pieces;
}

/** One fragment, with this much of a datagram. */
export function fragment6(
  fields: Omit<Ip6Fields, "extensions"> & { offset: number; more: boolean; identification: number },
): Uint8Array {
  const { offset, more, identification } = fields;
  const bytes = words(offset | (more ? 1 : 0), identification >>> 16, identification & 0xffff);
  return ip6({ ...fields, extensions: [{ kind: FRAGMENT, bytes }] });
}

/** The datagram that fragments make up, in whatever order they came. Throws when one is missing or overlaps. */
export function reassemble6(fragments: readonly Uint8Array[]): Uint8Array {
  const pieces = fragments.map(parse6).sort((a, b) => a.fragment!.offset - b.fragment!.offset);
  let next = 0;
  for (const piece of pieces) {
    const { offset, more, identification } = piece.fragment!;
    if (offset !== next) throw new Error(`a fragment begins at ${offset}, expected ${next}`);
    if (identification !== pieces[0]!.fragment!.identification) throw new Error("fragments of two datagrams");
    if (piece.source !== pieces[0]!.source || piece.destination !== pieces[0]!.destination)
      throw new Error("fragments between different hosts");
    if (more !== (piece !== pieces.at(-1))) throw new Error("more-fragments is set wrongly");
    next += piece.payload.length;
  }
  const payload = concat(...pieces.map((piece) => piece.payload));
  return ip6({ ...pieces[0]!, extensions: [], payload });
}

/** What the receiver of a partial checksum's packet has after the network card has finished it. */
export function finishPartial6(packet: Uint8Array): Uint8Array {
  const { protocol, l4 } = parse6(packet);
  const finished = packet.slice();
  viewOf(finished).setUint16(l4 + (protocol === TCP ? 16 : 6), internetChecksum(finished.subarray(l4)) || 0xffff);
  return finished;
}

export function endpoint6(text: string): { address: string; port: number } {
  const [, address, port] = /^\[(.*)\]:(\d+)$/.exec(text)!;
  return { address: address!, port: Number(port) };
}

/** The 16 bytes of an address. */
export function address6Bytes(text: string): Uint8Array {
  if (!isIPv6(text)) throw new Error(`${text} is no IPv6 address`);
  // The URL parser writes every address out in one form, without dotted parts.
  const [front, back] = new URL(`http://[${text}]`).hostname.slice(1, -1).split("::") as [string, string?];
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const head = groups(front);
  const tail = groups(back ?? "");
  return words(...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail);
}

/** The address as src publishes it: four signed 32-bit words. */
export function address6Words(text: string): number[] {
  const view = viewOf(address6Bytes(text));
  return [0, 4, 8, 12].map((at) => view.getInt32(at));
}

export function address6Text(bytes: Uint8Array): string {
  const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((i) => ((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** RFC 8200, section 8.1: 0 over a payload that contains its own right checksum. */
function layer4Sum(payload: Uint8Array, protocol: number, source: string, destination: string): number {
  return internetChecksum(concat(pseudoHeader(payload.length, protocol, source, destination), payload));
}

function pseudoHeader(length: number, protocol: number, source: string, destination: string): Uint8Array {
  return concat(address6Bytes(source), address6Bytes(destination), words(0, length, 0, protocol));
}
