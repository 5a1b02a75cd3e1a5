/**
 * Packets for tests without a kernel: built field by field, read back field by field, with checksums by
 * the book. Everything here is slow and obvious on purpose, and shares no code with src: it is what
 * the data plane is measured against.
 */

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const DCCP = 33;
export const GRE = 47;
export const ESP = 50;
export const SCTP = 132;
export const UDP_LITE = 136;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;

/** right: as the sender computes it. wrong: off by one. none: 0. partial: the pseudo-header's sum alone, for the vnet header's NEEDS_CSUM. */
export type Checksum = "right" | "wrong" | "none" | "partial";

export interface IpFields {
  source: string;
  destination: string;
  protocol: number;
  payload: Uint8Array;
  /** Options, padded with zeros to a multiple of 4. */
  options?: Uint8Array;
  identification?: number;
  ttl?: number;
  tos?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  /** Where the payload belongs in the datagram, in bytes: a multiple of 8. */
  offset?: number;
  headerChecksum?: "right" | "wrong";
}

export function ip(fields: IpFields): Uint8Array {
  const options = fields.options ?? new Uint8Array();
  const headerBytes = 20 + Math.ceil(options.length / 4) * 4;
  const packet = new Uint8Array(headerBytes + fields.payload.length);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x40 | (headerBytes / 4));
  view.setUint8(1, fields.tos ?? 0);
  view.setUint16(2, packet.length);
  view.setUint16(4, fields.identification ?? 0);
  const flags = (fields.dontFragment ? 0x4000 : 0) | (fields.moreFragments ? 0x2000 : 0);
  view.setUint16(6, flags | ((fields.offset ?? 0) / 8));
  view.setUint8(8, fields.ttl ?? 64);
  view.setUint8(9, fields.protocol);
  packet.set(addressBytes(fields.source), 12);
  packet.set(addressBytes(fields.destination), 16);
  packet.set(options, 20);
  packet.set(fields.payload, headerBytes);
  view.setUint16(10, internetChecksum(packet.subarray(0, headerBytes)));
  if (fields.headerChecksum === "wrong") view.setUint16(10, view.getUint16(10) ^ 1);
  return packet;
}

/** What every layer-4 builder takes beside its own fields; endpoints are "address:port". */
export interface Layer4Fields extends Partial<Omit<IpFields, "source" | "destination" | "protocol" | "payload">> {
  source: string;
  destination: string;
  data?: Uint8Array;
  checksum?: Checksum;
}

export interface UdpFields extends Layer4Fields {
  /** The length field, when it is not to be the true one. */
  length?: number;
}

export function udp(fields: UdpFields): Uint8Array {
  const data = fields.data ?? new Uint8Array();
  const source = endpoint(fields.source);
  const destination = endpoint(fields.destination);
  const payload = concat(words(source.port, destination.port, fields.length ?? 8 + data.length, 0), data);
  setLayer4Checksum(payload, 6, UDP, pseudoHeader(UDP, source.address, destination.address, payload.length), fields);
  return ip({ ...fields, source: source.address, destination: destination.address, protocol: UDP, payload });
}

/** Of a TCP segment, whatever carries it. */
export interface SegmentFields {
  data?: Uint8Array;
  flags?: number;
  sequence?: number;
  acknowledgment?: number;
  /** 64,240 unless told. */
  window?: number;
  tcpOptions?: Uint8Array;
  /** The offset field in 32-bit words, when it is not to be the true one. */
  dataOffset?: number;
}

export type TcpFields = Layer4Fields & SegmentFields;

export function tcp(fields: TcpFields): Uint8Array {
  const source = endpoint(fields.source);
  const destination = endpoint(fields.destination);
  const payload = tcpSegment(fields, source.port, destination.port);
  setLayer4Checksum(payload, 16, TCP, pseudoHeader(TCP, source.address, destination.address, payload.length), fields);
  return ip({ ...fields, source: source.address, destination: destination.address, protocol: TCP, payload });
}

