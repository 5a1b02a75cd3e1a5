/**
 * Any packet as an ICMP error about one of four flows: what goes on is translated to the last byte, inside and out, and
 * everything else is dropped.
 *
 *     input: [how 1][packet]      how: 1 from the inside, 2 mend the quoted header, 4 the ICMP checksum, 8 the header
 */
import assert from "node:assert/strict";
import { openFlows } from "../../model/invariants.ts";
import { client, type Left, type Rig, server, uplinkAddresses } from "../../path/rig.ts";
import {
  addressText,
  concat,
  echo,
  GRE,
  ICMP,
  icmpError,
  internetChecksum,
  ip,
  parse,
  SYN,
  TCP,
  tcp,
  UDP,
  udp,
  words,
} from "../../support/packets.ts";
import { mendHeader, mendIcmp, mendQuoted } from "../mend.ts";
import { everything, openStage, runOne } from "../stage.ts";

const stage = open();
const outgoing = sendAll(stage);

export function fuzz(input: Uint8Array): void {
  if (input.length < 2) return;
  const how = input[0]!;
  const packet = input.slice(1);
  if (how & 2) mendQuoted(packet);
  if (how & 4) mendIcmp(packet);
  if (how & 8) mendHeader(packet);
  // Only errors: nothing else must change the flows, so that every input finds the same.
  if (
    packet.length < 21 ||
    packet[0]! >>> 4 !== 4 ||
    packet[9] !== ICMP ||
    ![3, 11, 12].includes(packet[(packet[0]! & 15) * 4]!)
  )
    return;
  const before = stage.openFlows;
  runOne(stage, how & 1 ? -1 : 0, packet);
  assert.equal(stage.openFlows, before);
  for (const { uplink, four } of everything(stage)) for (const left of four) check(left, packet, uplink);
}

/** That `after` is `before` with one address and port of the flow's put for the other, and is right. */
function check(after: Left, before: Uint8Array, uplink: number): void {
  const was = parse(before.subarray(0, (before[2]! << 8) | before[3]!));
  assert.ok(after.checksumOk, "the ICMP checksum is right");
  assert.deepEqual([after.type, after.code, after.ttl], [was.type, was.code, was.ttl]);
  assert.equal(after.bytes.length, was.headerBytes + was.payload.length);
  const quotedAt = after.headerBytes + 8;
  const quoted = after.bytes.subarray(quotedAt);
  const quotedHeader = (quoted[0]! & 15) * 4;
  assert.ok(quoted.length >= quotedHeader + 8, "as much is quoted as tells the flow");
  assert.equal(internetChecksum(quoted.subarray(0, quotedHeader)), 0, "the quoted header's checksum is right");

  const isInbound = uplink < 0;
  const side = isInbound ? 12 : 16;
  const portAt = quotedHeader + (quoted[9] === ICMP ? 4 : isInbound ? 0 : 2);
  const flow = openFlows(stage.forwarder.conntrack).find(
    ({ inside, mapped, protocol, insidePort, mappedPort }) =>
      protocol === quoted[9] &&
      addressOf(quoted, side) === textOf(isInbound ? inside : mapped) &&
      (protocol === GRE || portOf(quoted, portAt) === (isInbound ? insidePort : mappedPort)),
  );
  assert.ok(flow, "the quoted packet is one of a flow's");
  assert.equal(isInbound ? after.destination : after.source, textOf(isInbound ? flow.inside : flow.mapped));

  const mayChange = new Set([...range(2, 2, after.headerBytes), ...range(10, 2), ...range(isInbound ? 16 : 12, 4)]);
  if (!isInbound) for (const at of range(4, 2)) mayChange.add(at);
  const l4At = quotedAt + quotedHeader;
  const checksumAt = quoted[9] === TCP ? 16 : quoted[9] === UDP ? 6 : 2;
  const inner = [...range(quotedAt + 10, 2), ...range(quotedAt + side, 4), ...range(quotedAt + portAt, 2)];
  for (const at of [...inner, ...range(l4At + checksumAt, 2)]) mayChange.add(at);
  // A next-hop MTU below what IPv4 allows is raised.
  if (was.type === 3 && was.code === 4) for (const at of range(after.headerBytes + 6, 2)) mayChange.add(at);
  for (let at = 0; at < after.bytes.length; at++)
    assert.ok(after.bytes[at] === before[at] || mayChange.has(at), `byte ${at} has changed`);
}

function open(): Rig {
  const rig = openStage();
  rig.steerTo(0);
  return rig;
}

/** Opens a flow of each kind and returns what left. */
function sendAll(rig: Rig): Left[] {
  return [
    rig.outOne(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN })),
    rig.outOne(udp({ source: `${client}:5001`, destination: `${server}:53`, data: words(1, 2, 3) })),
    rig.outOne(echo({ source: client, destination: server, identifier: 77 })),
    rig.outOne(ip({ source: client, destination: server, protocol: GRE, payload: new Uint8Array(12) })),
  ];
}

/** Errors about each of the flows, from both sides. */
export function seeds(): Uint8Array[] {
  const outside = outgoing.flatMap(({ bytes }) => {
    const ends = { source: "198.51.100.77", destination: uplinkAddresses[0]!, quoted: bytes };
    return [
      icmpError({ ...ends, type: 11 }),
      icmpError({ ...ends, type: 3, code: 4, nextHopMtu: 100, quoted: bytes.slice(0, 28) }),
    ];
  });
  const inside = [
    tcp({ source: `${server}:80`, destination: `${client}:5000`, flags: SYN }),
    udp({ source: `${server}:53`, destination: `${client}:5001` }),
    echo({ source: server, destination: client, identifier: 77, type: 0 }),
  ].map((quoted) => icmpError({ source: client, destination: server, type: 3, code: 3, quoted }));
  const from = (how: number) => (packet: Uint8Array) => concat(Uint8Array.of(how), packet);
  return [
    ...outside.map(from(0)),
    ...outside.map(from(12)),
    ...outside.map(from(14)),
    ...inside.map(from(1)),
    ...inside.map(from(15)),
  ];
}

function range(from: number, length: number, offset = 0): number[] {
  return Array.from({ length }, (_, i) => offset + from + i);
}

function portOf(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function addressOf(bytes: Uint8Array, at: number): string {
  return addressText(bytes.subarray(at, at + 4));
}

function textOf(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}
