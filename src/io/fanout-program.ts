/**
 * Which worker's socket gets a packet from an uplink. The NAT port names the worker (port mod workers),
 * so the program reads the port that we chose when the packet went out:
 *
 *     TCP, UDP        destination port
 *     ICMP echo       identifier
 *     ICMP error      source port, or echo identifier, of the packet inside, which is ours
 *     anything else   worker 0
 *
 * It runs on the IP packet (the kernel calls it before it puts the MAC header back, which a platform
 * test holds), after PACKET_FANOUT_FLAG_DEFRAG has put fragments together.
 */

import { assembleClassic, classic } from "./bpf.ts";

const fragmentOffsetMask = 0x1fff;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const echoReply = 0;
const echoRequest = 8;
/** Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792). */
const errorTypes = [3, 4, 5, 11, 12];
const icmpHeaderBytes = 8;

/** The program as `struct sock_filter[]`, for PACKET_FANOUT_CBPF. */
export function fanoutProgram(workers: number): Uint8Array {
  return assembleClassic([
    classic.loadHalf(6),
    classic.jumpIfAnyBit(fragmentOffsetMask, "first worker"),
    classic.indexFromHeaderLength(0),
    classic.loadByte(9),
    classic.jumpIfEqual(TCP, "destination port"),
    classic.jumpIfEqual(UDP, "destination port"),
    classic.jumpUnlessEqual(ICMP, "first worker"),
    classic.loadByteAtIndex(0),
    classic.jumpIfEqual(echoReply, "identifier"),
    classic.jumpIfEqual(echoRequest, "identifier"),
    ...errorTypes.map((type) => classic.jumpIfEqual(type, "error")),
    "first worker:",
    classic.return(0),

    "destination port:",
    classic.loadHalfAtIndex(2),
    classic.jump("choose"),

    "identifier:",
    classic.loadHalfAtIndex(4),
    classic.jump("choose"),

    // X becomes the length of both IP headers, so that the inner L4 header is at X + 8.
    "error:",
    classic.loadByteAtIndex(icmpHeaderBytes + 9),
    classic.store(0),
    classic.loadByteAtIndex(icmpHeaderBytes),
    classic.and(15),
    classic.shiftLeft(2),
    classic.addIndex(),
    classic.index(),
    classic.restore(0),
    classic.jumpIfEqual(ICMP, "inner identifier"),
    classic.loadHalfAtIndex(icmpHeaderBytes),
    classic.jump("choose"),
    "inner identifier:",
    classic.loadHalfAtIndex(icmpHeaderBytes + 4),

    "choose:",
    classic.modulo(workers),
    classic.returnAccumulator(),
  ]);
}
