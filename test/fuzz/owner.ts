/**
 * Which worker the kernel gives a packet to: what the programs of src/io/steering-program.ts (from the inside) and
 * fanout-program.ts (from an uplink) say, in plain words. A packet too short for them goes to worker 0.
 */
import { type Forward, findForward } from "../../src/tables/forwards.ts";
import { steer } from "../../src/tables/steering-hash.ts";
import { ICMP, TCP, UDP } from "../support/packets.ts";
import { ICMPV6 } from "../support/packets6.ts";

const queryTypes = [8, 0, 13, 14];
const errorTypes = [3, 4, 5, 11, 12];
const ipv6HeaderBytes = 40;
const echoTypes6 = [128, 129];
const errorTypes6 = [1, 2, 3, 4];

export function ownerInside(bytes: Uint8Array, workers: number): number {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.getUint8(0) >>> 4 === 6) return steer6(portOf6(view, true), workers);
    const source = view.getInt32(12);
    const protocol = view.getUint8(9);
    if (!hasPorts(protocol)) return 0;
    if ((view.getUint16(6) & 0x3fff) !== 0) return steer(source, 0, workers);
    const l4 = (view.getUint8(0) & 15) * 4;
    if (protocol !== ICMP) return steer(source, view.getUint16(l4), workers);
    const type = view.getUint8(l4);
    if (queryTypes.includes(type)) return steer(source, view.getUint16(l4 + 4), workers);
    if (!errorTypes.includes(type)) return steer(source, 0, workers);
    const quoted = quotedIn(view, l4);
    if (quoted.offset !== 0) return steer(quoted.destination, 0, workers);
    if (!hasPorts(quoted.protocol)) return 0;
    return steer(quoted.destination, view.getUint16(quoted.l4 + (quoted.protocol === ICMP ? 4 : 2)), workers);
  } catch (error) {
    return tooShort(error);
  }
}

export function ownerOutside(bytes: Uint8Array, uplink: number, workers: number, forwards: readonly Forward[]): number {
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.getUint8(0) >>> 4 === 6) return Math.max(portOf6(view, false), 0) % workers;
    const protocol = view.getUint8(9);
    if ((view.getUint16(6) & 0x1fff) !== 0 || !hasPorts(protocol)) return 0;
    const l4 = (view.getUint8(0) & 15) * 4;
    if (protocol !== ICMP) return ownerOfPort(uplink, protocol, view.getUint16(l4 + 2), workers, forwards);
    const type = view.getUint8(l4);
    if (queryTypes.includes(type)) return view.getUint16(l4 + 4) % workers;
    if (!errorTypes.includes(type)) return 0;
    const quoted = quotedIn(view, l4);
    if (!hasPorts(quoted.protocol)) return 0;
    if (quoted.protocol === ICMP) return view.getUint16(quoted.l4 + 4) % workers;
    return ownerOfPort(uplink, quoted.protocol, view.getUint16(quoted.l4), workers, forwards);
  } catch (error) {
    return tooShort(error);
  }
}

function ownerOfPort(
  uplink: number,
  protocol: number,
  port: number,
  workers: number,
  forwards: readonly Forward[],
): number {
  const forward = findForward(forwards, uplink, protocol, port);
  if (forward === undefined) return port % workers;
  return steer(forward.to, forward.toPort + port - forward.firstPort, workers);
}

/**
 * The port that names the owner of an IPv6 packet, where it stands directly after the fixed header, else -1: the near one of
 * a packet from the inside, the far one from outside; of an error, that of the packet it quotes, which went the other way.
 */
function portOf6(view: DataView, isFromInside: boolean): number {
  const protocol = view.getUint8(6);
  const sourceAt = isFromInside ? 0 : 2;
  if (protocol === TCP || protocol === UDP) return view.getUint16(ipv6HeaderBytes + sourceAt);
  if (protocol !== ICMPV6) return -1;
  const type = view.getUint8(ipv6HeaderBytes);
  if (echoTypes6.includes(type)) return view.getUint16(ipv6HeaderBytes + 4);
  if (!errorTypes6.includes(type)) return -1;
  const quotedAt = ipv6HeaderBytes + 8;
  const quoted = view.getUint8(quotedAt + 6);
  const quotedL4 = quotedAt + ipv6HeaderBytes;
  if (quoted === ICMPV6) return view.getUint16(quotedL4 + 4);
  return quoted === TCP || quoted === UDP ? view.getUint16(quotedL4 + 2 - sourceAt) : -1;
}

function steer6(port: number, workers: number): number {
  return port < 0 ? 0 : steer(0, port, workers);
}

function quotedIn(view: DataView, l4: number) {
  const at = l4 + 8;
  return {
    protocol: view.getUint8(at + 9),
    offset: view.getUint16(at + 6) & 0x1fff,
    destination: view.getInt32(at + 16),
    l4: at + (view.getUint8(at) & 15) * 4,
  };
}

function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP || protocol === ICMP;
}

function tooShort(error: unknown): number {
  if (error instanceof RangeError) return 0;
  throw error;
}
