/**
 * Ways to break a packet of a conversation, or to say something false about it, each by a name. What is put before the
 * packet's own turn stands where a hostile or broken sender would put it: in the middle of a living flow.
 */

import {
  ACK,
  FIN,
  fragmentsOf,
  ICMP,
  icmpError,
  internetChecksum,
  ip,
  layer4Checksum,
  type ParsedPacket,
  parse,
  pattern,
  RST,
  SYN,
  TCP,
  UDP,
  URG,
} from "../../support/packets.ts";
import { uplinkAddress } from "../../support/topology.ts";
import type { Captured } from "./capture.ts";
import type { Side } from "./rewrite.ts";

/** What is sent instead of a packet; undefined where the mutation makes no sense. */
export type Mutation = (given: Given) => Mutant | undefined;

export interface Mutant {
  readonly side: Side;
  readonly packets: readonly Uint8Array[];
}

export interface Given extends Captured {
  readonly parsed: ParsedPacket;
  /** In [0, 1). */
  readonly random: () => number;
}

const hop = "198.51.100.77";
const checksumAt: Readonly<Record<number, number>> = { [TCP]: 16, [UDP]: 6, [ICMP]: 2 };

export const mutations: Readonly<Record<string, Mutation>> = {
  ...headers(),
  ...sources(),
  ...segments(),
  ...datagrams(),
  ...icmpMessages(),
  ...errors(),
  ...fragments(),
};

function headers(): Record<string, Mutation> {
  return {
    "IP version 5": (given) => edited(given, (bytes) => bytes.fill(0x55, 0, 1)),
    "IP header of 16 bytes": (given) => edited(given, (bytes) => bytes.fill(0x44, 0, 1)),
    "IP header longer than the packet": ({ side, packet }) => just(side, resummed(packet.slice(0, 24), 0x4f)),
    "IP total length beyond the end": (given) => edited(given, (bytes) => setWord(bytes, 2, bytes.length + 8)),
    "IP total length below the header": (given) => edited(given, (bytes) => setWord(bytes, 2, 16)),
    "IP checksum": ({ side, parsed }) => just(side, ip({ ...parsed, headerChecksum: "wrong" })),
    "time to live of 1": ({ side, parsed }) => just(side, ip({ ...parsed, ttl: 1 })),
    "loose source route": (given) => withOptions(given, Uint8Array.of(131, 7, 4, 192, 0, 2, 99, 0)),
    "strict source route": (given) => withOptions(given, Uint8Array.of(137, 7, 4, 192, 0, 2, 99, 0)),
    "router alert option": (given) => withOptions(given, Uint8Array.of(148, 4, 0, 0)),
    "padding behind the packet": ({ side, packet }) => just(side, Uint8Array.of(...packet, ...pattern(6))),
    "cut off anywhere": ({ side, packet, random }) => just(side, packet.slice(0, Math.floor(random() * packet.length))),
    "sent twice": ({ side, packet }) => just(side, packet),
    "any one bit flipped": ({ side, packet, random }) => {
      const bytes = packet.slice();
      bytes[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8);
      return just(side, bytes);
    },
    "any bit of layer 4 flipped, checksums right": (given) => {
      const { parsed, random } = given;
      const at = parsed.headerBytes + Math.floor(random() * Math.min(20, parsed.payload.length));
      if (parsed.payload.length === 0 || isFragment(parsed)) return undefined;
      return edited(given, (bytes) => (bytes[at]! ^= 1 << Math.floor(random() * 8)), true);
    },
  };
}

