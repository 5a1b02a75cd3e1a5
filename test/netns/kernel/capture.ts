/** Reads a capture file (the classic pcap format, as tcpdump writes it), and sorts it into conversations of one inside host. */

import { readFileSync } from "node:fs";
import { parse } from "../../support/packets.ts";
import { client1 } from "../../support/topology.ts";
import { datagramOf, flowOf, isLaterFragment, type Side } from "./rewrite.ts";

export interface Captured {
  readonly side: Side;
  readonly packet: Uint8Array;
}

const ethernet = 1;
const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const ethernetBytes = 14;

/** The IPv4 packets of a capture of Ethernet frames, in order. Throws when it is not one, or was cut off. */
export function readCapture(file: string): Captured[] {
  const bytes = readFileSync(file);
  if (bytes.length < fileHeaderBytes || bytes.readUInt32LE(0) !== 0xa1b2c3d4 || bytes.readUInt32LE(20) !== ethernet)
    throw new Error(`${file}: not a little-endian capture of Ethernet frames`);
  const packets: Captured[] = [];
  for (let at = fileHeaderBytes; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at + 8);
    const frame = bytes.subarray(at + recordHeaderBytes, at + recordHeaderBytes + length);
    if (frame.length !== length || bytes.readUInt32LE(at + 12) !== length) throw new Error(`${file}: cut off at ${at}`);
    at += recordHeaderBytes + length;
    if (frame.readUInt16BE(12) !== 0x0800) continue;
    const packet = new Uint8Array(frame.subarray(ethernetBytes, ethernetBytes + frame.readUInt16BE(ethernetBytes + 2)));
    packets.push({ side: parse(packet).source === client1 ? "inside" : "outside", packet });
  }
  return packets;
}

/** What belongs together, in order of the first packet: a flow with the errors about it, later fragments with their first. */
export function conversationsOf(capture: readonly Captured[]): Captured[][] {
  const conversations = new Map<string, Captured[]>();
  const byDatagram = new Map<string, string>();
  for (const captured of capture) {
    const { side, packet } = captured;
    const datagram = datagramOf(packet);
    const key = isLaterFragment(packet) ? byDatagram.get(datagram) : flowOf(packet, side)?.key;
    if (key === undefined) throw new Error(`a packet belongs to no conversation: ${datagram}`);
    byDatagram.set(datagram, key);
    conversations.set(key, [...(conversations.get(key) ?? []), captured]);
  }
  return [...conversations.values()];
}
