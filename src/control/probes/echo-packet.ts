/**
 * ICMP echo of both families: the question, what comes back, and the program that lets a raw socket have only that
 * (RFC 792; RFC 4443, sections 3 and 4). Of IPv4 a raw socket is given the IP header too, of IPv6 it is not.
 *
 * The program matters: a raw socket is given every ICMP packet of its interface, and without it a host inside that pings as fast as
 * it can would fill the queue in which the answers wait.
 */

import { assembleClassic, classic } from "../../io/bpf.ts";
import { sumBytes } from "../../wire/checksum.ts";
import { icmp, icmpHeaderBytes, icmpType } from "../../wire/icmp.ts";
import { icmpv6Type } from "../../wire/icmpv6.ts";
import { ipv4, ipv4HeaderBytes, protocolIcmp } from "../../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes, protocolIcmpv6 } from "../../wire/ipv6.ts";

/** Bytes that come back as they are: who has not seen the question cannot answer it. */
export const cookieBytes = 8;

export type EchoAnswer =
  | { readonly kind: "reply"; readonly sequence: number; readonly cookie: Uint8Array }
  | { readonly kind: "error"; readonly sequence: number; readonly words: string };

/** Of IPv6 without its checksum, which the kernel writes. */
export function echoRequest(isIpv6: boolean, identifier: number, sequence: number, cookie: Uint8Array): Uint8Array {
  const packet = new Uint8Array(icmpHeaderBytes + cookieBytes);
  const view = new DataView(packet.buffer);
  view.setUint8(icmp.type, isIpv6 ? icmpv6Type.echo : icmpType.echo);
  view.setUint16(icmp.identifier, identifier);
  view.setUint16(icmp.sequence, sequence);
  packet.set(cookie, icmpHeaderBytes);
  if (!isIpv6) view.setUint16(icmp.checksum, ~sumBytes(view, 0, packet.length) & 0xffff);
  return packet;
}

/** What a packet says to a question of this identifier; null when it says nothing. */
export function readEcho(isIpv6: boolean, identifier: number, bytes: Uint8Array): EchoAnswer | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = isIpv6 || bytes.length === 0 ? 0 : headerLength(view, 0);
  if (bytes.length < at + icmpHeaderBytes) return null;
  const type = view.getUint8(at + icmp.type);
  if (type === (isIpv6 ? icmpv6Type.echoReply : icmpType.echoReply)) {
    if (view.getUint16(at + icmp.identifier) !== identifier || bytes.length < at + icmpHeaderBytes + cookieBytes)
      return null;
    const cookie = bytes.slice(at + icmpHeaderBytes, at + icmpHeaderBytes + cookieBytes);
    return { kind: "reply", sequence: view.getUint16(at + icmp.sequence), cookie };
  }
  const words = errorWords(isIpv6, type, view.getUint8(at + icmp.code));
  const quoted = words === null ? null : quotedEcho(isIpv6, view, at + icmp.inner);
  if (words === null || quoted === null || view.getUint16(quoted + icmp.identifier) !== identifier) return null;
  return { kind: "error", sequence: view.getUint16(quoted + icmp.sequence), words };
}

/** Where an ICMP error quotes an echo request; null when it quotes anything else. */
function quotedEcho(isIpv6: boolean, view: DataView, at: number): number | null {
  if (view.byteLength < at + (isIpv6 ? ipv6HeaderBytes : ipv4HeaderBytes)) return null;
  const protocol = view.getUint8(at + (isIpv6 ? ipv6.nextHeader : ipv4.protocol));
  if (protocol !== (isIpv6 ? protocolIcmpv6 : protocolIcmp)) return null;
  const inner = at + (isIpv6 ? ipv6HeaderBytes : headerLength(view, at));
  if (view.byteLength < inner + icmpHeaderBytes) return null;
  return view.getUint8(inner + icmp.type) === (isIpv6 ? icmpv6Type.echo : icmpType.echo) ? inner : null;
}

function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at) & 15) * 4;
}

/** By code; RFC 1812, section 5.2.7.1, and RFC 4443, section 3.1. */
const unreachable: Readonly<Record<number, string>> = {
  0: "network unreachable",
  1: "host unreachable",
  9: "prohibited",
  10: "prohibited",
  13: "prohibited",
};
const unreachable6: Readonly<Record<number, string>> = { 0: "no route", 1: "prohibited", 3: "host unreachable" };

function errorWords(isIpv6: boolean, type: number, code: number): string | null {
  const { unreachable: unreachableType, timeExceeded } = isIpv6 ? icmpv6Type : icmpType;
  if (type === timeExceeded) return "time to live exceeded";
  return type === unreachableType ? ((isIpv6 ? unreachable6 : unreachable)[code] ?? "unreachable") : null;
}

/** Lets pass what `readEcho` understands, and hardly anything else. */
export function echoFilter(isIpv6: boolean, identifier: number): Uint8Array {
  return isIpv6 ? filter6(identifier) : filter4(identifier);
}

const { jumpIfEqual, jumpUnlessEqual, loadByte, loadHalf, loadByteAtIndex, loadHalfAtIndex } = classic;
const everything = 0x40000;

/** Our questions have no IP options: 0x45 is the first byte of every quotation that concerns us. */
function filter4(identifier: number): Uint8Array {
  return assembleClassic([
    classic.indexFromHeaderLength(0),
    loadByteAtIndex(icmp.type),
    jumpIfEqual(icmpType.echoReply, "reply"),
    jumpIfEqual(icmpType.unreachable, "error"),
    jumpUnlessEqual(icmpType.timeExceeded, "drop"),
    "error:",
    loadByteAtIndex(icmp.inner),
    jumpUnlessEqual(0x45, "drop"),
    loadByteAtIndex(icmp.inner + ipv4.protocol),
    jumpUnlessEqual(protocolIcmp, "drop"),
    loadHalfAtIndex(icmp.inner + ipv4HeaderBytes + icmp.identifier),
    jumpIfEqual(identifier, "accept"),
    classic.return(0),
    "reply:",
    loadHalfAtIndex(icmp.identifier),
    jumpUnlessEqual(identifier, "drop"),
    "accept:",
    classic.return(everything),
    "drop:",
    classic.return(0),
  ]);
}

function filter6(identifier: number): Uint8Array {
  return assembleClassic([
    loadByte(icmp.type),
    jumpIfEqual(icmpv6Type.echoReply, "reply"),
    jumpIfEqual(icmpv6Type.unreachable, "error"),
    jumpUnlessEqual(icmpv6Type.timeExceeded, "drop"),
    "error:",
    loadByte(icmp.inner + ipv6.nextHeader),
    jumpUnlessEqual(protocolIcmpv6, "drop"),
    loadHalf(icmp.inner + ipv6HeaderBytes + icmp.identifier),
    jumpIfEqual(identifier, "accept"),
    classic.return(0),
    "reply:",
    loadHalf(icmp.identifier),
    jumpUnlessEqual(identifier, "drop"),
    "accept:",
    classic.return(everything),
    "drop:",
    classic.return(0),
  ]);
}