/** From the inside; an answer's source is what it says it is. */
function sources(): Record<string, Mutation> {
  const addresses = {
    "source 0.0.0.0": "0.0.0.0",
    "source 127.0.0.1": "127.0.0.1",
    "source of multicast": "224.0.0.9",
    "source of broadcast": "255.255.255.255",
    "source of class E": "245.0.0.1",
    "source of no LAN": "10.9.9.9",
    "source of an uplink": uplinkAddress.isp1,
  };
  const spoofed = Object.entries(addresses).map(([name, source]): [string, Mutation] => [
    name,
    (given) => (given.side === "inside" ? readdressed(given, source, given.parsed.destination) : undefined),
  ]);
  return {
    ...Object.fromEntries(spoofed),
    "source of the destination (LAND)": (given) =>
      given.side === "inside" ? readdressed(given, given.parsed.destination, given.parsed.destination) : undefined,
    "destination of multicast": (given) =>
      given.side === "inside" ? readdressed(given, given.parsed.source, "239.1.2.3") : undefined,
    "answer of a stranger": (given) =>
      given.side === "outside" ? readdressed(given, "192.0.2.33", given.parsed.destination) : undefined,
    "answer from another port": (given) =>
      given.side === "outside" && hasPorts(given.parsed)
        ? edited(given, (bytes) => setWord(bytes, given.parsed.headerBytes, given.parsed.sourcePort ^ 1), true)
        : undefined,
  };
}

function segments(): Record<string, Mutation> {
  const flags = { "no flag": 0, "SYN+FIN": SYN | FIN, XMAS: FIN | 8 | URG, "FIN alone": FIN, "SYN+RST": SYN | RST };
  const numbers: Record<string, [flags: number, sequence: number, acknowledgment: number]> = {
    "SYN in the window": [SYN, 100, 0],
    "SYN out of the window": [SYN, 0x4000_0000, 0],
    "RST with the next number": [RST | ACK, 0, 0],
    "RST in the window": [RST | ACK, 100, 0],
    "RST out of the window": [RST | ACK, 0x4000_0000, 0],
    "FIN out of the window": [FIN | ACK, 0x4000_0000, 0],
    "data far ahead": [ACK, 0x1000_0000, 0],
    "data far behind": [ACK, -0x1000_0000, 0],
    "acknowledgment of what was never sent": [ACK, 0, 0x1000_0000],
    "acknowledgment far behind": [ACK, 0, -0x1000_0000],
  };
  return {
    ...named(flags, (value) =>
      onSegment((given, at) => edited(given, (bytes) => bytes.fill(value, at + 13, at + 14), true)),
    ),
    ...named(numbers, ([value, ahead, acknowledged]) =>
      onSegment((given, at) =>
        edited(
          given,
          (bytes) => {
            bytes[at + 13] = value;
            addTo(bytes, at + 4, ahead);
            addTo(bytes, at + 8, acknowledged);
          },
          true,
        ),
      ),
    ),
    "TCP checksum": onSegment((given, at) => edited(given, (bytes) => (bytes[at + 16]! ^= 0x55))),
    "TCP offset of 16 bytes": onSegment((given, at) =>
      edited(given, (bytes) => bytes.fill(0x40, at + 12, at + 13), true),
    ),
    "TCP offset beyond the end": onSegment((given, at) =>
      given.parsed.payload.length < 60 ? edited(given, (bytes) => bytes.fill(0xf0, at + 12, at + 13), true) : undefined,
    ),
    "TCP port 0": onSegment((given, at) =>
      edited(given, (bytes) => setWord(bytes, at + (given.side === "inside" ? 2 : 0), 0), true),
    ),
    "TCP reserved bits": onSegment((given, at) => edited(given, (bytes) => (bytes[at + 12]! |= 0x0e), true)),
  };
}

function datagrams(): Record<string, Mutation> {
  return {
    "UDP checksum": onDatagram((given, at) => edited(given, (bytes) => (bytes[at + 7]! ^= 0x55))),
    "UDP without a checksum": onDatagram((given, at) => edited(given, (bytes) => setWord(bytes, at + 6, 0))),
    "UDP length below its header": onDatagram((given, at) => edited(given, (bytes) => setWord(bytes, at + 4, 7))),
    "UDP length beyond the end": onDatagram((given, at) =>
      edited(given, (bytes) => setWord(bytes, at + 4, given.parsed.payload.length + 9)),
    ),
    "UDP port 0": onDatagram((given, at) =>
      edited(given, (bytes) => setWord(bytes, at + (given.side === "inside" ? 2 : 0), 0), true),
    ),
  };
}

