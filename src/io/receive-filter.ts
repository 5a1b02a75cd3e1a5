/**
 * Which packets an uplink's sockets take out of all that the interface receives. A first sieve only, so
 * that the rest costs nothing; the data plane checks everything again.
 *
 * Taken: IPv4 addressed to this machine's link address, without a VLAN tag of its own (a tagged packet
 * belongs to another interface on the same wire), that is
 * - TCP or UDP to a port of the NAT range or a forwarded one,
 * - ICMP, whose errors concern our flows,
 * - protocols without ports, which are translated by their addresses alone,
 * - a fragment of one of these: later fragments carry no port.
 */

import { ancillary, assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";

const ETH_P_IP = 0x0800;
const PACKET_HOST = 0;
const vlanIdMask = 0x0fff;
/** More fragments, or an offset: a piece of a datagram. The "don't fragment" bit is not part of it. */
const fragmentMask = 0x3fff;
const TCP = 6;
const UDP = 17;

export interface ReceiveFilterOptions {
  /** Where the IP header stands in what the socket sees: 14 with an Ethernet header, else 0. */
  readonly ipAt: number;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly forwards: readonly PortRange[];
  /** Take only what is for one of these, signed 32-bit; null: whatever is for this machine's link address. */
  readonly destinations: readonly number[] | null;
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
    classic.loadHalf(ancillary.protocol),
    classic.jumpUnlessEqual(ETH_P_IP, "leave"),
    classic.loadHalf(ancillary.vlanTag),
    classic.jumpIfAnyBit(vlanIdMask, "leave"),

    ...(destinations === null ? [] : onlyTo(destinations, ipAt)),
    classic.loadByte(ipAt + 9),
    classic.jumpIfEqual(TCP, "ports"),
    classic.jumpIfEqual(UDP, "ports"),
    classic.return(-1),
    // Before the ranges: a conditional jump reaches 255 instructions far.
    "leave:",
    classic.return(0),

    "ports:",
    classic.loadHalf(ipAt + 6),
    classic.jumpIfAnyBit(fragmentMask, "fragment"),
    classic.jump("port"),
    "fragment:",
    classic.return(-1),
    "port:",
    classic.indexFromHeaderLength(ipAt),
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

function onlyTo(destinations: readonly number[], ipAt: number): (ClassicInstruction | Label)[] {
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
