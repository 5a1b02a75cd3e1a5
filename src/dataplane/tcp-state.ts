/**
 * The life of a TCP connection as a middlebox sees it: the table of Linux's nf_conntrack
 * (net/netfilter/nf_conntrack_proto_tcp.c, which follows RFC 9293, section 3.3.2), reduced to what a
 * translator must tell apart. A state says what has been seen; the timeout class follows from it.
 *
 *     none ─SYN─► synSent ─SYN+ACK─► synReceived ─ACK─► established ─FIN─► finWait ─FIN back─► closing ─ACK─► timeWait
 *                    └─SYN from the other side─► simultaneousOpen ─SYN+ACK─► synReceived
 *     any ─RST─► closed, or from an uplink: reset ─the remote goes on─► established
 */
import { ack, fin, rst, syn } from "../wire/tcp.ts";

export const tcpState = {
  none: 0,
  synSent: 1,
  simultaneousOpen: 2,
  synReceived: 3,
  established: 4,
  /** The inside has sent a FIN, the remote has not. */
  finInside: 5,
  /** The remote has sent a FIN, the inside has not. */
  finRemote: 6,
  /** Both have; the last ACK is out. */
  closing: 7,
  /** The remote has sent a RST, or somebody in its name. */
  reset: 8,
  timeWait: 9,
  closed: 10,
} as const;

export const tcpStateNames: readonly string[] = [
  "none",
  "syn-sent",
  "syn-sent2",
  "syn-received",
  "established",
  "fin-wait",
  "close-wait",
  "last-ack",
  "reset",
  "time-wait",
  "closed",
];

const states = 11;
const fromInside = 0;
const events = { syn: 0, synAck: 1, fin: 2, ack: 3, rst: 4 } as const;

/** Rows: direction (inside, remote) x event; columns: the state before, in the order above. */
// biome-ignore format: a table is read by its columns
const transitions = Uint8Array.from([
  //        no sS sO sR es fI fR cl rs tW cd
  /* inside                                 */
  /* syn    */ 1, 1, 2, 3, 4, 5, 6, 7, 1, 1, 1,
  /* synAck */ 0, 1, 3, 3, 4, 5, 6, 7, 8, 9, 10,
  /* fin    */ 0, 1, 2, 5, 5, 5, 7, 7, 8, 9, 10,
  /* ack    */ 0, 1, 2, 4, 4, 5, 6, 9, 8, 9, 10,
  /* rst    */ 0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
  /* remote                                 */
  /* syn    */ 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  /* synAck */ 0, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10,
  /* fin    */ 0, 1, 2, 6, 6, 7, 6, 7, 8, 9, 10,
  /* ack    */ 0, 1, 2, 3, 4, 5, 6, 9, 8, 9, 10,
  /* rst    */ 0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
]);

/** The state after a segment with valid flags (`flagsValid`). `direction` is 0 from the inside, 1 from the remote. */
export function nextTcpState(state: number, direction: number, flags: number): number {
  const event =
    (flags & rst) !== 0
      ? events.rst
      : (flags & syn) !== 0
        ? (flags & ack) !== 0
          ? events.synAck
          : events.syn
        : (flags & fin) !== 0
          ? events.fin
          : events.ack;
  return transitions[(direction === fromInside ? 0 : 5 * states) + event * states + state]!;
}

/**
 * The state after a segment from an uplink. A RST there may be forged, within the window but with a number
 * that makes the host ignore it (RFC 5961, section 3.2). So it only casts doubt on an open connection, which lives for the
 * transitory timeout then, and is open again when its remote goes on (RFC 7857, section 2.2; RFC 6146, section 3.5.2.2,
 * where the host's segments open it too; but what he had sent before a true RST came would keep a dead connection for hours).
 */
export function nextStateFromUplink(state: number, direction: number, flags: number): number {
  const isReset = (flags & rst) !== 0;
  if (isReset && (state === tcpState.reset || isOpen(state))) return tcpState.reset;
  const goesOn = state === tcpState.reset && !isReset && (flags & syn) === 0;
  return nextTcpState(goesOn ? tcpState.established : state, direction, flags);
}

/** Whether a flow in this state is nobody's loss: no handshake has vouched for it, or a RST has cast doubt on it. */
export function givesWay(state: number): boolean {
  return state < tcpState.established || state === tcpState.reset;
}

/** Whether a SYN of the inside finds nothing that it would end: no answer to the last one, or a connection that is over. */
export function mayBeginAnew(state: number): boolean {
  return state <= tcpState.synSent || state === tcpState.reset || isOver(state);
}

/** Established or half closed: data may still flow for hours (RFC 5382, REQ-5; a half-closed connection is not a transitory one). */
export function isOpen(state: number): boolean {
  return state >= tcpState.established && state <= tcpState.finRemote;
}

/** Over: both FINs answered, or reset. Its port may be taken by a new flow when no unused one is left. */
export function isOver(state: number): boolean {
  return state >= tcpState.timeWait;
}
