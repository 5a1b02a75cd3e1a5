/**
 * When items are due, to the second, at one write per packet.
 *
 * An item stands in the slot of the second in which it will be looked at. Traffic does not move it:
 * the owner just notes when it was last seen, and when the slot comes round either ends the item or
 * arms it again for the second that follows from that. So an idle item ends within a second of its
 * time, a busy one is moved once per timeout, and a packet costs no list operation (a list in order
 * of last use would cost three cache misses a packet at a million flows). Hashed timing wheel:
 * Varghese and Lauck, SOSP 1987, scheme 6; times beyond the wheel's span come round early and are armed again.
 */
import type { LinkedLists } from "./linked-lists.ts";

const tickMs = 1000;
/** 8,192 s: longer than the longest default timeout, so that nearly everything is placed exactly. */
export const wheelSlots = 8192;

export class TimerWheel {
  /** Lists 0 to wheelSlots-1 are the wheel's; an item armed while in another list is the owner's mistake. */
  readonly #lists: LinkedLists;
  #tick: number;

  constructor(lists: LinkedLists, nowMs: number) {
    this.#lists = lists;
    this.#tick = Math.floor(nowMs / tickMs);
  }

  /** Puts an item where it will be found at `dueMs` or up to a second later, or earlier when that is beyond the span. */
  arm(item: number, dueMs: number): void {
    const lists = this.#lists;
    let tick = Math.ceil(dueMs / tickMs);
    if (tick <= this.#tick) tick = this.#tick + 1;
    else if (tick >= this.#tick + wheelSlots) tick = this.#tick + wheelSlots - 1;
    const slot = tick % wheelSlots;
    if (lists.listOf(item) === slot) return;
    lists.remove(item);
    lists.append(slot, item);
  }

  /**
   * The next item whose second has come, still in its list: the caller ends it or arms it again.
   * 0 when there is none left for now.
   */
  due(nowMs: number): number {
    const lists = this.#lists;
    const nowTick = Math.floor(nowMs / tickMs);
    while (this.#tick <= nowTick) {
      const item = lists.head(this.#tick % wheelSlots);
      if (item !== 0) return item;
      if (this.#tick === nowTick) return 0;
      this.#tick++;
    }
    return 0;
  }
}
