/**
 * Any sequence of fragments of a few datagrams, both ways, in any order and with any overlap: nothing throws, no piece
 * leaves with anybody else's payload or for anybody else's end, and the pieces of one datagram have one identification.
 *
 *     input: pieces of 6 bytes: [which 1][identification 1][offset 2][length 2]
 *     which: 1 from uplink 0, 2 of the other flow, 4 more fragments, 8 don't fragment, 16 TCP, 32 three seconds later
 */
import assert from "node:assert/strict";
import { client, type Left, otherClient, server, uplinkAddresses } from "../../path/rig.ts";
import { concat, ip, type ParsedPacket, parse, pattern, SYN, tcp, UDP, udp, words } from "../../support/packets.ts";
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
const datagrams = Array.from({ length: 20 }, (_, which) => datagramOf(which));

export function fuzz(input: Uint8Array): void {
  const sent = new Set<string>();
  for (let at = 0; at + bytesOfPiece <= Math.min(input.length, mostPieces * bytesOfPiece); at += bytesOfPiece) {
    const which = input[at]!;
    if (which & 32) stage.nowMs += 3000;
    const piece = pieceOf(input.subarray(at, at + bytesOfPiece));
    sent.add(keyOf(parse(piece)));
    if (which & 1) stage.injectUplink(0, piece);
    else stage.injectInside(piece);
    stage.run();
    for (const { uplink, four } of everything(stage)) for (const left of four) check(left, uplink, sent);
  }
  clear(stage);
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
  const kept = payload.slice();
  if (offset === 0) for (const at of protocol === UDP ? [0, 1, 2, 3, 6, 7] : [0, 1, 2, 3, 16, 17]) kept[at] = 0;
  return [protocol, offset, moreFragments, Buffer.from(kept.subarray(0, payload.length)).toString("latin1")].join(" ");
}

function pieceOf(bytes: Uint8Array): Uint8Array {
  const [which, identification] = [bytes[0]!, bytes[1]! & 7];
  const offset = (((bytes[2]! << 8) | bytes[3]!) & 0x1fff) * 8;
  const length = ((bytes[4]! << 8) | bytes[5]!) % (mostPieceBytes + 1);
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

export function seeds(): Uint8Array[] {
  const piece = (which: number, offset: number, length: number) =>
    concat(Uint8Array.of(which, 1), words(offset / 8, length));
  return [0, 1].flatMap((side) => [
    concat(piece(side | 4, 0, 200), piece(side | 4, 200, 200), piece(side, 400, 8)),
    concat(piece(side, 400, 8), piece(side | 4, 200, 200), piece(side | 4, 0, 200)),
    concat(piece(side | 4, 0, 80), piece(side | 4, 40, 80), piece(side, 120, 80)),
    concat(piece(side | 20, 0, 200), piece(side | 16, 200, 100), piece(side | 18, 200, 100)),
  ]);
}
