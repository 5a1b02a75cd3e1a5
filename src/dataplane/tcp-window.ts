/**
 * Which segments of a connection can be genuine: sequence and acknowledgment numbers lie within what
 * both ends have announced. After van Rooij, "Real Stateful TCP Packet Filtering in IP Filter"
 * (2001), as nf_conntrack does it. For each end a row keeps the end of what it has sent, how far it may send
 * (what the other has acknowledged plus the largest window offered with it), and its largest window.
 *
 * What is outside is not dropped as such: retransmissions after long pauses and middleboxes on the way
 * make odd numbers, and the ends know better. It just has no say in the flow's state; a RST or
 * SYN outside that comes from an uplink, where it could only do harm, is dropped (RFC 5961, section 3
 * and 4). From the inside it goes on: a RST refuses what the remote has left of an earlier connection with
 * our port, in that connection's numbers (RFC 9293, section 3.5.1). So does a RST of a remote whose SYN nobody inside
 * has answered yet (conntrack.ts), for the same reason.
 */
import { ack, fin, rst, syn, tcp } from "../wire/tcp.ts";
import { findOption } from "./tcp-mss.ts";

/** Words per direction: end of data sent, end of data allowed, largest window. */
const end = 0;
const allowed = 1;
const largest = 2;
const wordsPerEnd = 3;

/** An acknowledgment may lie this far back: the larger of the window and this (nf_conntrack's MAXACKWINCONST). */
const oldestAck = 66_000;
const largestShift = 14;
const optionWindowScale = 3;

export class TcpWindows {
  readonly #words: Int32Array;
  /** Window shift of either end (4 bits each), offered with its SYN; 15: none. */
  readonly #shifts: Uint8Array;

  constructor(flows: number) {
    this.#words = new Int32Array((flows + 1) * wordsPerEnd * 2);
    this.#shifts = new Uint8Array(flows + 1);
  }

  get bytes(): number {
    return this.#words.byteLength + this.#shifts.byteLength;
  }

  /** Forgets all about a flow: its next SYN begins anew. */
  reset(flow: number): void {
    const at = flow * wordsPerEnd * 2;
    this.#words.fill(0, at, at + wordsPerEnd * 2);
    this.#shifts[flow] = 0xff;
  }

  /**
   * Whether a segment lies within the windows, which then follow it; nothing changes when it does not. `direction` is that of the
   * segment, `l4` its header, `l4End` and `packetEnd` begin and end of its data (all of a super-packet's).
   * `mayBegin`: the connection stands where a SYN of this end may come with another number than the last one.
   */
  accept(
    flow: number,
    direction: number,
    mayBegin: boolean,
    view: DataView,
    l4: number,
    l4End: number,
    packetEnd: number,
  ): boolean {
    const words = this.#words;
    const sender = (flow * 2 + direction) * wordsPerEnd;
    const receiver = (flow * 2 + (direction ^ 1)) * wordsPerEnd;
    const flags = view.getUint8(l4 + tcp.flags);
    const sequence = view.getInt32(l4 + tcp.sequence);
    const acknowledgment = view.getInt32(l4 + tcp.acknowledgment);
    const length = packetEnd - l4End + ((flags & syn) === 0 ? 0 : 1) + ((flags & fin) === 0 ? 0 : 1);
    const segmentEnd = (sequence + length) | 0;

    const begins = words[sender + largest] === 0 || (mayBegin && (flags & syn) !== 0);
    // The first segment of this end: nothing to hold it against, but a refusal must name what it refuses.
    if (begins && (flags & rst) !== 0) return (flags & ack) !== 0 && acknowledgment === words[receiver + end];
    if (!begins && !this.#within(sender, receiver, sequence, segmentEnd)) return false;
    if ((flags & ack) !== 0 && words[receiver + largest] !== 0 && !this.#ackWithin(sender, receiver, acknowledgment))
      return false;

    if (begins) {
      words[sender + end] = segmentEnd;
      // Data may follow at once, up to the window of the other's SYN (RFC 7413, section 2).
      words[sender + allowed] = segmentEnd + words[receiver + largest]!;
      words[sender + largest] = 0;
    }
    if ((flags & syn) !== 0) this.#noteShift(flow, direction, view, l4, l4End);
    // The window of a SYN is never scaled.
    const window = view.getUint16(l4 + tcp.window) << ((flags & syn) !== 0 ? 0 : this.#shift(flow, direction));
    const offered = Math.max(window, 1);
    if (offered > words[sender + largest]!) words[sender + largest] = offered;
    if (((segmentEnd - words[sender + end]!) | 0) > 0) words[sender + end] = segmentEnd;
    if ((flags & ack) !== 0) {
      const mayReach = (acknowledgment + offered) | 0;
      if (((mayReach - words[receiver + allowed]!) | 0) > 0) words[receiver + allowed] = mayReach;
    }
    return true;
  }

  /** The number behind the last that the end whose segments go in `direction` has sent: what the other expects next, if it got all. */
  sentEnd(flow: number, direction: number): number {
    return this.#words[(flow * 2 + direction) * wordsPerEnd + end]!;
  }

  #within(sender: number, receiver: number, sequence: number, segmentEnd: number): boolean {
    const words = this.#words;
    const back = Math.max(words[receiver + largest]!, 1);
    // Before the other end has acknowledged anything, its window is not known.
    const notTooFar = words[receiver + largest] === 0 || ((sequence - words[sender + allowed]!) | 0) <= 0;
    return notTooFar && ((segmentEnd - words[sender + end]! + back) | 0) >= 0;
  }

  #ackWithin(sender: number, receiver: number, acknowledgment: number): boolean {
    const words = this.#words;
    const behind = (words[receiver + end]! - acknowledgment) | 0;
    return behind >= 0 && behind <= Math.max(words[sender + largest]!, oldestAck);
  }

  /** Both ends must offer scaling for either to use it (RFC 7323, section 2.2). */
  #shift(flow: number, direction: number): number {
    const shifts = this.#shifts[flow]!;
    const own = direction === 0 ? shifts & 15 : shifts >>> 4;
    const other = direction === 0 ? shifts >>> 4 : shifts & 15;
    return own === 15 || other === 15 ? 0 : own;
  }

  #noteShift(flow: number, direction: number, view: DataView, l4: number, l4End: number): void {
    const shift = windowShift(view, l4, l4End);
    const shifts = this.#shifts[flow]!;
    this.#shifts[flow] = direction === 0 ? (shifts & 0xf0) | shift : (shifts & 0x0f) | (shift << 4);
  }
}

/** The window scale option of a SYN, or 15 when it has none. */
function windowShift(view: DataView, l4: number, l4End: number): number {
  const at = findOption(view, l4, l4End, optionWindowScale, 3);
  return at < 0 ? 15 : Math.min(view.getUint8(at + 2), largestShift);
}