/** Header and data, with a checksum of 0. */
export function tcpSegment(fields: SegmentFields, sourcePort: number, destinationPort: number): Uint8Array {
  const data = fields.data ?? new Uint8Array();
  const options = fields.tcpOptions ?? new Uint8Array();
  const headerBytes = 20 + Math.ceil(options.length / 4) * 4;
  const payload = new Uint8Array(headerBytes + data.length);
  const view = new DataView(payload.buffer);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint32(4, fields.sequence ?? 1);
  view.setUint32(8, fields.acknowledgment ?? 0);
  view.setUint8(12, (fields.dataOffset ?? headerBytes / 4) << 4);
  view.setUint8(13, fields.flags ?? ACK);
  view.setUint16(14, fields.window ?? 0xfaf0);
  payload.set(options, 20);
  payload.set(data, headerBytes);
  return payload;
}

export interface EchoFields extends Omit<Layer4Fields, "checksum"> {
  /** 8 (echo) unless told. */
  type?: number;
  identifier?: number;
  sequence?: number;
  checksum?: "right" | "wrong";
}

/** An ICMP query or its reply; `source` and `destination` are addresses. */
export function echo(fields: EchoFields): Uint8Array {
  const { type = 8, identifier = 1, sequence = 1, data = new Uint8Array() } = fields;
  return icmp(fields, concat(words(type << 8, 0, identifier, sequence), data));
}

export interface IcmpErrorFields extends Omit<Layer4Fields, "checksum" | "data"> {
  type: number;
  code?: number;
  nextHopMtu?: number;
  quoted: Uint8Array;
  checksum?: "right" | "wrong";
}

export function icmpError(fields: IcmpErrorFields): Uint8Array {
  const { type, code = 0, nextHopMtu = 0, quoted } = fields;
  return icmp(fields, concat(words((type << 8) | code, 0, 0, nextHopMtu), quoted));
}

function icmp(fields: { source: string; destination: string; checksum?: Checksum }, payload: Uint8Array): Uint8Array {
  const view = new DataView(payload.buffer);
  view.setUint16(2, internetChecksum(payload) ^ (fields.checksum === "wrong" ? 1 : 0));
  return ip({ ...fields, protocol: ICMP, payload });
}

export interface VnetFields {
  flags?: number;
  gsoType?: number;
  headerLength?: number;
  gsoSize?: number;
  checksumStart?: number;
  checksumOffset?: number;
}

export const gsoTcp = 1;
export const gsoUdp = 5;

/** The virtio-net header, little-endian. */
export function vnetHeader(fields: VnetFields = {}): Uint8Array {
  const header = new Uint8Array(10);
  const view = new DataView(header.buffer);
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.gsoType ?? 0);
  view.setUint16(2, fields.headerLength ?? 0, true);
  view.setUint16(4, fields.gsoSize ?? 0, true);
  view.setUint16(6, fields.checksumStart ?? 0, true);
  view.setUint16(8, fields.checksumOffset ?? 0, true);
  return header;
}

export function readVnetHeader(header: Uint8Array): Required<VnetFields> {
  const view = viewOf(header);
  return {
    flags: view.getUint8(0),
    gsoType: view.getUint8(1),
    headerLength: view.getUint16(2, true),
    gsoSize: view.getUint16(4, true),
    checksumStart: view.getUint16(6, true),
    checksumOffset: view.getUint16(8, true),
  };
}

/** The vnet header that the kernel gives a TCP or UDP packet with a partial checksum, and with `gsoSize` a super-packet. */
export function partialVnet(packet: Uint8Array, linkBytes = 0, gsoSize = 0): VnetFields {
  const l4 = (packet[0]! & 15) * 4;
  const isTcp = packet[9] === TCP;
  const fields = { flags: 1, checksumStart: linkBytes + l4, checksumOffset: isTcp ? 16 : 6 };
  if (gsoSize === 0) return fields;
  const l4Bytes = isTcp ? (packet[l4 + 12]! >> 4) * 4 : 8;
  return { ...fields, gsoSize, gsoType: isTcp ? gsoTcp : gsoUdp, headerLength: linkBytes + l4 + l4Bytes };
}