function icmpMessages(): Record<string, Mutation> {
  const types = {
    "ICMP echo reply, unasked": 0,
    "ICMP type 42": 42,
    "ICMP address mask request": 17,
    "ICMP router solicitation": 10,
  };
  const onEcho =
    (mutation: Mutation): Mutation =>
    (given) =>
      given.parsed.protocol === ICMP && given.parsed.type === 8 && !isFragment(given.parsed)
        ? mutation(given)
        : undefined;
  return {
    "ICMP checksum": onEcho((given) => edited(given, (bytes) => (bytes[given.parsed.headerBytes + 2]! ^= 0x55))),
    ...named(types, (type) =>
      onEcho((given) =>
        edited(
          given,
          (bytes) => {
            bytes[given.parsed.headerBytes] = type;
            // An identifier that no query has.
            setWord(bytes, given.parsed.headerBytes + 4, 0x7777);
          },
          true,
        ),
      ),
    ),
  };
}

/** Said from the other side, about the packet before it gets there. */
function errors(): Record<string, Mutation> {
  const about =
    (
      fields: { type: number; code?: number; nextHopMtu?: number; checksum?: "wrong" },
      quote?: (packet: Uint8Array) => Uint8Array,
    ): Mutation =>
    (given) => {
      const { side, packet, parsed } = given;
      if (isFragment(parsed) || (parsed.protocol === ICMP && ![0, 8].includes(parsed.type))) return undefined;
      const quoted = (quote ?? ((bytes) => bytes.slice(0, 28 + 20)))(packet);
      const source = side === "inside" ? hop : parsed.destination;
      return just(
        side === "inside" ? "outside" : "inside",
        icmpError({ source, destination: parsed.source, quoted, ...fields }),
      );
    };
  return {
    "unreachable error": about({ type: 3, code: 1 }),
    "time exceeded error": about({ type: 11 }),
    "parameter problem error": about({ type: 12 }),
    "fragmentation needed, 1400": about({ type: 3, code: 4, nextHopMtu: 1400 }),
    "fragmentation needed, 68": about({ type: 3, code: 4, nextHopMtu: 68 }),
    redirect: about({ type: 5, code: 1 }),
    "source quench": about({ type: 4 }),
    "error that quotes 8 bytes": about({ type: 3, code: 1 }, (packet) => packet.slice(0, 28)),
    "error that quotes 4 bytes": about({ type: 3, code: 1 }, (packet) => packet.slice(0, 24)),
    "error with a wrong checksum": about({ type: 3, code: 1, checksum: "wrong" }),
    "error that quotes a wrong IP checksum": about({ type: 3, code: 1 }, (packet) =>
      ip({ ...parse(packet), headerChecksum: "wrong" }),
    ),
    "error that quotes a wrong layer-4 checksum": about({ type: 3, code: 1 }, (packet) => {
      const bytes = packet.slice();
      const at = parse(packet).headerBytes + (checksumAt[packet[9]!] ?? 0);
      bytes[at]! ^= 0x55;
      return bytes;
    }),
    "error about another flow": onPorts(
      about({ type: 3, code: 1 }, (packet) => {
        const bytes = packet.slice(0, 48);
        const at = parse(packet).headerBytes;
        setWord(bytes, at, 1);
        setWord(bytes, at + 2, 2);
        return bytes;
      }),
    ),
  };
}

function fragments(): Record<string, Mutation> {
  const cut =
    (pieceBytes: number, shape: (pieces: Uint8Array[]) => Uint8Array[]): Mutation =>
    ({ side, parsed, random }) => {
      if (isFragment(parsed) || parsed.payload.length <= 2 * pieceBytes) return undefined;
      // A datagram of its own.
      const identification = 1 + Math.floor(random() * 0xfffe);
      return { side, packets: shape(fragmentsOf(ip({ ...parsed, dontFragment: false, identification }), pieceBytes)) };
    };
  return {
    "fragments in order": cut(64, (pieces) => pieces),
    "fragments backwards": cut(64, (pieces) => pieces.toReversed()),
    "fragments, one twice": cut(64, (pieces) => [pieces[0]!, ...pieces]),
    "fragments, the first missing": cut(64, (pieces) => pieces.slice(1)),
    "fragments, the last missing": cut(64, (pieces) => pieces.slice(0, -1)),
    "fragments that overlap": cut(64, (pieces) => [pieces[0]!, overlapping(pieces[1]!), ...pieces.slice(1)]),
    "fragments of 8 bytes": cut(8, (pieces) => pieces),
    "fragment beyond 65,535": cut(64, (pieces) => [pieces[0]!, beyondEnd(pieces[1]!)]),
  };
}

