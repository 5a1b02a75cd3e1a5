/**
 * Which worker's socket gets a packet from a LAN that is for one of our own addresses (a hairpin): the
 * one that owns the inside endpoint it comes from, as the TUN's steering program would have chosen
 * (steering-program.ts, of which this is the classic twin for a packet socket's fanout).
 */
import { steeringMixFactor, steeringPortFactor, steeringShift } from "../tables/steering-hash.ts";
import { assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";

const fragmentOffsetMask = 0x1fff;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
/** Destination unreachable, time exceeded, parameter problem (RFC 792). */
const errorTypes = [3, 11, 12];
const icmpHeaderBytes = 8;
const nextHeaderAt = 6;
const ipv6HeaderBytes = 40;
const ICMPV6 = 58;
/** Unreachable to parameter problem (RFC 4443). */
const lastErrorType6 = 4;
/** Places in scratch memory. */
const address = 0;
const port = 1;

/** The program as `struct sock_filter[]`, for PACKET_FANOUT_CBPF. */
export function lanFanoutProgram(workers: number): Uint8Array {
  return assembleClassic([
    classic.loadByte(0),
    classic.shiftRight(4),
    classic.jumpIfEqual(6, "version 6"),
    classic.loadHalf(6),
    classic.jumpIfAnyBit(fragmentOffsetMask, "first worker"),
    classic.indexFromHeaderLength(0),
    classic.loadByte(9),
    classic.jumpIfEqual(TCP, "source port"),
    classic.jumpIfEqual(UDP, "source port"),
    classic.jumpUnlessEqual(ICMP, "first worker"),
    classic.loadByteAtIndex(0),
    ...errorTypes.map((type) => classic.jumpIfEqual(type, "error")),
    classic.jump("first worker"),

    ...readPort6(),

    "first worker:",
    classic.return(0),

    "source port:",
    classic.loadHalfAtIndex(0),
    classic.store(port),
    classic.loadWord(12),
    classic.store(address),
    classic.jump("steer"),

    // An error concerns the endpoint that the packet inside was for. X becomes the length of both IP headers.
    "error:",
    classic.loadWordAtIndex(icmpHeaderBytes + 16),
    classic.store(address),
    classic.loadByteAtIndex(icmpHeaderBytes),
    classic.and(15),
    classic.shiftLeft(2),
    classic.addIndex(),
    classic.index(),
    classic.loadHalfAtIndex(icmpHeaderBytes + 2),
    classic.store(port),

    "steer:",
    classic.restore(port),
    classic.multiply(steeringPortFactor | 0),
    classic.restoreIndex(address),
    classic.xorIndex(),
    classic.multiply(steeringMixFactor | 0),
    classic.shiftRight(steeringShift),
    classic.modulo(workers),
    classic.returnAccumulator(),
  ]);
}

/** Of IPv6 the port alone counts; what does not show it directly after the fixed header goes to the first worker. */
function readPort6(): (ClassicInstruction | Label)[] {
  const inner = ipv6HeaderBytes + icmpHeaderBytes;
  return [
    "version 6:",
    classic.load(0),
    classic.store(address),
    classic.loadByte(nextHeaderAt),
    classic.jumpIfEqual(TCP, "source port 6"),
    classic.jumpIfEqual(UDP, "source port 6"),
    classic.jumpUnlessEqual(ICMPV6, "first worker"),
    classic.loadByte(ipv6HeaderBytes),
    classic.jumpIfAbove(lastErrorType6, "first worker"),
    classic.loadByte(inner + nextHeaderAt),
    classic.jumpIfEqual(TCP, "inner port 6"),
    classic.jumpIfEqual(UDP, "inner port 6"),
    classic.return(0),

    "source port 6:",
    classic.loadHalf(ipv6HeaderBytes),
    classic.store(port),
    classic.jump("steer"),
    "inner port 6:",
    classic.loadHalf(inner + ipv6HeaderBytes + 2),
    classic.store(port),
    classic.jump("steer"),
  ];
}
