import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LinkedLists } from "../../../src/tables/linked-lists.ts";
import { TimerWheel, wheelSlots } from "../../../src/tables/timer-wheel.ts";
import { randomFrom } from "../../support/packets.ts";

const items = 20;

function contents(lists: LinkedLists, list: number, scratch: number): number[] {
  // Walks by moving the head away and back: there is no other way to see an order.
  const found: number[] = [];
  for (let item = lists.head(list); item !== 0; item = lists.head(list)) {
    found.push(item);
    lists.remove(item);
    lists.append(scratch, item);
  }
  for (const item of found) {
    lists.remove(item);
    lists.append(list, item);
  }
  return found;
}

test("linked lists hold what arrays would, in order, after any appends and removals", () => {
  const operation = fc.record({ item: fc.integer({ min: 1, max: items }), list: fc.nat(3), isRemoval: fc.boolean() });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const lists = new LinkedLists(items, 5);
      const model: number[][] = [[], [], [], []];
      for (const { item, list, isRemoval } of operations) {
        lists.remove(item);
        for (const each of model) if (each.includes(item)) each.splice(each.indexOf(item), 1);
        if (isRemoval) continue;
        lists.append(list, item);
        model[list]!.push(item);
      }
      for (const [list, expected] of model.entries()) {
        expect(lists.head(list)).toBe(expected[0] ?? 0);
        for (const item of expected) expect(lists.listOf(item)).toBe(list);
        expect(contents(lists, list, 4)).toEqual(expected);
      }
      const inNone = Array.from({ length: items }, (_, i) => i + 1).filter((item) => !model.flat().includes(item));
      for (const item of inNone) expect(lists.listOf(item)).toBe(-1);
    }),
  );
});

/** A wheel whose owner, as conntrack does, keeps the times itself and re-arms what comes round early. */
class Owner {
  readonly due = new Map<number, number>();
  readonly #wheel: TimerWheel;
  readonly #lists: LinkedLists;
  nowMs: number;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
    this.#lists = new LinkedLists(1000, wheelSlots);
    this.#wheel = new TimerWheel(this.#lists, nowMs);
  }

  arm(item: number, inMs: number): void {
    this.due.set(item, this.nowMs + inMs);
    this.#wheel.arm(item, this.nowMs + inMs);
  }

  /** Notes a later time without touching the wheel, as a packet does. */
  touch(item: number, inMs: number): void {
    this.due.set(item, Math.max(this.due.get(item)!, this.nowMs + inMs));
  }

  disarm(item: number): void {
    this.#lists.remove(item);
    this.due.delete(item);
  }

  /** Lets time pass and returns the items that ended. */
  pass(ms: number): number[] {
    this.nowMs += ms;
    const ended: number[] = [];
    let looked = 0;
    for (let item = this.#wheel.due(this.nowMs); item !== 0; item = this.#wheel.due(this.nowMs)) {
      if (++looked > 100_000) throw new Error("the wheel does not come to rest");
      const dueMs = this.due.get(item)!;
      if (dueMs > this.nowMs) {
        this.#wheel.arm(item, dueMs);
        continue;
      }
      this.#lists.remove(item);
      this.due.delete(item);
      ended.push(item);
    }
    return ended;
  }
}

describe("a timer", () => {
  test.each([0, 1, 999, 1000, 1001, 123_456_789, 2 ** 31 - 5000, 2 ** 32])(
    "armed at %i ms is never early and at most a second late, whatever its span",
    (startMs) => {
      for (const span of [1, 500, 999, 1000, 1001, 60_000, 8_190_000, 8_191_000, 8_192_000, 8_193_000, 30_000_000]) {
        const owner = new Owner(startMs);
        owner.arm(7, span);
        expect(owner.pass(span - 1), `${span} ms, early`).toEqual([]);
        expect([...owner.pass(1), ...owner.pass(999)], `${span} ms, late`).toEqual([7]);
      }
    },
  );

  test("that is due now, or was due before, ends within a second", () => {
    const owner = new Owner(5500);
    owner.arm(1, 0);
    owner.arm(2, -4000);
    expect(owner.pass(1000).sort()).toEqual([1, 2]);
  });

  test("ends in any steps of time as a model says", () => {
    for (const seed of [1, 2, 3]) {
      const random = randomFrom(seed);
      const below = (limit: number) => Math.floor(random() * limit);
      const owner = new Owner(below(1e9));
      for (let i = 0; i < 20_000; i++) {
        const item = 1 + below(500);
        const spanMs = [100, 5000, 300_000, 7_440_000, 20_000_000][below(5)]!;
        const what = below(4);
        if (!owner.due.has(item) || what === 0) owner.arm(item, spanMs);
        else if (what === 1) owner.disarm(item);
        else owner.touch(item, spanMs);
        if (below(5) > 0) continue;
        const before = new Map(owner.due);
        const step = [1, 400, 1000, 60_000, 10_000_000][below(5)]!;
        for (const ended of owner.pass(step)) expect(before.get(ended)).toBeLessThanOrEqual(owner.nowMs);
        for (const [left, dueMs] of owner.due) {
          if (dueMs <= owner.nowMs - 1000) throw new Error(`seed ${seed}: item ${left} is late`);
        }
      }
    }
  });

  test("that is touched all the time is looked at only once per span", () => {
    const lists = new LinkedLists(1, wheelSlots);
    const wheel = new TimerWheel(lists, 0);
    wheel.arm(1, 300_000);
    let looks = 0;
    for (let nowMs = 0; nowMs < 3_000_000; nowMs += 100) {
      for (let item = wheel.due(nowMs); item !== 0; item = wheel.due(nowMs)) {
        looks++;
        wheel.arm(item, nowMs + 300_000);
      }
    }
    expect(looks).toBeLessThanOrEqual(10);
  });
});
