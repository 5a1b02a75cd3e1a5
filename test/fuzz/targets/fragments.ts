/**
 * Any sequence of fragments of a few datagrams, both ways, in any order and with any overlap: nothing throws, and no piece
 * leaves that nobody sent, or for anybody else's end. Of IPv6, no two pieces leave that overlap (RFC 5722).
 *
 *     input: pieces of 6 bytes: [which 1][identification 1][offset 2][length 2]
 *     which: 1 from uplink 0, 2 of the other flow, 4 more fragments, 8 don't fragment, 16 TCP, 32 three seconds later,
 *            64 IPv6, which always comes from the inside
 */
import assert from "node:assert/strict";
import {
  client,
  client6,
  type Left,
  type Left6,
  otherClient,
  otherClient6,
  server,
  server6,
  uplinkAddresses,
} from "../../path/rig.ts";
import { concat, ip, type ParsedPacket, parse, pattern, SYN, tcp, UDP, udp, words } from "../../support/packets.ts";
import { fragment6, type ParsedPacket6, parse6, tcp6, udp6 } from "../../support/packets6.ts";
import { forwardedHost } from "../packets.ts";
import { clear, everything, openStage } from "../stage.ts";

const bytesOfPiece = 6;
const mostPieces = 20;
/** Data of the datagrams: what stands where must be what was sent there. */
const datagramBytes = 400;
const mostPieceBytes = 255;
const stage = openStage();
stage.steerTo(0);
const addresses = [client, otherClient];
const addresses6 = [client6, otherClient6];
/** Within this time no fragment of a datagram is forgotten. */
const rememberedMs = 27_000;
const datagrams6 = Array.from({ length: 20 }, (_, which) => datagram6Of(which));
const datagrams = Array.from({ length: 20 }, (_, which) => datagramOf(which));

export function fuzz(input: Uint8Array): void {
  const sent = new Set<string>();
  const passed: Left6[] = [];
  const began = stage.nowMs;
  for (let at = 0; at + bytesOfPiece <= Math.min(input.length, mostPieces * bytesOfPiece); at += bytesOfPiece) {
    const which = input[at]!;
    if (which & 32) stage.nowMs += 3000;
    const isIpv6 = (which & 64) !== 0;
    const piece = pieceOf(input.subarray(at, at + bytesOfPiece));
    sent.add(isIpv6 ? keyOf6(parse6(piece)) : keyOf(parse(piece)));
    if ((which & 1) !== 0 && !isIpv6) stage.injectUplink(0, piece);
    else stage.injectInside(piece);
    stage.run();
    for (const { uplink, four, six } of everything(stage)) {
      for (const left of four) check(left, uplink, sent);
      for (const left of six) {
        assert.ok(sent.has(keyOf6(left)), `a piece of ${left.payload.length} bytes left that nobody sent`);
        assert.deepEqual([uplink, left.destination], [0, server6]);
        if (stage.nowMs - began < rememberedMs) checkOverlap(left, passed);
      }
    }
  }
  clear(stage);
}

function checkOverlap(left: Left6, passed: Left6[]): void {
  // One that is the whole datagram already stands for itself (RFC 6946).
  if (left.fragment === null || (left.fragment.offset === 0 && !left.fragment.more)) return;
  const { identification, offset } = left.fragment;
  for (const other of passed) {
    const isOfSame = other.fragment!.identification === identification && other.protocol === left.protocol;
    const overlaps = offset < endOf(other) && other.fragment!.offset < endOf(left);
    assert.ok(
      !isOfSame || !overlaps,
      `pieces of ${identification} from ${offset} and ${other.fragment!.offset} overlap`,
    );
  }
  passed.push(left);
}

function endOf({ fragment, payload }: Left6): number {
  return fragment!.offset + payload.length;
}

function check(left: Left, uplink: number, sent: Set<string>): void {
  const isOutbound = uplink >= 0;
  // Whole packets are those that were sent whole.
  assert.ok(sent.has(keyOf(left)), `a piece of ${left.payload.length} bytes at ${left.offset} left that nobody sent`);
  if (isOutbound) assert.deepEqual([uplink, left.destination], [0, server]);
  else assert.ok([...addresses, forwardedHost].includes(left.destination), `a piece went to ${left.destination}`);
}

/** What a translator leaves alone: place, flags and data, of a first piece without the ports and checksum. */
function keyOf({ protocol, offset, moreFragments, payload }: ParsedPacket): string {
  return [protocol, offset, moreFragments, keptOf(payload, protocol, offset)].join(" ");
}

function keyOf6({ protocol, fragment, payload }: ParsedPacket6): string {
  const { offset, more } = fragment ?? { offset: 0, more: false };
  return ["IPv6", protocol, offset, more, keptOf(payload, protocol, offset)].join(" ");
}

function keptOf(payload: Uint8Array, protocol: number, offset: number): string {
  const kept = payload.slice();
  const changed = protocol === UDP ? [0, 1, 2, 3, 6, 7] : [0, 1, 2, 3, 16, 17];
  if (offset === 0) for (const at of changed) kept[at] = 0;
  return Buffer.from(kept).toString("latin1");
}

function pieceOf(bytes: Uint8Array): Uint8Array {
  const [which, identification] = [bytes[0]!, bytes[1]! & 7];
  const offset = (((bytes[2]! << 8) | bytes[3]!) & 0x1fff) * 8;
  const length = ((bytes[4]! << 8) | bytes[5]!) % (mostPieceBytes + 1);
  if (which & 64) {
    const whole = datagrams6[which & 18]!;
    const payload = whole.payload.slice(offset, offset + length);
    return fragment6({ ...whole, payload, offset, more: (which & 4) !== 0, identification });
  }
  const whole = datagrams[which & 19]!;
  const payload = whole.payload.slice(offset, offset + length);
  const moreFragments = (which & 4) !== 0;
  return ip({ ...whole, identification, offset, moreFragments, dontFragment: (which & 8) !== 0, payload });
}

/** Of UDP or TCP, from one of two insiders, or from outside to one of two forwarded ports. */
function datagramOf(which: number): ParsedPacket {
  const other = (which >>> 1) & 1;
  const ends =
    which & 1
      ? { source: `${server}:4000`, destination: `${uplinkAddresses[0]}:${80 + other}` }
      : { source: `${addresses[other]}:5000`, destination: `${server}:80` };
  const data = pattern(datagramBytes, which & 1);
  return parse(which & 16 ? tcp({ ...ends, flags: SYN, data }) : udp({ ...ends, data }));
}

/** The same of IPv6, from the inside. */
function datagram6Of(which: number): ParsedPacket6 {
  const other = (which >>> 1) & 1;
  const ends = { source: `[${addresses6[other]}]:5000`, destination: `[${server6}]:${80 + other}` };
  const data = pattern(datagramBytes);
  return parse6(which & 16 ? tcp6({ ...ends, flags: SYN, data }) : udp6({ ...ends, data }));
}

export function seeds(): Uint8Array[] {
  const piece = (which: number, offset: number, length: number) =>
    concat(Uint8Array.of(which, 1), words(offset / 8, length));
  return [0, 1, 64].flatMap((side) => [
    concat(piece(side | 4, 0, 200), piece(side | 4, 200, 200), piece(side, 400, 8)),
    concat(piece(side, 400, 8), piece(side | 4, 200, 200), piece(side | 4, 0, 200)),
    concat(piece(side | 4, 0, 80), piece(side | 4, 40, 80), piece(side, 120, 80)),
    concat(piece(side | 20, 0, 200), piece(side | 16, 200, 100), piece(side | 18, 200, 100)),
  ]);
}
