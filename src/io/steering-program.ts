/**
 * Which TUN queue, and so which worker, gets a packet from inside: `steer` of tables/steering-hash.ts
 * over the inside endpoint that the packet is about.
 *
 *     TCP, UDP        source address and source port
 *     ICMP query      source address and identifier
 *     ICMP error      destination address and port (or identifier) of the packet inside: an inside host
 *                     complains about a packet it got, so its endpoint is that packet's destination
 *     a fragment      source address only: later ones carry no port, and all must go one way
 *     anything else   queue 0: on the way back nothing but the remote's address tells it apart, and no
 *                     program can know from that which inside host it is for
 *
 * Of IPv6 the port alone counts, as `steer(0, port)`: an address that prefix translation has changed is
 * not known to the program on the way back, the port is (RFC 6296). A packet whose port does not stand
 * directly after the fixed header, for an extension header or because it is a fragment, goes to queue 0,
 * whose worker passes it on.
 */

import { steeringMixFactor, steeringPortFactor, steeringShift } from "../tables/steering-hash.ts";
import { icmpHeaderBytes, identifiedTypes, quotingTypes } from "../wire/icmp.ts";
import { echoTypes6, errorTypes6 } from "../wire/icmpv6.ts";
import { fragmentOffsetMask, moreFragments, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes, protocolIcmpv6 } from "../wire/ipv6.ts";
import { assembleExtended, type ExtendedInstruction, extended, type Label } from "./bpf.ts";

const fragmentMask = moreFragments | fragmentOffsetMask;

/** Registers: r0 and r6 are what packet loads use; the others keep their values over a load. */
const r0 = 0;
const context = 6;
/** Offset of the L4 header. */
const l4 = 7;
const address = 8;
const port = 9;

/** The program as `struct bpf_insn[]`, for TUNSETSTEERINGEBPF. A packet too short to name its endpoint goes to queue 0. */
export function steeringProgram(queues: number): Uint8Array {
  return assembleExtended([
    extended.move(context, 1),
    extended.loadByte(0),
    extended.shiftRight(r0, 4),
    extended.jumpIfEqual(r0, 6, "version 6"),
    extended.loadWord(12),
    extended.move(address, r0),
    extended.set(port, 0),
    extended.loadHalf(6),
    extended.jumpIfAnyBit(r0, fragmentMask, "fragment"),
    extended.loadByte(0),
    extended.and(r0, 15),
    extended.shiftLeft(r0, 2),
    extended.move(l4, r0),
    extended.loadByte(9),
    extended.jumpIfEqual(r0, protocolTcp, "source port"),
    extended.jumpIfEqual(r0, protocolUdp, "source port"),
    extended.jumpUnlessEqual(r0, protocolIcmp, "first queue"),
    extended.loadByteAt(l4, 0),
    ...identifiedTypes.map((type) => extended.jumpIfEqual(r0, type, "identifier")),
    ...quotingTypes.map((type) => extended.jumpIfEqual(r0, type, "error")),
    extended.jump("hash"),

    "source port:",
    extended.loadHalfAt(l4, 0),
    extended.jump("keep port"),

    "identifier:",
    extended.loadHalfAt(l4, 4),
    extended.jump("keep port"),

    "error:",
    extended.loadWordAt(l4, icmpHeaderBytes + 16),
    extended.move(address, r0),
    extended.loadHalfAt(l4, icmpHeaderBytes + 6),
    extended.jumpIfAnyBit(r0, fragmentOffsetMask, "hash"),
    // `port` keeps the inner protocol while `l4` moves on by the inner header's length.
    extended.loadByteAt(l4, icmpHeaderBytes + 9),
    extended.move(port, r0),
    extended.loadByteAt(l4, icmpHeaderBytes),
    extended.and(r0, 15),
    extended.shiftLeft(r0, 2),
    extended.add(l4, r0),
    extended.jumpIfEqual(port, protocolTcp, "inner port"),
    extended.jumpIfEqual(port, protocolUdp, "inner port"),
    extended.jumpIfEqual(port, protocolIcmp, "inner identifier"),
    "first queue:",
    extended.set(r0, 0),
    extended.exit(),

    // Later fragments of these carry their protocol too, so they need no detour by their source.
    "fragment:",
    extended.loadByte(9),
    extended.jumpIfEqual(r0, protocolTcp, "hash"),
    extended.jumpIfEqual(r0, protocolUdp, "hash"),
    extended.jumpIfEqual(r0, protocolIcmp, "hash"),
    extended.jump("no ports"),

    ...readPort6(),

    "inner port:",
    extended.loadHalfAt(l4, icmpHeaderBytes + 2),
    extended.jump("keep port"),
    "inner identifier:",
    extended.loadHalfAt(l4, icmpHeaderBytes + 4),

    extended.jump("keep port"),
    "no ports:",
    extended.set(r0, 0),
    extended.exit(),

    "keep port:",
    extended.move(port, r0),
    "hash:",
    extended.multiply(port, steeringPortFactor),
    extended.xor(address, port),
    extended.multiply(address, steeringMixFactor),
    extended.shiftRight(address, steeringShift),
    extended.modulo(address, queues),
    extended.move(r0, address),
    extended.exit(),
  ]);
}

/** Goes on at "keep port" with the port in r0 and no address. */
function readPort6(): (ExtendedInstruction | Label)[] {
  const inner = ipv6HeaderBytes + icmpHeaderBytes;
  return [
    "version 6:",
    extended.set(address, 0),
    extended.loadByte(ipv6.nextHeader),
    extended.jumpIfEqual(r0, protocolTcp, "source port 6"),
    extended.jumpIfEqual(r0, protocolUdp, "source port 6"),
    extended.jumpUnlessEqual(r0, protocolIcmpv6, "no ports"),
    extended.loadByte(ipv6HeaderBytes),
    ...echoTypes6.map((type) => extended.jumpIfEqual(r0, type, "identifier 6")),
    ...errorTypes6.map((type) => extended.jumpIfEqual(r0, type, "error 6")),
    extended.jump("no ports"),

    "error 6:",
    extended.loadByte(inner + ipv6.nextHeader),
    extended.jumpIfEqual(r0, protocolTcp, "inner port 6"),
    extended.jumpIfEqual(r0, protocolUdp, "inner port 6"),
    extended.jumpUnlessEqual(r0, protocolIcmpv6, "no ports"),
    extended.loadHalf(inner + ipv6HeaderBytes + 4),
    extended.jump("keep port"),

    "source port 6:",
    extended.loadHalf(ipv6HeaderBytes),
    extended.jump("keep port"),
    "identifier 6:",
    extended.loadHalf(ipv6HeaderBytes + 4),
    extended.jump("keep port"),
    "inner port 6:",
    extended.loadHalf(inner + ipv6HeaderBytes + 2),
    extended.jump("keep port"),
  ];
}
