/**
 * Any bytes as a packet: the parser drops them by name or lets them through, reads nothing beyond their end, and what it
 * lets through keeps the promises of decode.ts. IPv4 and IPv6, as the first byte says.
 *
 *     input: [how 1][vnet header 10][packet]      how: 1 behind a MAC header, 2 mend the header checksum, 4 and layer 4's
 */
import assert from "node:assert/strict";
import { decodePacket, kind } from "../../../src/dataplane/decode.ts";
import { Decoder6 } from "../../../src/dataplane/decode6.ts";
import { dropNames, verdict } from "../../../src/dataplane/verdict.ts";
import { AddressBook } from "../../../src/tables/address-book.ts";
import { packetWord, packetWords } from "../../../src/tables/batch.ts";
import {
  addressNumber,
  concat,
  echo,
  fragmentsOf,
  ICMP,
  icmpError,
  parse,
  partialVnet,
  pattern,
  SYN,
  TCP,
  tcp,
  UDP,
  udp,
  vnetHeader,
} from "../../support/packets.ts";
import {
  DESTINATION_OPTIONS,
  echo6,
  fragmentsOf6,
  HOP_BY_HOP,
  ICMPV6,
  icmpError6,
  padding,
  parse6,
  ROUTING,
  tcp6,
  udp6,
} from "../../support/packets6.ts";
import { mendHeader, mendIcmp, mendLayer4Of6 } from "../mend.ts";

const decoder6 = new Decoder6(new AddressBook(16, 1, 2));
/** An address that has no name. */
const unnamed = 0;

export function fuzz(input: Uint8Array): void {
  if (input.length < 11) return;
  const how = input[0]!;
  const linkBytes = how & 1 ? 14 : 0;
  const packet = input.slice(11);
  if (how & 2) mendHeader(packet);
  if (how & 4) for (const mend of [mendIcmp, mendLayer4Of6]) mend(packet);
  // The view ends where the packet ends: whoever reads on gets a RangeError.
  const at = 10 + linkBytes;
  const bytes = new Uint8Array(at + packet.length);
  bytes.set(input.subarray(1, 11));
  bytes.set(packet, at);
  const before = bytes.slice();
  const rows = new Int32Array(packetWords);
  const result = decodePacket(new DataView(bytes.buffer), at, packet.length, linkBytes, rows, 0, decoder6);
  assert.ok(dropNames[result] !== undefined, `verdict ${result}`);
  assert.equal(Buffer.compare(bytes, before), 0, "reading a packet does not change it");
  if (result === verdict.forward) checkRow(packet, at, rows);
}

/** Holds what the row says against what the slow reader of the tests finds. */
function checkRow(packet: Uint8Array, at: number, rows: Int32Array): void {
  const length = rows[packetWord.length]!;
  assert.ok(length >= 20 && length <= packet.length);
  assert.equal(rows[packetWord.at], at);
  const whole = packet.subarray(0, length);
  const seen = packet[0]! >>> 4 === 6 ? see6(whole, rows) : see4(whole, rows);
  assert.equal(rows[packetWord.l4], at + seen.l4);
  assert.equal(rows[packetWord.kind] === kind.laterFragment, seen.isLater);
  if (seen.isLater) return;
  assert.equal(rows[packetWord.kind] === kind.firstFragment, seen.isFirst);
  const l4End = rows[packetWord.l4End]!;
  assert.ok(l4End >= at + seen.l4 && l4End <= at + length);
  if (seen.isIcmp && !seen.isFirst) assert.ok(seen.checksumOk, "ICMP with a wrong checksum");
  if (seen.protocol !== TCP && seen.protocol !== UDP) return;
  assert.ok(seen.sourcePort > 0 && seen.destinationPort > 0);
  assert.equal(rows[packetWord.ports]! >>> 16, seen.sourcePort);
  assert.equal(rows[packetWord.ports]! & 0xffff, seen.destinationPort);
  assert.equal(l4End, at + seen.l4 + (seen.protocol === TCP ? (seen.payload[12]! >>> 4) << 2 : 8));
}

function see4(whole: Uint8Array, rows: Int32Array) {
  const seen = parse(whole);
  assert.ok(seen.headerChecksumOk);
  assert.equal(rows[packetWord.protocol], seen.protocol);
  assert.equal(rows[packetWord.source], addressNumber(seen.source));
  assert.equal(rows[packetWord.destination], addressNumber(seen.destination));
  const fragment = { isLater: seen.offset > 0, isFirst: seen.offset === 0 && seen.moreFragments };
  return { ...seen, ...fragment, l4: seen.headerBytes, isIcmp: seen.protocol === ICMP, checksumOk: seen.checksumOk };
}

function see6(whole: Uint8Array, rows: Int32Array) {
  const seen = parse6(whole);
  assert.equal(rows[packetWord.protocol], seen.protocol === ICMPV6 ? ICMP : seen.protocol);
  // The book is empty.
  assert.deepEqual([rows[packetWord.source], rows[packetWord.destination]], [unnamed, unnamed]);
  const { offset, more } = seen.fragment ?? { offset: 0, more: false };
  const isIcmp = seen.protocol === ICMPV6;
  return { ...seen, isLater: offset > 0, isFirst: offset === 0 && more, isIcmp, checksumOk: seen.checksumOk };
}

export function seeds(): Uint8Array[] {
  const ends = { source: "192.168.10.2:5000", destination: "192.0.2.10:80" };
  const hosts = { source: "192.168.10.2", destination: "192.0.2.10" };
  const ends6 = { source: "[fd00:10::2]:5000", destination: "[2001:db8:ff::10]:80" };
  const hosts6 = { source: "fd00:10::2", destination: "2001:db8:ff::10" };
  const partial = tcp({ ...ends, data: pattern(60), checksum: "partial" });
  const extensions = [padding(HOP_BY_HOP), padding(DESTINATION_OPTIONS, 1)];
  const packets = [
    tcp({ ...ends, flags: SYN, tcpOptions: Uint8Array.of(2, 4, 5, 180) }),
    udp({ ...ends, data: pattern(5), options: Uint8Array.of(1, 131, 7, 4, 0, 0, 0, 0) }),
    echo(hosts),
    icmpError({ ...hosts, type: 3, quoted: udp(ends) }),
    ...fragmentsOf(udp({ ...ends, data: pattern(40) }), 24),
    tcp6({ ...ends6, flags: SYN }),
    udp6({ ...ends6, data: pattern(5), extensions }),
    udp6({ ...ends6, extensions: [padding(ROUTING, 2)] }),
    echo6(hosts6),
    icmpError6({ ...hosts6, type: 2, mtu: 1280, quoted: udp6(ends6) }),
    ...fragmentsOf6(udp6({ ...ends6, data: pattern(40) }), 24),
  ];
  const input = (how: number, packet: Uint8Array, vnet = {}) => concat(Uint8Array.of(how), vnetHeader(vnet), packet);
  return [
    ...packets.flatMap((packet) => [input(0, packet), input(7, packet)]),
    input(0, partial, partialVnet(partial)),
    input(1, partial, partialVnet(partial, 14, 30)),
  ];
}
