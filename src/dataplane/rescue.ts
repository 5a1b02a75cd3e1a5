/**
 * What becomes of a packet from the inside whose flow is not simply on its way: nobody has answered it yet, its uplink
 * can't send, has another address, or it was cut off. Established flows never come here.
 *
 * Rescue: a question that is repeated for want of an answer goes out by another uplink, as a new flow, before anything
 * was established that could break. The host notices nothing but its own retransmission. A SYN may move on with each
 * repetition; a datagram once, for only of the second can be said that it repeats the first. An endpoint
 * that has other flows keeps its address for all of them, and its uplink (RFC 4787, REQ-2). A late answer by the old
 * uplink finds no flow and is dropped.
 */
import { packetWord } from "../tables/batch.ts";
import { type FlowTable, flowWord, flowWords } from "../tables/flow-table.ts";
import { protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { isFirstSyn, rst } from "../wire/tcp.ts";
import type { Answers } from "./answers.ts";
import type { Conntrack } from "./conntrack.ts";
import type { CutOff } from "./cut-off.ts";
import { kind } from "./decode-layer4.ts";
import { flowFlag, movedFrom, setMovedFrom, stateMask } from "./flow-state.ts";
import { mayBeginAnew, tcpState } from "./tcp-state.ts";
import { verdict } from "./verdict.ts";

/**
 * How long after the packet before it one is a repetition, and not a copy of it that the network made or one of two that the
 * host sent at once: well above any way there and back worth waiting for, well below the least first
 * retransmission, of 1 s for a SYN (RFC 6298, section 2.1) and for QUIC (RFC 9002, section 6.2.2), half of that for some resolvers.
 */
const synRepeatMs = 300;
const datagramRepeatMs = 250;

/** What is asked about the uplinks of one family. */
export interface Line {
  /** Whether it can send now. */
  isReady(uplink: number): boolean;
  /** Whether what a flow is mapped to is its uplink's no more, though that has an address. */
  hasLost(uplink: number, mapped: number): boolean;
}

/** Opens the flows of one family: see admission.ts. */
export interface Opener {
  /** The group of uplinks that the last flow was of; 0: the balance over all of them. */
  readonly group: number;
  openOutbound(rows: Int32Array, p: number, avoid: number, nowMs: number): number;
}

export class Rescue {
  readonly #conntrack: Conntrack;
  readonly #flows: FlowTable;
  readonly #line: Line;
  readonly #masks: Int32Array;
  readonly #opener: Opener;
  readonly #answers: Answers;
  readonly #cutOff: CutOff;
  #isOn: boolean;

  /** `masks`: by group, the uplinks that may get flows (shared-state.ts). */
  constructor(
    conntrack: Conntrack,
    line: Line,
    masks: Int32Array,
    opener: Opener,
    answers: Answers,
    cutOff: CutOff,
    isOn: boolean,
  ) {
    this.#masks = masks;
    this.#conntrack = conntrack;
    this.#flows = conntrack.flows;
    this.#line = line;
    this.#opener = opener;
    this.#answers = answers;
    this.#cutOff = cutOff;
    this.#isOn = isOn;
  }

  /** Whether flows are moved from now on. */
  turn(isOn: boolean): void {
    this.#isOn = isOn;
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. */
  open(rows: Int32Array, p: number, nowMs: number): number {
    const flow = this.#opener.openOutbound(rows, p, -1, nowMs);
    if (flow > 0) this.#answers.asked(flow, this.#opener.group === 0, nowMs);
    return flow;
  }

  /** The flow that a packet goes by whose own is `flow`: that or another one, 0 when it shall open one, or minus the verdict. */
  settle(flow: number, rows: Int32Array, p: number, nowMs: number): number {
    const { words } = this.#flows;
    const row = flow * flowWords;
    const state = words[row + flowWord.state]!;
    const uplink = words[row + flowWord.outside]! & 0xff;
    const isTcp = rows[p + packetWord.protocol] === protocolTcp;
    if ((state & flowFlag.cutOff) !== 0) return this.#goOn(flow, rows, p, nowMs);
    if (this.#line.hasLost(uplink, words[row + flowWord.mapped]!)) {
      const isOpening = !isTcp || isFirstSyn(rows[p + packetWord.flags]!);
      if (isOpening) this.#cutOff.end(flow);
      else if (!this.#cutOff.cut(flow, nowMs)) return -verdict.outOfSlots;
      return isOpening ? 0 : -verdict.cutOff;
    }
    if ((state & flowFlag.unanswered) !== 0) {
      const moved = this.#rescue(flow, rows, p, nowMs);
      if (moved !== flow) return moved;
    }
    // Nothing is lost by a connection that begins on another uplink; on the old flow it would wait for its own.
    const begins = isTcp && isFirstSyn(rows[p + packetWord.flags]!) && mayBeginAnew(state & stateMask);
    const isReady = this.#line.isReady(uplink);
    // One that gets no new flows, though it can send, may be dead further on, or is to become empty.
    const isLeft = (state & flowFlag.over) !== 0 && ((this.#masks[0]! >>> uplink) & 1) === 0;
    if (isReady && !(begins && isLeft)) return flow;
    if (!begins) return -verdict.uplinkNotReady;
    this.#conntrack.close(flow);
    return 0;
  }

  /** A segment for a connection that was cut off: a new one may begin, and whoever missed the end of the old one learns of it. */
  #goOn(flow: number, rows: Int32Array, p: number, nowMs: number): number {
    const flags = rows[p + packetWord.flags]!;
    if (isFirstSyn(flags)) {
      this.#conntrack.close(flow);
      return 0;
    }
    if ((flags & rst) === 0) {
      this.#cutOff.refuse(rows, p, flow, nowMs);
      return -verdict.cutOff;
    }
    // The host refuses what the remote still sends: the remote may know.
    const { words } = this.#flows;
    const row = flow * flowWords;
    const uplink = words[row + flowWord.outside]! & 0xff;
    const maySend = this.#line.isReady(uplink) && !this.#line.hasLost(uplink, words[row + flowWord.mapped]!);
    return maySend ? flow : -verdict.uplinkNotReady;
  }

  /** Returns the flow on another uplink that the packet goes by; the old one where it stays; 0 when the old one had to give way. */
  #rescue(flow: number, rows: Int32Array, p: number, nowMs: number): number {
    if (!this.#isRepeated(flow, rows, p, nowMs)) return flow;
    const { words } = this.#flows;
    const row = flow * flowWords;
    const uplink = words[row + flowWord.outside]! & 0xff;
    if (words[row + flowWord.txPackets] === 1) this.#answers.repeated(uplink);
    const mapping = words[row + flowWord.mapping]!;
    if (!this.#isOn || (mapping !== 0 && this.#conntrack.mappings.uses(mapping) > 1)) return flow;

    // The old flow stays until the new one is there: for a moment both have one original tuple, which nobody looks for meanwhile.
    const moved = this.#opener.openOutbound(rows, p, uplink, nowMs);
    // Where room had to be made, an unanswered flow gave way: maybe this one, whose row the new one may have then.
    const isThere = moved !== flow && this.#flows.isOpen(flow);
    if (moved < 0) return isThere ? flow : 0;
    const isElsewhere = (words[moved * flowWords + flowWord.outside]! & 0xff) !== uplink;
    if (!isElsewhere && isThere) {
      this.#conntrack.close(moved);
      return flow;
    }
    if (isThere) this.#conntrack.close(flow);
    this.#answers.asked(moved, this.#opener.group === 0, nowMs);
    if (!isElsewhere) return moved;
    setMovedFrom(words, moved, uplink);
    this.#answers.rescued(uplink);
    return moved;
  }

  /** Whether a packet repeats the first one of its flow, which the inside has opened and nobody has answered. */
  #isRepeated(flow: number, rows: Int32Array, p: number, nowMs: number): boolean {
    const { words, doubles } = this.#flows;
    const row = flow * flowWords;
    const state = words[row + flowWord.state]!;
    if (words[row + flowWord.rxPackets] !== 0 || rows[p + packetWord.kind] !== kind.flow) return false;
    if ((state & (flowFlag.openedByRemote | flowFlag.turnsBack)) !== 0) return false;
    const sinceMs = ((nowMs | 0) - words[row + flowWord.lastSeen]!) >>> 0;
    const protocol = rows[p + packetWord.protocol]!;
    if (protocol === protocolTcp) {
      if ((state & stateMask) !== tcpState.synSent || !isFirstSyn(rows[p + packetWord.flags]!)) return false;
      return sinceMs >= synRepeatMs;
    }
    if (protocol !== protocolUdp || words[row + flowWord.txPackets] !== 1 || movedFrom(words, flow) >= 0) return false;
    return doubles[(row + flowWord.txBytes) >>> 1] === rows[p + packetWord.length]! && sinceMs >= datagramRepeatMs;
  }
}
