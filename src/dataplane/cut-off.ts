/**
 * Ends the flows of an uplink that died, was taken out, or has another address: at once, and so that whoever has one knows. A host
 * that is told opens a new connection within milliseconds; one that is not waits for minutes.
 *
 *   TCP    a RST to the host inside, with exactly the number that it expects (RFC 5961, section 3.2, lets it ignore any other); one to
 *          the remote too, where the uplink can still send. The row stays, as a connection that is over: whoever
 *          missed the RST and goes on gets another, whose number is his own acknowledgment. Without a handshake
 *          there is nothing to reset: the flow is closed, and the next SYN opens another.
 *   UDP    closed with its mapping: the next datagram opens a flow on a live uplink.
 *   others closed, and the host inside is told "host unreachable" where it was he who asked, at the limited rate of our errors.
 *
 * The control plane raises a number in the uplink's row; each worker goes through its own flows then, some thousand rows and some
 * dozen packets a turn, so that a million flows delay nobody. Packets that come meanwhile go as before; of one whose
 * address is lost nothing leaves (rescue.ts asks first).
 */
import { isName } from "../tables/address-book.ts";
import { packetWord } from "../tables/batch.ts";
import { type FlowTable, flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { uplinkCounter, uplinkCounterAt, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { codeHostUnreachable } from "../wire/icmp.ts";
import { codeAddressUnreachable } from "../wire/icmpv6.ts";
import { protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { fin, tcp } from "../wire/tcp.ts";
import type { Conntrack } from "./conntrack.ts";
import type { Egress } from "./egress.ts";
import { flowFlag, stateOf } from "./flow-state.ts";
import type { OwnErrors6 } from "./own-errors6.ts";
import { type OwnPacketMemory, writeQuestion, writeReset } from "./own-packets.ts";
import { isOver, tcpState } from "./tcp-state.ts";
import type { Uplinks6 } from "./uplinks6.ts";

/** Rows looked at and flows ended a turn, at most: some tenths of a millisecond. */
const rowBudget = 4096;
const endBudget = 256;
/** Where in a scratch slot a second packet stands: behind the first, and room for its own headers before it. */
const secondPacket = 2048;

/** Which flows of an uplink are to be ended. */
const wanted = { all: 1, displaced: 2, lost: 4 } as const;

/** What an address of an uplink is made of: words of its row, first and last. */
const addressWords: readonly (readonly [number, number])[] = [
  [uplinkWord.address, uplinkWord.address],
  [uplinkWord.address6, uplinkWord.prefix6Length],
];

export class CutOff {
  readonly #conntrack: Conntrack;
  readonly #flows: FlowTable;
  readonly #egress: Egress;
  readonly #uplinks6: Uplinks6;
  readonly #errors6: OwnErrors6;
  readonly #counters: Float64Array;
  readonly #own: OwnPacketMemory;
  /** The rows of the uplinks as they were seen last. */
  readonly #seen: Int32Array;
  /** For each uplink: `wanted` bits, the rows that are still to be looked at for them, and when the first two were asked for. */
  readonly #wanted: Uint8Array;
  readonly #left: Int32Array;
  readonly #allSinceMs: Float64Array;
  readonly #displacedSinceMs: Float64Array;
  #pending = 0;
  #next = 1;
  #end = 1;

  constructor(
    conntrack: Conntrack,
    egress: Egress,
    uplinks6: Uplinks6,
    errors6: OwnErrors6,
    counters: Float64Array,
    uplinks: number,
  ) {
    this.#conntrack = conntrack;
    this.#flows = conntrack.flows;
    this.#egress = egress;
    this.#uplinks6 = uplinks6;
    this.#errors6 = errors6;
    this.#counters = counters;
    this.#own = {
      view: egress.view,
      memory: egress.memory,
      words: conntrack.flows.words,
      names: conntrack.names,
    };
    this.#seen = new Int32Array(uplinks * uplinkWords);
    this.#wanted = new Uint8Array(uplinks);
    this.#left = new Int32Array(uplinks);
    this.#allSinceMs = new Float64Array(uplinks);
    this.#displacedSinceMs = new Float64Array(uplinks);
  }

  /** Whether flows are still to be looked at: the loop should not wait. */
  get isPending(): boolean {
    return this.#pending !== 0;
  }

  /** Looks which uplinks have lost an address, or are to lose flows; to be called when their rows have been copied. */
  follow(nowMs: number): void {
    const { uplinks } = this.#egress;
    const seen = this.#seen;
    for (let uplink = 0; uplink < this.#wanted.length; uplink++) {
      const row = uplink * uplinkWords;
      const isAll = seen[row + uplinkWord.cutAll] !== uplinks[row + uplinkWord.cutAll];
      const isDisplaced = seen[row + uplinkWord.cutDisplaced] !== uplinks[row + uplinkWord.cutDisplaced];
      if (isAll) this.#allSinceMs[uplink] = nowMs;
      if (isDisplaced) this.#displacedSinceMs[uplink] = nowMs;
      const isLost = this.#hasOtherAddress(row);
      const wants = (isAll ? wanted.all : 0) | (isDisplaced ? wanted.displaced : 0) | (isLost ? wanted.lost : 0);
      if (wants !== 0) this.#begin(uplink, wants);
    }
    for (let word = 0; word < seen.length; word++) seen[word] = uplinks[word]!;
  }

  /** Goes on through the rows, as far as this turn's budget and slots allow. */
  sweep(nowMs: number): void {
    this.#followTable();
    let ends = endBudget;
    let rows = 0;
    for (; rows < rowBudget; rows++) {
      if (this.#next >= this.#end) this.#next = 1;
      if (this.#isWanted(this.#next, nowMs)) {
        if (ends-- === 0 || !this.cut(this.#next, nowMs)) break;
      }
      this.#next++;
    }
    for (let uplink = 0; uplink < this.#left.length; uplink++) {
      if (this.#wanted[uplink] === 0) continue;
      this.#left[uplink]! -= rows;
      if (this.#left[uplink]! > 0) continue;
      this.#wanted[uplink] = 0;
      this.#pending--;
    }
  }

  /** Ends a flow, and tells who has it. The row of a TCP connection stays; false when there is no slot to do it with. */
  cut(flow: number, nowMs: number): boolean {
    const { words } = this.#flows;
    const row = flow * flowWords;
    const protocol = (words[row + flowWord.outside]! >>> 8) & 0xff;
    const state = stateOf(words, flow);
    if (protocol === protocolTcp && !isOver(state) && state >= tcpState.synReceived) {
      const to = this.#egress.takeScratch();
      if (to === 0) return false;
      this.#reset(flow, to);
      this.#count(flow);
      this.#conntrack.cutOff(flow, nowMs);
      return true;
    }
    const hasAsked = (words[row + flowWord.state]! & flowFlag.openedByRemote) === 0;
    if (protocol !== protocolTcp && protocol !== protocolUdp && hasAsked) this.#tell(flow, nowMs);
    this.end(flow);
    return true;
  }

  /** Ends a flow without a word, for a packet that opens another. */
  end(flow: number): void {
    const { words } = this.#flows;
    if (!isOver(stateOf(words, flow))) this.#count(flow);
    this.#conntrack.hideMapping(flow);
    this.#conntrack.close(flow);
  }

  /** Answers a segment that still comes for a connection which was cut off with the RST that it asks for (RFC 9293, section 3.10.7.1), at a limited rate. */
  refuse(rows: Int32Array, p: number, flow: number, nowMs: number): void {
    const to = this.#egress.takeErrorSlot(nowMs);
    if (to === 0) return;
    const { view } = this.#egress;
    const l4 = rows[p + packetWord.l4]!;
    const dataBytes = rows[p + packetWord.at]! + rows[p + packetWord.length]! - rows[p + packetWord.l4End]!;
    const isFin = (rows[p + packetWord.flags]! & fin) !== 0;
    const received = (view.getInt32(l4 + tcp.sequence) + dataBytes + (isFin ? 1 : 0)) | 0;
    const bytes = writeReset(this.#own, to, flow, reply, view.getInt32(l4 + tcp.acknowledgment), received);
    this.#egress.toInside(to, bytes, 0, to, 0);
  }

  #begin(uplink: number, wants: number): void {
    if (this.#pending === 0) this.#next = 1;
    this.#followTable();
    if (this.#wanted[uplink] === 0) this.#pending++;
    this.#wanted[uplink]! |= wants;
    // Once round, from wherever the others have got to.
    this.#left[uplink] = this.#end;
  }

  /** Rows that have been added stand behind the others, and have to be passed on the way round. */
  #followTable(): void {
    const added = this.#flows.end - this.#end;
    if (added === 0) return;
    this.#end += added;
    for (let uplink = 0; uplink < this.#left.length; uplink++) this.#left[uplink]! += added;
  }

  /** Whether an uplink has another address, or prefix, than before. Having none is no reason yet: the old one may return. */
  #hasOtherAddress(row: number): boolean {
    for (const [first, last] of addressWords) {
      for (let word = row + first; word <= row + last; word++)
        if (this.#seen[word] !== this.#egress.uplinks[word]) return true;
    }
    return false;
  }

  #isWanted(flow: number, nowMs: number): boolean {
    const { words } = this.#flows;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    const wants = this.#wanted[uplink]!;
    if (outside === 0 || wants === 0) return false;
    const state = words[row + flowWord.state]!;
    if ((state & flowFlag.cutOff) !== 0) return false;
    if ((wants & wanted.lost) !== 0 && this.#hasLost(row)) return true;
    const ageMs = ((nowMs | 0) - words[row + flowWord.opened]!) >>> 0;
    if ((wants & wanted.all) !== 0 && ageMs >= Math.floor(nowMs - this.#allSinceMs[uplink]!)) return true;
    const isDisplaced = (wants & wanted.displaced) !== 0 && (state & flowFlag.displaced) !== 0;
    return isDisplaced && ageMs >= Math.floor(nowMs - this.#displacedSinceMs[uplink]!);
  }

  #hasLost(row: number): boolean {
    const { words } = this.#flows;
    const mapped = words[row + flowWord.mapped]!;
    const line = isName(mapped) ? this.#uplinks6 : this.#egress;
    return line.hasLost(words[row + flowWord.outside]! & 0xff, mapped);
  }

  /** To the inside, and to the remote where nothing but the truth about the source can leave. Both stand in one slot. */
  #reset(flow: number, to: number): void {
    const { words } = this.#flows;
    const conntrack = this.#conntrack;
    const row = flow * flowWords;
    const sentByInside = conntrack.sentEnd(flow, original);
    const sentByRemote = conntrack.sentEnd(flow, reply);
    const bytes = writeReset(this.#own, to, flow, reply, sentByRemote, sentByInside);
    this.#egress.toInside(to, bytes, 0, to, 0);
    const uplink = words[row + flowWord.outside]! & 0xff;
    const is6 = isName(words[row + flowWord.mapped]!);
    const isReady = is6 ? this.#uplinks6.isReady(uplink) : this.#egress.isReady(uplink);
    const turnsBack = (words[row + flowWord.state]! & flowFlag.turnsBack) !== 0;
    if (turnsBack || !isReady || this.#hasLost(row)) return;
    const at = to + secondPacket;
    const length = writeReset(this.#own, at, flow, original, sentByInside, sentByRemote);
    if (is6) this.#egress.toUplink6(uplink, at, length, 0, at, 0);
    else this.#egress.toUplink(uplink, at, length, 0, at, 0);
  }

  #tell(flow: number, nowMs: number): void {
    const to = this.#egress.takeErrorSlot(nowMs);
    if (to === 0) return;
    const { words } = this.#flows;
    const row = flow * flowWords;
    const at = to + secondPacket;
    const length = writeQuestion(this.#own, at, flow);
    if (!isName(words[row + flowWord.inside]!)) this.#egress.sendUnreachable(to, at, length, codeHostUnreachable, 0);
    else this.#errors6.sendUnreachable(to, at, length, words[row + flowWord.outside]! & 0xff, codeAddressUnreachable);
  }

  #count(flow: number): void {
    const uplink = this.#flows.words[flow * flowWords + flowWord.outside]! & 0xff;
    this.#counters[uplinkCounterAt(uplink, uplinkCounter.cut)]!++;
  }
}
