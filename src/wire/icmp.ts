/** ICMP (RFC 792, RFC 1191): offsets, types and the question which of them concern another packet. */
export const icmp = { type: 0, code: 1, checksum: 2, identifier: 4, sequence: 6, nextHopMtu: 6, inner: 8 } as const;
export const icmpHeaderBytes = 8;

export const icmpType = {
  echoReply: 0,
  unreachable: 3,
  sourceQuench: 4,
  redirect: 5,
  echo: 8,
  timeExceeded: 11,
  parameterProblem: 12,
  timestamp: 13,
  timestampReply: 14,
} as const;

/** Codes of "unreachable" (RFC 792, RFC 1812, section 5.2.7.1). */
export const codeNetUnreachable = 0;
export const codeHostUnreachable = 1;
export const codeFragmentationNeeded = 4;
export const codeProhibited = 13;

/** Queries and replies: what has an identifier. */
export const identifiedTypes = [icmpType.echo, icmpType.echoReply, icmpType.timestamp, icmpType.timestampReply];
/** What quotes a packet, also where it is not forwarded. */
export const quotingTypes = [
  icmpType.unreachable,
  icmpType.sourceQuench,
  icmpType.redirect,
  icmpType.timeExceeded,
  icmpType.parameterProblem,
];
/** Errors that are translated. Source quench is deprecated (RFC 6633) and redirect is link-local: neither is forwarded. */
export const errorTypes = [icmpType.unreachable, icmpType.timeExceeded, icmpType.parameterProblem];

export function isQuery(type: number): boolean {
  return type === icmpType.echo || type === icmpType.timestamp;
}

export function isReply(type: number): boolean {
  return type === icmpType.echoReply || type === icmpType.timestampReply;
}

/** Whether it is one of `errorTypes`. */
export function isError(type: number): boolean {
  return type === icmpType.unreachable || type === icmpType.timeExceeded || type === icmpType.parameterProblem;
}
