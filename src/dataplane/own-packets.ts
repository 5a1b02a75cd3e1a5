/**
 * Packets of our own about a flow, written from its row alone, where none of the flow's is at hand: a RST in the name of either
 * end, and the headers of a packet that the inside has sent, for an error to quote. Of both families.
 */
import { type AddressBook, isName } from "../tables/address-book.ts";
import { flowWord, flowWords, original } from "../tables/flow-table.ts";
import { sumBytes } from "../wire/checksum.ts";
import { icmp, icmpHeaderBytes, icmpType } from "../wire/icmp.ts";
import { icmpv6Type } from "../wire/icmpv6.ts";
import { dontFragment, ipv4, ipv4HeaderBytes, protocolIcmp, protocolTcp, setHeaderChecksum } from "../wire/ipv4.ts";
import { ipv6, ipv6AddressBytes, ipv6HeaderBytes, protocolIcmpv6 } from "../wire/ipv6.ts";
import { ack, rst, tcp, tcpHeaderBytes } from "../wire/tcp.ts";
import { setAddress6 } from "./masquerade6.ts";

/** As of a packet that has been forwarded: nobody shall take it for one of this machine. */
const hopLimit = 63;
/** No packet written here is longer. */
export const ownPacketBytes = ipv6HeaderBytes + tcpHeaderBytes;

/** What the packets are written from and to. */
export interface OwnPacketMemory {
  readonly view: DataView;
  readonly memory: Uint8Array;
  /** The rows of the flows. */
  readonly words: Int32Array;
  readonly names: AddressBook;
}

/**
 * Writes a RST of a flow's connection to `to` and returns its length. `direction` is the one it goes: original, as the inside's after
 * translation; reply, as the remote's to the inside. It acknowledges too, so that who still waits for an answer to
 * his SYN takes it (RFC 9293, section 3.10.7.3).
 */
export function writeReset(
  own: OwnPacketMemory,
  to: number,
  flow: number,
  direction: number,
  sequence: number,
  acknowledgment: number,
): number {
  const { view, words } = own;
  const row = flow * flowWords;
  const inside = words[row + flowWord.inside]!;
  const remote = words[row + flowWord.remote]!;
  const ports = words[row + flowWord.ports]!;
  const isOut = direction === original;
  const source = isOut ? words[row + flowWord.mapped]! : remote;
  const l4 = writeHeader(own, to, source, isOut ? remote : inside, protocolTcp, tcpHeaderBytes);
  view.setUint16(l4 + tcp.sourcePort, isOut ? words[row + flowWord.outside]! >>> 16 : ports & 0xffff);
  view.setUint16(l4 + tcp.destinationPort, isOut ? ports & 0xffff : ports >>> 16);
  view.setInt32(l4 + tcp.sequence, sequence);
  view.setInt32(l4 + tcp.acknowledgment, acknowledgment);
  view.setUint8(l4 + tcp.dataOffset, (tcpHeaderBytes / 4) << 4);
  view.setUint8(l4 + tcp.flags, rst | ack);
  view.setUint16(l4 + tcp.checksum, ~layer4Sum(view, to, l4, tcpHeaderBytes, protocolTcp) & 0xffff);
  return l4 + tcpHeaderBytes - to;
}

/** Writes the headers of a packet from the inside to `to`, as far as a flow without a connection tells them, and returns their length: as much as an error has to quote. */
export function writeQuestion(own: OwnPacketMemory, to: number, flow: number): number {
  const { view, words } = own;
  const row = flow * flowWords;
  const protocol = (words[row + flowWord.outside]! >>> 8) & 0xff;
  const inside = words[row + flowWord.inside]!;
  const is6 = isName(inside);
  const onWire = is6 && protocol === protocolIcmp ? protocolIcmpv6 : protocol;
  const l4 = writeHeader(own, to, inside, words[row + flowWord.remote]!, onWire, icmpHeaderBytes);
  if (protocol === protocolIcmp) {
    view.setUint8(l4 + icmp.type, is6 ? icmpv6Type.echo : icmpType.echo);
    view.setUint16(l4 + icmp.identifier, words[row + flowWord.ports]! >>> 16);
    const sum = is6 ? layer4Sum(view, to, l4, icmpHeaderBytes, protocolIcmpv6) : sumBytes(view, l4, icmpHeaderBytes);
    view.setUint16(l4 + icmp.checksum, ~sum & 0xffff);
  }
  return l4 + icmpHeaderBytes - to;
}

/** Writes an IP header, and zeros for the bytes behind it; returns where those begin. */
function writeHeader(
  { view, memory, names }: OwnPacketMemory,
  to: number,
  source: number,
  destination: number,
  protocol: number,
  bytes: number,
): number {
  const is6 = isName(source);
  const l4 = to + (is6 ? ipv6HeaderBytes : ipv4HeaderBytes);
  memory.fill(0, to, l4 + bytes);
  if (is6) {
    view.setUint8(to, 0x60);
    view.setUint16(to + ipv6.payloadLength, bytes);
    view.setUint8(to + ipv6.nextHeader, protocol);
    view.setUint8(to + ipv6.hopLimit, hopLimit);
    setAddress6(view, to + ipv6.source, names, source);
    setAddress6(view, to + ipv6.destination, names, destination);
    return l4;
  }
  view.setUint8(to, 0x45);
  view.setUint16(to + ipv4.totalLength, ipv4HeaderBytes + bytes);
  // Whole and not to be cut, so it needs no identification (RFC 6864, section 4.1).
  view.setUint16(to + ipv4.fragment, dontFragment);
  view.setUint8(to + ipv4.ttl, hopLimit);
  view.setUint8(to + ipv4.protocol, protocol);
  view.setInt32(to + ipv4.source, source);
  view.setInt32(to + ipv4.destination, destination);
  setHeaderChecksum(view, to);
  return l4;
}

/** The sum of a layer 4 and its pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1). */
function layer4Sum(view: DataView, at: number, l4: number, bytes: number, protocol: number): number {
  const is6 = view.getUint8(at) >>> 4 === 6;
  const addresses = is6 ? sumBytes(view, at + ipv6.source, 2 * ipv6AddressBytes) : sumBytes(view, at + ipv4.source, 8);
  return sumBytes(view, l4, bytes, addresses + bytes + protocol);
}
