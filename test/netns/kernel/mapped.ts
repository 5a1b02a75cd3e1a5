/**
 * Where answers go. The translator chooses ports, so packets from outside cannot be written down in advance: a plan has
 * them as the inside shall see them, and this sends them to the mapping that was seen to leave. Checksums change by
 * difference, so that what is wrong stays wrong.
 */

import { addressText, ICMP, internetChecksum, TCP, UDP } from "../../support/packets.ts";

export interface Mapping {
  uplink: number;
  /** The four bytes of the address, then the two of the port or identifier. */
  endpoint: Uint8Array;
}

interface Flow {
  key: string;
  /** Where the inside's port or identifier stands; -1 when there is none. */
  portAt: number;
}

const sourceAt = 12;
const destinationAt = 16;

export class Mapped {
  readonly #byFlow = new Map<string, Mapping>();
  /** Of the first fragment, for the later ones. */
  readonly #byDatagram = new Map<string, Mapping>();

  /** Remembers how a packet of the inside left. */
  learn(packet: Uint8Array, uplink: number, left: Uint8Array): void {
    const flow = flowOf(packet, sourceAt);
    if (flow === undefined) return;
    const port = flow.portAt < 0 ? new Uint8Array(2) : left.slice(flow.portAt, flow.portAt + 2);
    this.#byFlow.set(flow.key, { uplink, endpoint: Uint8Array.of(...left.slice(sourceAt, sourceAt + 4), ...port) });
  }

  /** The packet as it arrives outside, and the uplink that it takes: the first with `fallback` as the address when its flow is not known. */
  address(packet: Uint8Array, fallback: Uint8Array): { uplink: number; bytes: Uint8Array } {
    const bytes = packet.slice();
    const mapping = this.#find(packet);
    if (mapping === undefined) {
      replace(bytes, destinationAt, fallback, [10]);
      return { uplink: 0, bytes };
    }
    const quoted = quotedAt(bytes);
    if (quoted >= 0) rewriteQuoted(bytes, quoted, mapping.endpoint);
    else if (offsetOf(bytes) === 0) rewritePort(bytes, mapping.endpoint);
    replace(bytes, destinationAt, mapping.endpoint.slice(0, 4), checksumsOver(bytes, 0));
    return { uplink: mapping.uplink, bytes };
  }

  #find(packet: Uint8Array): Mapping | undefined {
    const quoted = quotedAt(packet);
    if (quoted >= 0) return this.#byFlow.get(flowOf(packet.subarray(quoted), sourceAt)?.key ?? "");
    const datagram = `${addressText(packet.subarray(12, 20))} ${packet[9]} ${word(packet, 4)}`;
    if (offsetOf(packet) !== 0) return this.#byDatagram.get(datagram);
    const mapping = this.#byFlow.get(flowOf(packet, destinationAt)?.key ?? "");
    if (mapping !== undefined) this.#byDatagram.set(datagram, mapping);
    return mapping;
  }
}

/** The flow of a packet whose inside end is at `insideAt`: source or destination. Undefined for one that is too short or a later fragment. */
function flowOf(packet: Uint8Array, insideAt: number): Flow | undefined {
  if (packet.length < 24) return undefined;
  const l4 = headerBytes(packet);
  if (packet.length < l4 + 8 || offsetOf(packet) !== 0) return undefined;
  const protocol = packet[9]!;
  const isOut = insideAt === sourceAt;
  const remoteAt = isOut ? destinationAt : sourceAt;
  const ends = [insideAt, remoteAt].map((at) => addressText(packet.subarray(at, at + 4))).join(" ");
  if (protocol === TCP || protocol === UDP) {
    const portAt = isOut ? l4 : l4 + 2;
    return { key: `${protocol} ${ends} ${word(packet, portAt)} ${word(packet, isOut ? l4 + 2 : l4)}`, portAt };
  }
  if (protocol === ICMP) return { key: `${protocol} ${ends} ${word(packet, l4 + 4)}`, portAt: l4 + 4 };
  return { key: `${protocol} ${ends}`, portAt: -1 };
}

/** Where the packet that an ICMP error quotes begins, or -1. */
function quotedAt(packet: Uint8Array): number {
  const l4 = headerBytes(packet);
  const isError = packet[9] === ICMP && offsetOf(packet) === 0 && [3, 4, 5, 11, 12].includes(packet[l4]!);
  return isError && packet.length >= l4 + 8 + 28 ? l4 + 8 : -1;
}

function rewritePort(bytes: Uint8Array, endpoint: Uint8Array): void {
  const flow = flowOf(bytes, destinationAt);
  if (flow === undefined || flow.portAt < 0) return;
  replace(bytes, flow.portAt, endpoint.slice(4, 6), checksumsOver(bytes, 0).slice(1));
}

/** The quoted source is the mapping; the error's own checksum is right again only if it was. */
function rewriteQuoted(bytes: Uint8Array, quoted: number, endpoint: Uint8Array): void {
  const l4 = headerBytes(bytes);
  const wasRight = internetChecksum(bytes.subarray(l4)) === 0;
  const inner = bytes.subarray(quoted);
  const innerL4 = headerBytes(inner);
  const fields = inner.length >= innerL4 + 20 || inner[9] !== TCP ? checksumsOver(inner, 0) : [10];
  const flow = flowOf(inner, sourceAt);
  if (flow !== undefined && flow.portAt >= 0) replace(inner, flow.portAt, endpoint.slice(4, 6), fields.slice(1));
  replace(inner, sourceAt, endpoint.slice(0, 4), fields);
  if (!wasRight) return;
  bytes.set([0, 0], l4 + 2);
  const sum = internetChecksum(bytes.subarray(l4));
  bytes.set([sum >> 8, sum & 255], l4 + 2);
}

/** Where the checksums stand that an address counts in: the header's, and that of layer 4 unless it is absent. */
function checksumsOver(bytes: Uint8Array, at: number): number[] {
  const l4 = at + headerBytes(bytes.subarray(at));
  const field = bytes[at + 9] === TCP ? l4 + 16 : l4 + 6;
  const isOver = bytes[at + 9] === TCP || (bytes[at + 9] === UDP && word(bytes, field) !== 0);
  return isOver && offsetOf(bytes) === 0 && field + 2 <= bytes.length ? [at + 10, field] : [at + 10];
}

/** Replaces bytes at an even place, and corrects the checksums by the difference (RFC 1624). ICMP's covers no addresses, but its identifier. */
function replace(bytes: Uint8Array, at: number, value: Uint8Array, checksums: readonly number[]): void {
  const l4 = headerBytes(bytes);
  const isIdentifier = bytes[9] === ICMP && at === l4 + 4;
  for (const field of isIdentifier ? [l4 + 2] : checksums) {
    let sum = ~word(bytes, field) & 0xffff;
    for (let i = 0; i < value.length; i += 2) sum += (~word(bytes, at + i) & 0xffff) + word(value, i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    bytes.set([(~sum >> 8) & 255, ~sum & 255], field);
  }
  bytes.set(value, at);
}

function headerBytes(packet: Uint8Array): number {
  return (packet[0]! & 15) * 4;
}

function offsetOf(packet: Uint8Array): number {
  return word(packet, 6) & 0x1fff;
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
