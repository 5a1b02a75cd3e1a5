/**
 * Which worker owns an inside endpoint.
 *
 * All flows of one internal endpoint must reach one worker, or its mapping could not stay
 * endpoint-independent (RFC 4787, section 4.1). The kernel makes the choice for each packet with the
 * eBPF program in io/steering-program.ts; this is the same function, for the packets that a worker
 * meets elsewhere: fragments, whose ports only their first piece carries, and hairpins. A platform
 * test holds the two together.
 */

export const steeringPortFactor = 0x9e3779b1;
export const steeringMixFactor = 0x85ebca6b;
export const steeringShift = 16;

/**
 * The index of the worker, and of the TUN queue, that owns an inside endpoint.
 *
 * `address` is a 32-bit integer in host order (signed or not), `port` the TCP or UDP port or the ICMP
 * echo identifier, 0 where the packet names none.
 */
export function steer(address: number, port: number, workers: number): number {
  return (Math.imul(address ^ Math.imul(port, steeringPortFactor), steeringMixFactor) >>> steeringShift) % workers;
}
