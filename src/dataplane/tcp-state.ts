/**
 * The life of a TCP connection as a middlebox sees it: the table of Linux's nf_conntrack
 * (net/netfilter/nf_conntrack_proto_tcp.c, which follows RFC 9293, section 3.3.2), reduced to what a
 * translator must tell apart. A state says what has been seen; the timeout class follows from it.
 *
 *     none ─SYN─► synSent ─SYN+ACK─► synReceived ─ACK─► established ─FIN─► finWait ─FIN back─► closing ─ACK─► timeWait
 *                    └─SYN from the other side─► simultaneousOpen ─SYN+ACK─► synReceived
 *     any ─RST─► closed
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
  timeWait: 8,
  closed: 9,
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
  "time-wait",
  "closed",
];

const states = 10;
const fromInside = 0;
const events = { syn: 0, synAck: 1, fin: 2, ack: 3, rst: 4 } as const;

/** Rows: direction (inside, remote) x event; columns: the state before, in the order above. */
// biome-ignore format: a table is read by its columns
const transitions = Uint8Array.from([
  //        none sS sO sR es fI fR cl tW cd
  /* inside                                */
  /* syn    */ 1, 1, 2, 3, 4, 5, 6, 7, 1, 1,
  /* synAck */ 0, 1, 3, 3, 4, 5, 6, 7, 8, 9,
  /* fin    */ 0, 1, 2, 5, 5, 5, 7, 7, 8, 9,
  /* ack    */ 0, 1, 2, 4, 4, 5, 6, 8, 8, 9,
  /* rst    */ 0, 9, 9, 9, 9, 9, 9, 9, 9, 9,
  /* remote                                */
  /* syn    */ 1, 2, 2, 3, 4, 5, 6, 7, 8, 9,
  /* synAck */ 0, 3, 3, 3, 4, 5, 6, 7, 8, 9,
  /* fin    */ 0, 1, 2, 6, 6, 7, 6, 7, 8, 9,
  /* ack    */ 0, 1, 2, 3, 4, 5, 6, 8, 8, 9,
  /* rst    */ 0, 9, 9, 9, 9, 9, 9, 9, 9, 9,
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

/** Established or half closed: data may still flow for hours (RFC 5382, REQ-5; a half-closed connection is not a transitory one). */
export function isOpen(state: number): boolean {
  return state >= tcpState.established && state <= tcpState.finRemote;
}

/** Over: both FINs answered, or reset. Its port may be taken by a new flow when no unused one is left. */
export function isOver(state: number): boolean {
  return state >= tcpState.timeWait;
}
