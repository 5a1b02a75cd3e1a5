/**
 * Which packets an uplink's sockets take out of all that the interface receives. A first sieve only, so
 * that the rest costs nothing; the data plane checks everything again.
 *
 * Taken: IPv4 addressed to this machine's link address, without a VLAN tag of its own (a tagged packet
 * belongs to another interface on the same wire), that is
 * - TCP or UDP to a port of the NAT range,
 * - ICMP, whose errors concern our flows,
 * - a fragment of one of these: later fragments carry no port.
 */

import { ancillary, assembleClassic, classic } from "./bpf.ts";

const ETH_P_IP = 0x0800;
const PACKET_HOST = 0;
const vlanIdMask = 0x0fff;
/** More fragments, or an offset: a piece of a datagram. The "don't fragment" bit is not part of it. */
const fragmentMask = 0x3fff;
const ICMP = 1;
const TCP = 6;
const UDP = 17;

export interface ReceiveFilterOptions {
  /** Where the IP header stands in what the socket sees: 14 with an Ethernet header, else 0. */
  readonly ipAt: number;
  readonly firstPort: number;
  readonly lastPort: number;
}

/**
 * The filter as `struct sock_filter[]`. It addresses bytes from the packet's start, not from
 * SKF_NET_OFF: such loads see only the part of a packet that lies in one piece of memory.
 */
export function receiveFilter({ ipAt, firstPort, lastPort }: ReceiveFilterOptions): Uint8Array {
  return assembleClassic([
    classic.loadByte(ancillary.packetType),
    classic.jumpUnlessEqual(PACKET_HOST, "leave"),
    classic.loadHalf(ancillary.protocol),
    classic.jumpUnlessEqual(ETH_P_IP, "leave"),
    classic.loadHalf(ancillary.vlanTag),
    classic.jumpIfAnyBit(vlanIdMask, "leave"),

    classic.loadByte(ipAt + 9),
    classic.jumpIfEqual(ICMP, "take"),
    classic.jumpIfEqual(TCP, "ports"),
    classic.jumpIfEqual(UDP, "ports"),
    classic.jump("leave"),

    "ports:",
    classic.loadHalf(ipAt + 6),
    classic.jumpIfAnyBit(fragmentMask, "take"),
    classic.indexFromHeaderLength(ipAt),
    classic.loadHalfAtIndex(ipAt + 2),
    classic.jumpIfBelow(firstPort, "leave"),
    classic.jumpIfAbove(lastPort, "leave"),

    "take:",
    classic.return(-1),
    "leave:",
    classic.return(0),
  ]);
}
