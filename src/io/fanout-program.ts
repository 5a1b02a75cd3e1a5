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
 * IPv6 is the same. A host of the uplink's prefix has kept its port, so a packet for the prefix goes to the worker
 * that `steer(0, port)` names, as on the way out. A port that does not stand directly after the fixed header
 * (extension headers, fragments: the kernel puts only those of IPv4 together) is looked for by worker 0.
 *
 * It runs on the IP packet (the kernel calls it before it puts the MAC header back, which a platform
 * test holds), after PACKET_FANOUT_FLAG_DEFRAG has put fragments together.
 */

import type { Forward } from "../tables/forwards.ts";
import type { Prefix6 } from "../tables/prefix6.ts";
import { steeringMixFactor, steeringPortFactor, steeringShift } from "../tables/steering-hash.ts";
import { icmpHeaderBytes, identifiedTypes, quotingTypes } from "../wire/icmp.ts";
import { echoTypes6, errorTypes6 } from "../wire/icmpv6.ts";
import { fragmentOffsetMask, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes, protocolIcmpv6 } from "../wire/ipv6.ts";
import { assembleClassic, type ClassicInstruction, classic, type Label } from "./bpf.ts";
import { unlessWithin } from "./receive-filter.ts";

/** Places in scratch memory. */
const protocol = 0;
const port = 1;

/** The program as `struct sock_filter[]`, for PACKET_FANOUT_CBPF. */
export function fanoutProgram(workers: number, forwards: readonly Forward[], prefix6?: Prefix6): Uint8Array {
  const [forwards4, forwards6] = [false, true].map((is6) => forwards.filter(({ to6 }) => (to6 !== undefined) === is6));
  return assembleClassic([
    classic.loadByte(0),
    classic.shiftRight(4),
    classic.jumpUnlessEqual(6, "version 4"),
    classic.jump("version 6"),

    "version 4:",
    // First of all: the kernel's checker lets what follows a return inherit what was stored on the way to it.
    classic.loadByte(9),
    classic.store(protocol),
    classic.loadHalf(6),
    classic.jumpIfAnyBit(fragmentOffsetMask, "first worker"),
    classic.indexFromHeaderLength(0),
    classic.restore(protocol),
    classic.jumpIfEqual(protocolTcp, "destination port"),
    classic.jumpIfEqual(protocolUdp, "destination port"),
    classic.jumpUnlessEqual(protocolIcmp, "first worker"),
    classic.loadByteAtIndex(0),
    ...identifiedTypes.map((type) => classic.jumpIfEqual(type, "identifier")),
    ...quotingTypes.map((type) => classic.jumpIfEqual(type, "error")),
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
    classic.jumpIfEqual(protocolIcmp, "inner identifier"),
    classic.jumpIfEqual(protocolTcp, "inner port"),
    classic.jumpIfEqual(protocolUdp, "inner port"),
    classic.return(0),
    "inner port:",
    classic.loadHalfAtIndex(icmpHeaderBytes),
    classic.jump("port"),
    "inner identifier:",
    classic.loadHalfAtIndex(icmpHeaderBytes + 4),
    classic.jump("choose"),

    "port:",
    classic.store(port),
    ...forwards4!.flatMap((forward, i) => steerForward(forward, `forward ${i + 1}`)),
    classic.restore(port),

    "choose:",
    classic.modulo(workers),
    classic.returnAccumulator(),

    ...readPort6(),
    ...(prefix6 === undefined
      ? []
      : [
          ...unlessWithin(prefix6, ipv6.destination, "no prefix"),
          classic.restore(port),
          ...mixPort,
          classic.jump("choose 6"),
          "no prefix:" as const,
        ]),
    ...forwards6!.flatMap((forward, i) => steerForward(forward, `forward 6 ${i + 1}`)),
    classic.restore(port),
    "choose 6:",
    classic.modulo(workers),
    classic.returnAccumulator(),
  ]);
}

/** Goes on after it with protocol and port in scratch memory. */
function readPort6(): (ClassicInstruction | Label)[] {
  const inner = ipv6HeaderBytes + icmpHeaderBytes;
  const readAt = (label: Label, at: number) => [label, classic.loadHalf(at), classic.jump("port 6")];
  return [
    "version 6:",
    classic.loadByte(ipv6.nextHeader),
    classic.store(protocol),
    classic.jumpIfEqual(protocolTcp, "destination port 6"),
    classic.jumpIfEqual(protocolUdp, "destination port 6"),
    classic.jumpUnlessEqual(protocolIcmpv6, "first worker 6"),
    classic.loadByte(ipv6HeaderBytes),
    ...echoTypes6.map((type) => classic.jumpIfEqual(type, "identifier 6")),
    ...errorTypes6.map((type) => classic.jumpIfEqual(type, "error 6")),
    "first worker 6:",
    classic.return(0),

    "error 6:",
    classic.loadByte(inner + ipv6.nextHeader),
    classic.store(protocol),
    classic.jumpIfEqual(protocolTcp, "inner port 6"),
    classic.jumpIfEqual(protocolUdp, "inner port 6"),
    classic.jumpIfEqual(protocolIcmpv6, "inner identifier 6"),
    classic.return(0),

    ...readAt("destination port 6:", ipv6HeaderBytes + 2),
    ...readAt("identifier 6:", ipv6HeaderBytes + 4),
    ...readAt("inner port 6:", inner + ipv6HeaderBytes),
    ...readAt("inner identifier 6:", inner + ipv6HeaderBytes + 4),
    "port 6:",
    classic.store(port),
  ];
}

/** A = what `steer` computes of the port in A and an address of 0, before the modulo. */
const mixPort = [
  classic.multiply(steeringPortFactor | 0),
  classic.multiply(steeringMixFactor | 0),
  classic.shiftRight(steeringShift),
];

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
    classic.jump(forward.to6 === undefined ? "choose" : "choose 6"),
    `${next}:`,
  ];
}
