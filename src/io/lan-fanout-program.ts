/**
 * Which worker's socket gets a packet from a LAN that is for one of our own addresses (a hairpin): the
 * one that owns the inside endpoint it comes from, as the TUN's steering program would have chosen
 * (steering-program.ts, of which this is the classic twin for a packet socket's fanout).
 */
import { steeringMixFactor, steeringPortFactor, steeringShift } from "../tables/steering-hash.ts";
import { errorTypes, icmpHeaderBytes } from "../wire/icmp.ts";
import { icmpv6Type } from "../wire/icmpv6.ts";
import { fragmentOffsetMask, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes, protocolIcmpv6 } from "../wire/ipv6.ts";
import { assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";

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
    classic.jumpIfEqual(protocolTcp, "source port"),
    classic.jumpIfEqual(protocolUdp, "source port"),
    classic.jumpUnlessEqual(protocolIcmp, "first worker"),
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
    classic.loadByte(ipv6.nextHeader),
    classic.jumpIfEqual(protocolTcp, "source port 6"),
    classic.jumpIfEqual(protocolUdp, "source port 6"),
    classic.jumpUnlessEqual(protocolIcmpv6, "first worker"),
    classic.loadByte(ipv6HeaderBytes),
    classic.jumpIfAbove(icmpv6Type.parameterProblem, "first worker"),
    classic.loadByte(inner + ipv6.nextHeader),
    classic.jumpIfEqual(protocolTcp, "inner port 6"),
    classic.jumpIfEqual(protocolUdp, "inner port 6"),
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
