/**
 * Which packets an uplink's sockets take out of all that the interface receives. A first sieve only, so
 * that the rest costs nothing; the data plane checks everything again.
 *
 * Taken: IPv4 addressed to this machine's link address, without a VLAN tag of its own (a tagged packet
 * belongs to another interface on the same wire), that is
 * - TCP or UDP to a port of the NAT range or a forwarded one,
 * - ICMP, whose errors concern our flows, but no echo reply whose identifier is not in the NAT range: such a question was
 *   the machine's own, and its answer would be counted as something that nobody had asked for,
 * - protocols without ports, which are translated by their addresses alone,
 * - a fragment of one of these: later fragments carry no port.
 *
 * Of IPv6 the same, and whatever has an extension header; all that is for the uplink's prefix, where it
 * has one; of ICMPv6 echo and errors only. Neighbour discovery and everything else between neighbours
 * (multicast, link-local) is the kernel's.
 */

import { type Prefix6, prefixMasks } from "../tables/prefix6.ts";
import { icmp, icmpType } from "../wire/icmp.ts";
import { icmpv6Type } from "../wire/icmpv6.ts";
import { fragmentOffsetMask, moreFragments, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes, protocolIcmpv6 } from "../wire/ipv6.ts";
import { ancillary, assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";

const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const PACKET_HOST = 0;
const vlanIdMask = 0x0fff;
/** More fragments, or an offset: a piece of a datagram. The "don't fragment" bit is not part of it. */
const fragmentMask = moreFragments | fragmentOffsetMask;

export interface ReceiveFilterOptions {
  /** Where the IP header stands in what the socket sees: 14 with an Ethernet header, else 0. */
  readonly ipAt: number;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly forwards: readonly PortRange[];
  /** Take only what is for one of these, signed 32-bit; null: whatever is for this machine's link address. */
  readonly destinations: readonly number[] | null;
  /** The same for IPv6, four words each, where `destinations` is not null. */
  readonly destinations6?: readonly (readonly number[])[];
  /** The prefix of hosts behind this uplink, all of whose packets are taken. */
  readonly prefix6?: Prefix6;
}

interface PortRange {
  readonly firstPort: number;
  readonly lastPort: number;
}

/**
 * The filter as `struct sock_filter[]`. It addresses bytes from the packet's start, not from
 * SKF_NET_OFF: such loads see only the part of a packet that lies in one piece of memory.
 */
export function receiveFilter(options: ReceiveFilterOptions): Uint8Array {
  const { ipAt, firstPort, lastPort, forwards, destinations } = options;
  const ranges = [{ firstPort, lastPort }, ...withoutRepeats(forwards)];
  return assembleClassic([
    classic.loadByte(ancillary.packetType),
    classic.jumpUnlessEqual(PACKET_HOST, "leave"),
    classic.loadHalf(ancillary.vlanTag),
    classic.jumpIfAnyBit(vlanIdMask, "leave"),
    classic.loadHalf(ancillary.protocol),
    classic.jumpIfEqual(ETH_P_IPV6, "version 6"),
    classic.jumpUnlessEqual(ETH_P_IP, "leave"),

    ...(destinations === null ? [] : onlyTo(destinations, ipAt)),
    classic.loadByte(ipAt + 9),
    classic.jumpIfEqual(protocolTcp, "ports"),
    classic.jumpIfEqual(protocolUdp, "ports"),
    classic.jumpUnlessEqual(protocolIcmp, "take"),
    classic.loadHalf(ipAt + 6),
    classic.jumpIfAnyBit(fragmentMask, "take"),
    classic.indexFromHeaderLength(ipAt),
    classic.loadByteAtIndex(ipAt + icmp.type),
    classic.jumpUnlessEqual(icmpType.echoReply, "take"),
    classic.loadHalfAtIndex(ipAt + icmp.identifier),
    classic.jumpIfBelow(firstPort, "leave"),
    classic.jumpIfAbove(lastPort, "leave"),
    "take:",
    classic.return(-1),

    ...version6(options),
    // Before the ranges: a conditional jump reaches 255 instructions far.
    "leave:",
    classic.return(0),

    "ports:",
    classic.loadHalf(ipAt + 6),
    classic.jumpIfAnyBit(fragmentMask, "fragment"),
    classic.indexFromHeaderLength(ipAt),
    classic.jump("port"),
    "fragment:",
    classic.return(-1),
    "ports 6:",
    classic.loadImmediateIndex(ipv6HeaderBytes),
    "port:",
    classic.loadHalfAtIndex(ipAt + 2),
    ...ranges.flatMap((range, i) => [
      classic.jumpIfBelow(range.firstPort, `range ${i + 1}`),
      classic.jumpIfAbove(range.lastPort, `range ${i + 1}`),
      classic.return(-1),
      `range ${i + 1}:` as const,
    ]),
    classic.return(0),
  ]);
}

function version6(options: ReceiveFilterOptions): Line[] {
  const { ipAt, firstPort, lastPort, destinations, destinations6 = [], prefix6 } = options;
  const destinationAt = ipAt + ipv6.destination;
  return [
    "version 6:",
    classic.loadByte(destinationAt),
    classic.jumpIfEqual(0xff, "leave"),
    classic.loadHalf(destinationAt),
    classic.and(0xffc0),
    classic.jumpIfEqual(0xfe80, "leave"),
    ...(destinations === null ? [] : onlyTo6(destinations6, destinationAt)),
    ...(prefix6 === undefined ? [] : [...unlessWithin(prefix6, destinationAt, "other 6"), classic.return(-1)]),
    "other 6:",
    classic.loadByte(ipAt + ipv6.nextHeader),
    classic.jumpIfEqual(protocolTcp, "ports 6"),
    classic.jumpIfEqual(protocolUdp, "ports 6"),
    classic.jumpUnlessEqual(protocolIcmpv6, "take 6"),
    classic.loadByte(ipAt + ipv6HeaderBytes),
    // Echo is taken, and so are errors; between the two there is nothing to forward.
    classic.jumpIfAbove(icmpv6Type.echoReply, "leave"),
    classic.jumpIfAbove(icmpv6Type.echo - 1, "echo 6"),
    classic.jumpIfAbove(icmpv6Type.parameterProblem, "leave"),
    classic.return(-1),
    "echo 6:",
    classic.jumpIfEqual(icmpv6Type.echo, "take 6"),
    classic.loadHalf(ipAt + ipv6HeaderBytes + icmp.identifier),
    classic.jumpIfBelow(firstPort, "leave"),
    classic.jumpIfAbove(lastPort, "leave"),
    "take 6:",
    classic.return(-1),
  ];
}

function onlyTo6(destinations: readonly (readonly number[])[], destinationAt: number): Line[] {
  return [
    ...destinations.flatMap((words, i) => [
      ...words.flatMap((word, at) => [
        classic.loadWord(destinationAt + 4 * at),
        classic.jumpUnlessEqual(word, `address ${i + 1}`),
      ]),
      classic.jump("destination 6"),
      `address ${i + 1}:` as const,
    ]),
    classic.return(0),
    "destination 6:",
  ];
}

/** Goes on at `label` when the destination is not within the prefix. */
export function unlessWithin(prefix: Prefix6, destinationAt: number, label: string): ClassicInstruction[] {
  return prefixMasks(prefix.length).flatMap((mask, at) => [
    classic.loadWord(destinationAt + 4 * at),
    classic.and(mask),
    classic.jumpUnlessEqual(prefix.words[at]! & mask, label),
  ]);
}

type Line = ClassicInstruction | Label;

function onlyTo(destinations: readonly number[], ipAt: number): Line[] {
  return [
    classic.loadWord(ipAt + 16),
    ...destinations.map((address) => classic.jumpIfEqual(address, "destination")),
    classic.return(0),
    "destination:",
  ];
}

/** A port forwarded for TCP and for UDP is one range here: the protocol does not matter to a first sieve. */
function withoutRepeats(ranges: readonly PortRange[]): PortRange[] {
  return ranges.filter(
    (range, i) =>
      ranges.findIndex(({ firstPort, lastPort }) => firstPort === range.firstPort && lastPort === range.lastPort) === i,
  );
}
