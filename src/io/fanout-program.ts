/**
 * Which worker's socket gets a packet from an uplink. The NAT port names the worker (port mod workers),
 * so the program reads the port that we chose when the packet went out:
 *
 *     TCP, UDP        destination port
 *     ICMP query      identifier
 *     ICMP error      source port, or identifier, of the packet inside, which is ours
 *     anything else   worker 0
 *
 * A forwarded port is not of our choosing: its worker is the one that the inside endpoint which it
 * leads to belongs to, by `steer` of tables/steering-hash.ts.
 *
 * It runs on the IP packet (the kernel calls it before it puts the MAC header back, which a platform
 * test holds), after PACKET_FANOUT_FLAG_DEFRAG has put fragments together.
 */

import type { Forward } from "../tables/forwards.ts";
import { steeringMixFactor, steeringPortFactor, steeringShift } from "../tables/steering-hash.ts";
import { assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";

const fragmentOffsetMask = 0x1fff;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
/** Echo and timestamp: requests and replies (RFC 792). */
const queryTypes = [8, 0, 13, 14];
/** Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792). */
const errorTypes = [3, 4, 5, 11, 12];
const icmpHeaderBytes = 8;
/** Places in scratch memory. */
const protocol = 0;
const port = 1;

/** The program as `struct sock_filter[]`, for PACKET_FANOUT_CBPF. */
export function fanoutProgram(workers: number, forwards: readonly Forward[]): Uint8Array {
  return assembleClassic([
    // First of all: the kernel's checker lets what follows a return inherit what was stored on the way to it.
    classic.loadByte(9),
    classic.store(protocol),
    classic.loadHalf(6),
    classic.jumpIfAnyBit(fragmentOffsetMask, "first worker"),
    classic.indexFromHeaderLength(0),
    classic.restore(protocol),
    classic.jumpIfEqual(TCP, "destination port"),
    classic.jumpIfEqual(UDP, "destination port"),
    classic.jumpUnlessEqual(ICMP, "first worker"),
    classic.loadByteAtIndex(0),
    ...queryTypes.map((type) => classic.jumpIfEqual(type, "identifier")),
    ...errorTypes.map((type) => classic.jumpIfEqual(type, "error")),
    "first worker:",
    classic.return(0),

    "destination port:",
    classic.loadHalfAtIndex(2),
    classic.jump("port"),

    "identifier:",
    classic.loadHalfAtIndex(4),
    classic.jump("choose"),

    // X becomes the length of both IP headers, so that the inner L4 header is at X + 8.
    "error:",
    classic.loadByteAtIndex(icmpHeaderBytes + 9),
    classic.store(protocol),
    classic.loadByteAtIndex(icmpHeaderBytes),
    classic.and(15),
    classic.shiftLeft(2),
    classic.addIndex(),
    classic.index(),
    classic.restore(protocol),
    classic.jumpIfEqual(ICMP, "inner identifier"),
    classic.jumpIfEqual(TCP, "inner port"),
    classic.jumpIfEqual(UDP, "inner port"),
    classic.return(0),
    "inner port:",
    classic.loadHalfAtIndex(icmpHeaderBytes),
    classic.jump("port"),
    "inner identifier:",
    classic.loadHalfAtIndex(icmpHeaderBytes + 4),
    classic.jump("choose"),

    "port:",
    classic.store(port),
    ...forwards.flatMap((forward, i) => steerForward(forward, `forward ${i + 1}`)),
    classic.restore(port),

    "choose:",
    classic.modulo(workers),
    classic.returnAccumulator(),
  ]);
}

/** Ends with the worker of this forward's inside endpoint, or goes on at the label `next` when the packet is not for it. */
function steerForward(forward: Forward, next: string): (ClassicInstruction | Label)[] {
  return [
    classic.restore(protocol),
    classic.jumpUnlessEqual(forward.protocol, next),
    classic.restore(port),
    classic.jumpIfBelow(forward.firstPort, next),
    classic.jumpIfAbove(forward.lastPort, next),
    classic.add(forward.toPort - forward.firstPort),
    classic.multiply(steeringPortFactor | 0),
    classic.xor(forward.to),
    classic.multiply(steeringMixFactor | 0),
    classic.shiftRight(steeringShift),
    classic.jump("choose"),
    `${next}:`,
  ];
}
