/**
 * What the flows say about their uplinks: how many questions went out, how many were answered, how many had to be repeated,
 * and how long an answer took. With traffic flowing nothing notices a dead line sooner. Counters in shared memory, which the
 * control plane compares between uplinks; handshake times through a ring.
 *
 * Only flows that were opened from the inside count, and none that turn back: those never see the line. A refusal is an
 * answer too: it has come all the way.
 */
import { type AddressBook, isName } from "../tables/address-book.ts";
import { type FlowTable, flowWord, flowWords, reply } from "../tables/flow-table.ts";
import type { SampleRing } from "../tables/sample-ring.ts";
import { uplinkCounter, uplinkCounterAt, uplinkWord } from "../tables/shared-state.ts";
import { protocolTcp } from "../wire/ipv4.ts";
import { syn } from "../wire/tcp.ts";
import { networkHash, networkHash6 } from "./classify.ts";
import type { Egress } from "./egress.ts";
import { flowFlag, movedFrom, openForTenths, setMovedFrom, setOpenedFraction, stateOf } from "./flow-state.ts";
import { tcpState } from "./tcp-state.ts";

export interface AnswersOptions {
  /** The secret of the hashes that choose an uplink. */
  balanceKey0: number;
  balanceKey1: number;
}

export class Answers {
  readonly #flows: FlowTable;
  readonly #names: AddressBook;
  readonly #egress: Egress;
  readonly #counters: Float64Array;
  readonly #samples: SampleRing;
  readonly #options: AnswersOptions;

  constructor(
    flows: FlowTable,
    names: AddressBook,
    egress: Egress,
    counters: Float64Array,
    samples: SampleRing,
    options: AnswersOptions,
  ) {
    this.#flows = flows;
    this.#names = names;
    this.#egress = egress;
    this.#counters = counters;
    this.#samples = samples;
    this.#options = options;
  }

  /** Takes note of a flow that the inside has opened. `isOfBalance`: it got its uplink as one of the balance over all of them. */
  asked(flow: number, isOfBalance: boolean, nowMs: number): void {
    const { words } = this.#flows;
    const row = flow * flowWords;
    if ((words[row + flowWord.state]! & (flowFlag.turnsBack | flowFlag.openedByRemote)) !== 0) return;
    const uplink = words[row + flowWord.outside]! & 0xff;
    words[row + flowWord.state]! |= flowFlag.asked;
    if (isOfBalance && this.#egress.uplinkWord(uplink, uplinkWord.standsIn) !== 0)
      words[row + flowWord.state]! |= flowFlag.displaced;
    setMovedFrom(words, flow, -1);
    setOpenedFraction(words, flow, nowMs);
    this.#count(uplink, uplinkCounter.asked);
  }

  /** Follows the state of a TCP flow over a SYN or RST in this direction. */
  follow(flow: number, direction: number, before: number, flags: number, nowMs: number): void {
    const after = stateOf(this.#flows.words, flow);
    if (direction === reply) {
      const isAnswer = before <= tcpState.simultaneousOpen && after > tcpState.simultaneousOpen;
      if (isAnswer) this.answered(flow, (flags & syn) !== 0, nowMs);
    } else if (after === tcpState.synSent && before > after) this.asked(flow, false, nowMs); // its tuple serves another connection
  }

  /** Takes note of an answer, where none has come yet. `completes`: it is the one whose time is that of the way there and back. */
  answered(flow: number, completes: boolean, nowMs: number): void {
    const { words } = this.#flows;
    const row = flow * flowWords;
    if ((words[row + flowWord.state]! & flowFlag.asked) === 0) return;
    words[row + flowWord.state]! &= ~flowFlag.asked;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    this.#count(uplink, uplinkCounter.answered);
    const left = movedFrom(words, flow);
    if (left >= 0) this.#count(left, uplinkCounter.answeredElsewhere);
    // Of a SYN that was sent twice nobody knows which one was answered (Karn and Partridge, SIGCOMM 1987).
    if (!completes || ((outside >>> 8) & 0xff) !== protocolTcp || words[row + flowWord.txPackets] !== 1) return;
    this.#samples.add(this.#networkOf(words[row + flowWord.remote]!), uplink, openForTenths(words, flow, nowMs), 0);
  }

  /** Takes note that a flow's first packet was repeated: once a flow, which the caller sees to. */
  repeated(uplink: number): void {
    this.#count(uplink, uplinkCounter.repeated);
  }

  /** Takes note that a flow was moved away from an uplink. */
  rescued(uplink: number): void {
    this.#count(uplink, uplinkCounter.rescued);
  }

  #networkOf(remote: number): number {
    const { balanceKey0, balanceKey1 } = this.#options;
    if (!isName(remote)) return networkHash(balanceKey0, balanceKey1, remote);
    return networkHash6(balanceKey0, balanceKey1, this.#names.word(remote, 0), this.#names.word(remote, 1));
  }

  #count(uplink: number, which: number): void {
    this.#counters[uplinkCounterAt(uplink, which)]!++;
  }
}
