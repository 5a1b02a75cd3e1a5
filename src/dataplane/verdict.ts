/**
 * What becomes of a packet: FORWARD, or a drop reason. Every reason has a counter of its own, under
 * the name that `status` prints; the numbers are positions in the workers' counter blocks.
 */
export const verdict = {
  forward: 0,

  // Malformed: what RFC 1812, section 5.2.2, and the layer-4 RFCs ask to discard silently.
  ipTruncated: 1,
  ipVersion: 2,
  ipHeaderLength: 3,
  ipTotalLength: 4,
  ipChecksum: 5,
  sourceRoute: 6,
  badSource: 7,
  badDestination: 8,
  vnetHeader: 9,
  tcpTruncated: 10,
  tcpFlags: 11,
  udpLength: 12,
  icmpTruncated: 13,
  icmpChecksum: 14,
  icmpType: 15,
  portZero: 16,

  // Fragments.
  fragmentTooShort: 17,
  fragmentBeyondEnd: 18,
  fragmentTableFull: 19,
  fragmentTimedOut: 20,

  // No flow, and none may be opened.
  tcpNoFlow: 21,
  icmpErrorNoFlow: 22,
  unsolicited: 23,
  wrongUplink: 24,
  protocolUnsupported: 25,
  ownAddress: 26,

  // No room or no way.
  noUplink: 27,
  uplinkNotReady: 28,
  flowTableFull: 29,
  hostFlowLimit: 30,
  noPort: 31,
  tooBig: 32,
  mailboxFull: 33,
  sendQueueFull: 34,

  // Not of this connection's time (RFC 5961).
  tcpOutOfWindow: 35,

  // Another inside host already uses this protocol towards this remote, and there is no port to tell them apart.
  protocolClash: 36,

  // IPv6: more extension headers than a host has reason to send, one out of its place, or one that goes beyond the packet.
  extensionHeader: 37,

  // From the inside, but from no network there: nobody there would get the answer.
  foreignSource: 38,

  // The slots for packets of our own making are used up until the next turn.
  outOfSlots: 39,

  // A fragment that overlaps one before it, or repeats it (RFC 5722).
  fragmentOverlap: 40,
  // To or from a link-local address: the neighbour's talk with the router, whose kernel hears it too.
  linkLocal: 41,

  // Of a connection that we have ended, because its uplink died: its host is told so again.
  cutOff: 42,
} as const;

/** Whether a flow was not opened for want of room: a table, the ports or its host's share are full. */
export function isOutOfRoom(reason: number): boolean {
  return reason === verdict.noPort || reason === verdict.flowTableFull || reason === verdict.hostFlowLimit;
}

/** Drop reasons by number, as `status` and the metrics name them: `ipChecksum` is "ip-checksum". */
export const dropNames: readonly string[] = Object.keys(verdict).map((name) =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
);
