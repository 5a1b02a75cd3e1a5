/** ARP (RFC 826) and neighbour discovery (RFC 4861, sections 4.3 and 4.4): the question who has an address, and its answer. */

import { assembleClassic, classic } from "../../io/bpf.ts";
import { formatAddress6, parseAddress6 } from "../../wire/ipv6.ts";
import { formatIpv4, parseIpv4 } from "../config-values.ts";

const arp = { operation: 6, senderMac: 8, senderIp: 14, targetIp: 24 } as const;
const arpBytes = 28;
const arpReply = 2;

/** Hardware Ethernet, protocol IPv4, their lengths, operation "request"; of the target's MAC address nothing is known. */
export function arpRequest(mac: Uint8Array, source: string, target: string): Uint8Array {
  const packet = new Uint8Array(arpBytes);
  const view = new DataView(packet.buffer);
  packet.set([0, 1, 8, 0, 6, 4, 0, 1]);
  packet.set(mac, arp.senderMac);
  view.setUint32(arp.senderIp, parseIpv4(source)!);
  view.setUint32(arp.targetIp, parseIpv4(target)!);
  return packet;
}

/** Who answers whom; null when it is no answer. */
export function readArp(bytes: Uint8Array): { readonly from: string; readonly to: string } | null {
  if (bytes.length < arpBytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(arp.operation) !== arpReply) return null;
  return { from: formatIpv4(view.getUint32(arp.senderIp)), to: formatIpv4(view.getUint32(arp.targetIp)) };
}

/** Lets answers pass, and none of the questions that everybody on a link asks everybody. */
export function arpFilter(): Uint8Array {
  return assembleClassic([
    classic.loadHalf(arp.operation),
    classic.jumpUnlessEqual(arpReply, "drop"),
    classic.return(arpBytes),
    "drop:",
    classic.return(0),
  ]);
}

const solicitation = { type: 135, target: 8, option: 24 } as const;
const advertisement = { type: 136, flags: 4, target: 8, bytes: 24 } as const;
const flagSolicited = 0x40;
/** The option's type and its length in units of eight bytes. */
const sourceLinkAddress = [1, 1];
/** What a router has forwarded comes with less (RFC 4861, section 7.1). */
const hopLimitOfTheLink = 255;

/** Without its checksum, which the kernel writes. */
export function neighbourSolicitation(mac: Uint8Array, target: string): Uint8Array {
  const packet = new Uint8Array(solicitation.option + sourceLinkAddress.length + mac.length);
  const view = new DataView(packet.buffer);
  packet[0] = solicitation.type;
  for (const [i, word] of parseAddress6(target)!.entries()) view.setInt32(solicitation.target + 4 * i, word);
  packet.set(sourceLinkAddress, solicitation.option);
  packet.set(mac, solicitation.option + sourceLinkAddress.length);
  return packet;
}

/** The group that everybody with such an address listens to (RFC 4291, section 2.7.1). */
export function solicitedNode(target: string): string {
  return formatAddress6([0xff020000 | 0, 0, 1, 0xff000000 | (parseAddress6(target)![3]! & 0xffffff)]);
}

/** Who answers; null when it is no answer of a neighbour to a question of ours. */
export function readAdvertisement(bytes: Uint8Array, hopLimit: number): string | null {
  if (bytes.length < advertisement.bytes || hopLimit !== hopLimitOfTheLink) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) !== advertisement.type << 8) return null;
  if ((view.getUint8(advertisement.flags) & flagSolicited) === 0) return null;
  return formatAddress6([0, 4, 8, 12].map((offset) => view.getInt32(advertisement.target + offset)));
}

export function advertisementFilter(): Uint8Array {
  return assembleClassic([
    classic.loadByte(0),
    classic.jumpUnlessEqual(advertisement.type, "drop"),
    classic.return(0x40000),
    "drop:",
    classic.return(0),
  ]);
}
