/** What a flow's state word holds: its TCP state in the low byte, and flags above. */
import { flowWord, flowWords } from "../tables/flow-table.ts";

export const flowFlag = {
  /** The remote sent the first packet. */
  openedByRemote: 0x100,
  /** The remote is one of our own addresses. */
  turnsBack: 0x200,
  /** The other end has not answered, or there is doubt about it: gives way first (unanswered.ts). */
  unanswered: 0x400,
} as const;

export const stateMask = 0xff;

/** The TCP state of a flow; 0 of any other protocol's. */
export function stateOf(words: Int32Array, flow: number): number {
  return words[flow * flowWords + flowWord.state]! & stateMask;
}
