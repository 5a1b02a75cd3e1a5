/** TCP (RFC 9293, section 3.1): offsets and flags. */
export const tcp = {
  sourcePort: 0,
  destinationPort: 2,
  sequence: 4,
  acknowledgment: 8,
  dataOffset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  options: 20,
} as const;

export const tcpHeaderBytes = 20;
export const fin = 0x01;
export const syn = 0x02;
export const rst = 0x04;
export const ack = 0x10;

/** Whether a segment asks for a new connection: a SYN that answers nothing. */
export function isFirstSyn(flags: number): boolean {
  return (flags & (syn | ack | rst)) === syn;
}

/**
 * Whether the flags can occur in a segment (RFC 9293; nf_conntrack's tcp_valid_flags has the same
 * set): exactly one of SYN, RST, plain; FIN needs an ACK; a NULL, SYN+FIN or XMAS scan has no place.
 */
export function flagsValid(flags: number): boolean {
  switch (flags & (fin | syn | rst | ack)) {
    case syn:
    case syn | ack:
    case rst:
    case rst | ack:
    case ack:
    case fin | ack:
      return true;
    default:
      return false;
  }
}