export interface ParsedPacket {
  source: string;
  destination: string;
  protocol: number;
  headerBytes: number;
  tos: number;
  ttl: number;
  identification: number;
  dontFragment: boolean;
  moreFragments: boolean;
  offset: number;
  options: Uint8Array;
  headerChecksumOk: boolean;
  /** Everything after the IP header. */
  payload: Uint8Array;
  /** Of TCP and UDP; 0 for others. */
  sourcePort: number;
  destinationPort: number;
  /** Of ICMP; 0 for others. */
  type: number;
  code: number;
  identifier: number;
  flags: number;
  /** Whether the layer-4 checksum is right; an absent one of UDP is. */
  readonly checksumOk: boolean;
  /** The layer-4 checksum field as it stands. */
  checksum: number;
  /** After the layer-4 header. */
  data: Uint8Array;
}

/** Reads a packet that a test has been given. Throws when its lengths don't add up. */
export function parse(packet: Uint8Array): ParsedPacket {
  const view = viewOf(packet);
  const headerBytes = (view.getUint8(0) & 15) * 4;
  if (view.getUint8(0) >> 4 !== 4 || headerBytes < 20) throw new Error("not an IPv4 header");
  if (view.getUint16(2) !== packet.length) throw new Error(`total length ${view.getUint16(2)}, not ${packet.length}`);
  const protocol = view.getUint8(9);
  const fragment = view.getUint16(6);
  const payload = packet.slice(headerBytes);
  const l4 = viewOf(payload);
  const hasPorts = (protocol === TCP || protocol === UDP) && (fragment & 0x1fff) === 0 && payload.length >= 4;
  const hasTcp = hasPorts && protocol === TCP && payload.length >= 20;
  const hasUdp = hasPorts && protocol === UDP && payload.length >= 8;
  const hasIcmp = protocol === ICMP && (fragment & 0x1fff) === 0 && payload.length >= 8;
  const source = addressText(packet.subarray(12, 16));
  const destination = addressText(packet.subarray(16, 20));
  const l4Bytes = hasTcp ? (payload[12]! >> 4) * 4 : hasUdp || hasIcmp ? 8 : 0;
  return {
    source,
    destination,
    protocol,
    headerBytes,
    tos: view.getUint8(1),
    ttl: view.getUint8(8),
    identification: view.getUint16(4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    offset: (fragment & 0x1fff) * 8,
    options: packet.slice(20, headerBytes),
    headerChecksumOk: internetChecksum(packet.subarray(0, headerBytes)) === 0,
    payload,
    sourcePort: hasPorts ? l4.getUint16(0) : 0,
    destinationPort: hasPorts ? l4.getUint16(2) : 0,
    type: hasIcmp ? payload[0]! : 0,
    code: hasIcmp ? payload[1]! : 0,
    identifier: hasIcmp ? l4.getUint16(4) : 0,
    flags: hasTcp ? payload[13]! : 0,
    // Computed when it is asked for: it costs more than all the rest.
    get checksumOk() {
      if (hasTcp) return layer4Checksum(payload, TCP, source, destination) === 0;
      if (hasUdp) return l4.getUint16(6) === 0 || layer4Checksum(payload, UDP, source, destination) === 0;
      return hasIcmp && internetChecksum(payload) === 0;
    },
    checksum: hasTcp ? l4.getUint16(16) : hasUdp ? l4.getUint16(6) : hasIcmp ? l4.getUint16(2) : 0,
    data: payload.slice(l4Bytes),
  };
}

/** Cuts a packet into fragments with this much payload each, a multiple of 8. */
export function fragmentsOf(packet: Uint8Array, payloadBytes: number): Uint8Array[] {
  const whole = parse(packet);
  const pieces: Uint8Array[] = [];
  for (let offset = 0; offset < whole.payload.length; offset += payloadBytes) {
    const payload = whole.payload.slice(offset, offset + payloadBytes);
    pieces.push(
      ip({
        ...whole,
        payload,
        offset: whole.offset + offset,
        moreFragments: whole.moreFragments || offset + payload.length < whole.payload.length,
      }),
    );
  }
  return pieces;
}

/** The datagram that fragments make up, in whatever order they came. Throws when one is missing, overlaps or is malformed. */
export function reassemble(fragments: readonly Uint8Array[]): Uint8Array {
  const pieces = fragments.map(parse).sort((a, b) => a.offset - b.offset);
  let next = 0;
  for (const piece of pieces) {
    if (!piece.headerChecksumOk) throw new Error("a fragment has a wrong header checksum");
    if (piece.offset !== next) throw new Error(`a fragment begins at ${piece.offset}, expected ${next}`);
    if (piece.identification !== pieces[0]!.identification) throw new Error("fragments of two datagrams");
    if (piece.source !== pieces[0]!.source || piece.destination !== pieces[0]!.destination)
      throw new Error("fragments between different hosts");
    if (piece.moreFragments !== (piece !== pieces.at(-1))) throw new Error("more-fragments is set wrongly");
    next += piece.payload.length;
  }
  const payload = concat(...pieces.map((piece) => piece.payload));
  return ip({ ...pieces[0]!, offset: 0, moreFragments: false, payload });
}

/** What the receiver of a partial checksum's packet has after the network card has finished it. */
export function finishPartial(packet: Uint8Array): Uint8Array {
  const { protocol, headerBytes } = parse(packet);
  const finished = packet.slice();
  const at = headerBytes + (protocol === TCP ? 16 : 6);
  const sum = internetChecksum(finished.subarray(headerBytes));
  viewOf(finished).setUint16(at, protocol === UDP && sum === 0 ? 0xffff : sum);
  return finished;
}

/** RFC 1071, without tricks: 0 over bytes that contain their own right checksum. */
export function internetChecksum(bytes: Uint8Array): number {
  return ~onesComplementSum(bytes) & 0xffff;
}

function onesComplementSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) {
    sum += i % 2 === 0 ? bytes[i]! << 8 : bytes[i]!;
    if (sum > 0xffff) sum = sum - 0x10000 + 1;
  }
  return sum;
}

