/**
 * The ages of flows. Every flow is either on the timer wheel or, once its TCP connection is over, in
 * its uplink's list of closed flows, least recently used first: that list is both the queue of expiry
 * and the queue of recycling. The timeout follows from protocol and state; `expire` does a bounded
 * amount a turn.
 */
import { type FlowTable, flowWord, flowWords } from "../tables/flow-table.ts";
import { LinkedLists } from "../tables/linked-lists.ts";
import { TimerWheel, wheelSlots } from "../tables/timer-wheel.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { stateOf } from "./flow-state.ts";
import { isOpen } from "./tcp-state.ts";

export interface Timeouts {
  tcpEstablishedMs: number;
  tcpTransitoryMs: number;
  udpMs: number;
  icmpMs: number;
  /** Protocols without ports. */
  otherMs: number;
}

export class Ageing {
  readonly #words: Int32Array;
  readonly #uplinks: number;
  readonly #timeouts: Timeouts;
  readonly #lists: LinkedLists;
  readonly #wheel: TimerWheel;

  constructor(flows: FlowTable, uplinks: number, timeouts: Timeouts, nowMs: number) {
    this.#words = flows.words;
    this.#uplinks = uplinks;
    this.#timeouts = timeouts;
    this.#lists = new LinkedLists(flows.capacity, wheelSlots + uplinks);
    this.#wheel = new TimerWheel(this.#lists, nowMs);
  }

  get bytes(): number {
    return this.#lists.bytes;
  }

  /** Lets a flow live for the timeout of its protocol and state from now on. */
  arm(flow: number, nowMs: number): void {
    this.#wheel.arm(flow, nowMs + this.#timeoutMs(flow));
  }

  /** Moves a flow whose connection is over to the end of its uplink's list of closed ones. */
  retire(flow: number): void {
    this.#lists.remove(flow);
    this.#lists.append(wheelSlots + (this.#words[flow * flowWords + flowWord.outside]! & 0xff), flow);
  }

  remove(flow: number): void {
    this.#lists.remove(flow);
  }

  /** The flow of an uplink whose connection has been over longest, or 0. */
  oldestClosed(uplink: number): number {
    return this.#lists.head(wheelSlots + uplink);
  }

  /** Has up to `budget` flows closed whose time is over. `close` takes them out of here. */
  expire(nowMs: number, budget: number, close: (flow: number) => void): void {
    let left = budget;
    for (let flow = this.#wheel.due(nowMs); flow !== 0 && left > 0; flow = this.#wheel.due(nowMs), left--) {
      const remainingMs = this.#timeoutMs(flow) - this.#idleMs(flow, nowMs);
      if (remainingMs > 0) this.#wheel.arm(flow, nowMs + remainingMs);
      else close(flow);
    }
    for (let uplink = 0; uplink < this.#uplinks; uplink++) {
      for (; left > 0; left--) {
        const flow = this.oldestClosed(uplink);
        if (flow === 0 || this.#idleMs(flow, nowMs) < this.#timeouts.tcpTransitoryMs) break;
        close(flow);
      }
    }
  }

  #idleMs(flow: number, nowMs: number): number {
    return ((nowMs | 0) - this.#words[flow * flowWords + flowWord.lastSeen]!) | 0;
  }

  #timeoutMs(flow: number): number {
    const timeouts = this.#timeouts;
    const protocol = (this.#words[flow * flowWords + flowWord.outside]! >>> 8) & 0xff;
    if (protocol === protocolTcp)
      return isOpen(stateOf(this.#words, flow)) ? timeouts.tcpEstablishedMs : timeouts.tcpTransitoryMs;
    if (protocol === protocolUdp) return timeouts.udpMs;
    return protocol === protocolIcmp ? timeouts.icmpMs : timeouts.otherMs;
  }
}