function beyondEnd(piece: Uint8Array): Uint8Array {
  return ip({ ...parse(piece), offset: 65_528, moreFragments: false });
}

/** The same piece eight bytes earlier, with other bytes. */
function overlapping(piece: Uint8Array): Uint8Array {
  const parsed = parse(piece);
  return ip({ ...parsed, offset: parsed.offset - 8, moreFragments: true, payload: pattern(parsed.payload.length, 77) });
}

function named<T>(table: Readonly<Record<string, T>>, make: (value: T) => Mutation): Record<string, Mutation> {
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, make(value)]));
}

function onSegment(mutation: (given: Given, at: number) => Mutant | undefined): Mutation {
  return (given) =>
    given.parsed.protocol === TCP && !isFragment(given.parsed) ? mutation(given, given.parsed.headerBytes) : undefined;
}

function onPorts(mutation: Mutation): Mutation {
  return (given) => (hasPorts(given.parsed) && !isFragment(given.parsed) ? mutation(given) : undefined);
}

function onDatagram(mutation: (given: Given, at: number) => Mutant | undefined): Mutation {
  return (given) =>
    given.parsed.protocol === UDP && !isFragment(given.parsed) ? mutation(given, given.parsed.headerBytes) : undefined;
}

function withOptions({ side, parsed }: Given, options: Uint8Array): Mutant {
  return just(side, ip({ ...parsed, options }));
}

/** Between other addresses, with checksums that are right. */
function readdressed({ side, parsed }: Given, source: string, destination: string): Mutant | undefined {
  return isFragment(parsed) ? undefined : just(side, withLayer4Checksum(ip({ ...parsed, source, destination })));
}

/** A copy that was changed, its header's checksum right again, and with `layer4` that of layer 4 as well. */
function edited({ side, packet }: Given, edit: (bytes: Uint8Array) => unknown, layer4 = false): Mutant {
  const bytes = packet.slice();
  edit(bytes);
  const summed = resummed(bytes);
  return just(side, layer4 ? withLayer4Checksum(summed) : summed);
}

function resummed(bytes: Uint8Array, first = bytes[0]!): Uint8Array {
  bytes[0] = first;
  bytes.set([0, 0], 10);
  const sum = internetChecksum(bytes.subarray(0, Math.min(bytes.length, Math.max(20, (first & 15) * 4))));
  setWord(bytes, 10, sum);
  return bytes;
}

function withLayer4Checksum(bytes: Uint8Array): Uint8Array {
  const { protocol, headerBytes, source, destination } = parse(bytes);
  const payload = bytes.subarray(headerBytes);
  const at = checksumAt[protocol];
  if (at === undefined || at + 2 > payload.length) return bytes;
  if (protocol === UDP && payload[at] === 0 && payload[at + 1] === 0) return bytes;
  setWord(payload, at, 0);
  const sum = protocol === ICMP ? internetChecksum(payload) : layer4Checksum(payload, protocol, source, destination);
  setWord(payload, at, protocol === UDP && sum === 0 ? 0xffff : sum);
  return bytes;
}

function just(side: Side, packet: Uint8Array): Mutant {
  return { side, packets: [packet] };
}

function isFragment({ offset, moreFragments }: ParsedPacket): boolean {
  return offset !== 0 || moreFragments;
}

function hasPorts({ protocol }: ParsedPacket): boolean {
  return protocol === TCP || protocol === UDP;
}

function addTo(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setInt32(at, view.getInt32(at) + value);
}

function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}