function pseudoHeader(protocol: number, source: string, destination: string, length: number): Uint8Array {
  return concat(addressBytes(source), addressBytes(destination), words(protocol, length));
}

/** Over the pseudo-header and the payload: 0 when that contains its own right checksum. */
export function layer4Checksum(payload: Uint8Array, protocol: number, source: string, destination: string): number {
  return internetChecksum(concat(pseudoHeader(protocol, source, destination, payload.length), payload));
}

/** Writes the checksum of a payload whose own is 0 so far, of the kind that the fields say. */
export function setLayer4Checksum(
  payload: Uint8Array,
  at: number,
  protocol: number,
  pseudoHeader: Uint8Array,
  { checksum: kind = "right" }: { checksum?: Checksum },
): void {
  const view = viewOf(payload);
  if (kind === "none") return;
  if (kind === "partial") {
    view.setUint16(at, onesComplementSum(pseudoHeader));
    return;
  }
  const right = internetChecksum(concat(pseudoHeader, payload));
  view.setUint16(at, protocol === UDP && right === 0 ? 0xffff : right);
  if (kind === "wrong") view.setUint16(at, view.getUint16(at) === 1 ? 2 : view.getUint16(at) ^ 1);
}

export function endpoint(text: string): { address: string; port: number } {
  const [address, port] = text.split(":");
  return { address: address!, port: Number(port ?? 0) };
}

/** The address as src keeps it: a signed 32-bit integer. */
export function addressNumber(text: string): number {
  return viewOf(addressBytes(text)).getInt32(0);
}

function addressBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(".").map(Number));
}

export function addressText(bytes: Uint8Array): string {
  return bytes.join(".");
}

export function words(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  for (const [i, value] of values.entries()) view.setUint16(i * 2, value);
  return new Uint8Array(view.buffer);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Bytes that differ from their neighbours, so that a shifted copy is noticed. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + seed) & 0xff;
  return bytes;
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
