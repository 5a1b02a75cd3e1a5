/** ICMPv6 (RFC 4443): types, and the question which of them concern another packet. Offsets are those of ICMP, but for the MTU. */
export const icmpv6Type = {
  unreachable: 1,
  packetTooBig: 2,
  timeExceeded: 3,
  parameterProblem: 4,
  echo: 128,
  echoReply: 129,
} as const;

export const echoTypes6 = [icmpv6Type.echo, icmpv6Type.echoReply];
export const errorTypes6 = [
  icmpv6Type.unreachable,
  icmpv6Type.packetTooBig,
  icmpv6Type.timeExceeded,
  icmpv6Type.parameterProblem,
];

/** The 32-bit MTU of "packet too big". */
export const icmpv6Mtu = 4;

/** Codes of "unreachable" (RFC 4443, section 3.1). */
export const codeNoRoute = 0;
export const codeProhibited6 = 1;
export const codeAddressUnreachable = 3;

/** Errors that are translated; every other type but echo is of the link or of the node: neighbour discovery, MLD, node information. */
export function isError6(type: number): boolean {
  return type >= icmpv6Type.unreachable && type <= icmpv6Type.parameterProblem;
}
