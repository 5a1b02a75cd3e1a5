/**
 * What a flow's state word holds: its TCP state in the low byte, flags in the second, in the third the uplink that it
 * was moved away from, and in the fourth the part of a millisecond at which it was opened.
 */
import { flowWord, flowWords } from "../tables/flow-table.ts";

export const flowFlag = {
  /** The remote sent the first packet. */
  openedByRemote: 0x100,
  /** The remote is one of our own addresses. */
  turnsBack: 0x200,
  /** The other end has not answered, or there is doubt about it: gives way first (unanswered.ts). */
  unanswered: 0x400,
  /** The inside asked, and the answer is to be counted when it comes (answers.ts). */
  asked: 0x800,
  /** It has its uplink only because a lower tier was away. */
  displaced: 0x1000,
  /** We have ended the connection ourselves (cut-off.ts): the row tells who goes on with it. */
  cutOff: 0x2000,
  /** Its connection is over, by whatever way: the next may take another uplink. */
  over: 0x4000,
} as const;

/** What has to be thought about before a packet of the inside's goes on (rescue.ts). */
export const notOnItsWay = flowFlag.unanswered | flowFlag.cutOff | flowFlag.over;

export const stateMask = 0xff;

/** The uplink that a flow was moved away from when nobody answered it there, plus one; 0: it was not moved. */
const movedFromShift = 16;
const fractionShift = 24;
const fractions = 256;

/** The TCP state of a flow; 0 of any other protocol's. */
export function stateOf(words: Int32Array, flow: number): number {
  return words[flow * flowWords + flowWord.state]! & stateMask;
}

/** The uplink that a flow was moved away from, or -1. */
export function movedFrom(words: Int32Array, flow: number): number {
  return ((words[flow * flowWords + flowWord.state]! >>> movedFromShift) & 0xff) - 1;
}

export function setMovedFrom(words: Int32Array, flow: number, uplink: number): void {
  const at = flow * flowWords + flowWord.state;
  words[at] = (words[at]! & ~(0xff << movedFromShift)) | ((uplink + 1) << movedFromShift);
}

/** Notes the part of the millisecond at which a flow was opened. */
export function setOpenedFraction(words: Int32Array, flow: number, nowMs: number): void {
  const at = flow * flowWords + flowWord.state;
  const fraction = Math.floor((nowMs - Math.floor(nowMs)) * fractions);
  words[at] = (words[at]! & ~(0xff << fractionShift)) | (fraction << fractionShift);
}

/** How long a flow has been open, in tenths of a millisecond. */
export function openForTenths(words: Int32Array, flow: number, nowMs: number): number {
  const row = flow * flowWords;
  const wholeMs = ((nowMs | 0) - words[row + flowWord.opened]!) >>> 0;
  const fraction = nowMs - Math.floor(nowMs) - (words[row + flowWord.state]! >>> fractionShift) / fractions;
  return Math.max(0, Math.round((wholeMs + fraction) * 10));
}
