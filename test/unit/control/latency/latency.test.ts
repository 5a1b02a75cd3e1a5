import { describe, expect, it } from "vitest";
import { NearestUplinks } from "../../../../src/control/latency.ts";
import { noUplink } from "../../../../src/tables/shared-state.ts";

const network = 0x1234_5678;
const both = [
  { slot: 0, rttMs: null },
  { slot: 1, rttMs: null },
];

/** Pins as the data plane would have them, with the list of all that was said. */
class Pins {
  readonly nearest: NearestUplinks;
  readonly told: [number, number][] = [];
  nowMs = 1_000;

  constructor(networks?: number) {
    this.nearest = new NearestUplinks((which, slot) => this.told.push([which, slot]), networks);
  }

  /** Handshakes one after another, a tenth of a second apart. */
  add(slot: number, rttsMs: readonly number[], which = network): void {
    for (const rttMs of rttsMs) {
      this.nowMs += 100;
      this.nearest.add(which, slot, rttMs, this.nowMs);
    }
  }

  of(which = network): number | undefined {
    return this.told.findLast(([about]) => about === which)?.[1];
  }
}

describe("a network", () => {
  it("is not pinned before two uplinks were measured", () => {
    const pins = new Pins();
    pins.add(0, [10, 10, 10, 10]);
    expect(pins.told).toEqual([]);
    pins.add(1, [20]);
    expect(pins.told).toEqual([[network, 0]]);
  });

  it("that has been seen twice is sent by what is still unknown, until that has been measured twice", () => {
    const pins = new Pins();
    pins.nearest.follow(both, pins.nowMs);
    pins.add(0, [10]);
    expect(pins.told).toEqual([]);
    pins.add(0, [10]);
    expect(pins.of()).toBe(1);
    pins.add(1, [50]);
    expect(pins.of()).toBe(1);
    pins.add(1, [50]);
    expect(pins.of()).toBe(0);
  });

  it("goes back to where it is answered when the unknown uplink is silent", () => {
    const pins = new Pins();
    pins.nearest.follow(both, pins.nowMs);
    pins.add(0, [10, 10, 10]);
    expect(pins.of()).toBe(1);
    pins.nowMs += 2_000;
    pins.add(0, [10, 10]);
    expect(pins.of()).toBe(noUplink);
    pins.add(0, [10, 10, 10, 10]);
    expect(pins.of()).toBe(noUplink);
  });

  it("moves to an uplink that is nearer by more than a tenth, not to one that is nearer by less", () => {
    const pins = new Pins();
    pins.add(0, [100]);
    pins.add(1, [95, 94, 93]);
    expect(pins.of()).toBe(1);
    pins.add(0, [88, 88, 88, 88]);
    expect(pins.of()).toBe(1);
    pins.add(
      0,
      Array.from({ length: 40 }, () => 70),
    );
    expect(pins.of()).toBe(1);
    pins.add(
      0,
      Array.from({ length: 40 }, () => 70),
    );
    expect(pins.of()).toBe(0);
  });

  it("keeps its uplink through a burst of slow handshakes, and leaves it when they stay slow", () => {
    const pins = new Pins();
    pins.add(
      0,
      Array.from({ length: 20 }, () => 20),
    );
    pins.add(1, [60, 60]);
    expect(pins.of()).toBe(0);
    pins.add(
      0,
      Array.from({ length: 15 }, () => 200),
    );
    expect(pins.of()).toBe(0);
    pins.add(
      0,
      Array.from({ length: 200 }, () => 200),
    );
    expect(pins.of()).toBe(1);
  });

  it("that is equally far by two uplinks goes by the one with the quicker probes", () => {
    for (const [probeMs, expected] of [
      [5, 1],
      [50, 0],
    ]) {
      const pins = new Pins();
      pins.nearest.follow([both[0]!, { slot: 1, rttMs: probeMs! }].with(0, { slot: 0, rttMs: 20 }), pins.nowMs);
      pins.add(0, [30, 30]);
      pins.add(1, [30.4, 30.4]);
      expect(pins.of()).toBe(expected);
    }
  });

  it("whose uplink gets no more flows moves at once, and back when its uplink does and is measured again", () => {
    const pins = new Pins();
    pins.nearest.follow([...both, { slot: 2, rttMs: null }], pins.nowMs);
    pins.add(0, [10, 10]);
    pins.add(1, [30, 30]);
    pins.add(2, [50, 50]);
    expect(pins.of()).toBe(0);
    pins.nearest.follow([both[1]!, { slot: 2, rttMs: null }], pins.nowMs);
    expect(pins.of()).toBe(1);
    pins.nearest.follow([...both, { slot: 2, rttMs: null }], pins.nowMs);
    pins.add(0, [10]);
    pins.nowMs += 5_000;
    pins.add(1, [30]);
    expect(pins.of()).toBe(0);
  });

  it("goes by the weights when none of the uplinks that are left was measured", () => {
    const pins = new Pins();
    pins.nearest.follow(both, pins.nowMs);
    pins.add(0, [10, 10]);
    pins.add(1, [30, 30]);
    pins.nearest.follow([{ slot: 2, rttMs: null }], pins.nowMs);
    expect(pins.of()).toBe(noUplink);
  });

  it("has its pin renewed while it is used, and not at each handshake", () => {
    const pins = new Pins();
    pins.add(0, [10]);
    pins.add(1, [20]);
    expect(pins.told).toHaveLength(1);
    pins.add(
      0,
      Array.from({ length: 300 }, () => 10),
    );
    expect(pins.told).toHaveLength(1);
    pins.add(
      0,
      Array.from({ length: 400 }, () => 10),
    );
    expect(pins.told).toEqual([
      [network, 0],
      [network, 0],
    ]);
  });

  it("is measured anew when nothing was heard for ten minutes", () => {
    const pins = new Pins();
    pins.add(0, [10]);
    pins.add(1, [20]);
    pins.nowMs += 600_000;
    pins.add(1, [20]);
    pins.add(0, [40]);
    expect(pins.of()).toBe(1);
  });

  it("forgets an uplink whose place another has taken", () => {
    const pins = new Pins();
    pins.add(0, [10]);
    pins.add(1, [20]);
    pins.nearest.forget(0, pins.nowMs);
    expect(pins.of()).toBe(noUplink);
    pins.add(0, [40]);
    expect(pins.of()).toBe(1);
  });
});

describe("networks", () => {
  it("beyond the room there is push out those that were not used for longest", () => {
    const pins = new Pins(2);
    pins.add(0, [10], 1);
    pins.add(0, [10], 2);
    pins.add(0, [10], 1);
    pins.add(0, [10], 3);
    pins.add(1, [20], 1);
    pins.add(1, [20], 2);
    expect(pins.told).toEqual([[1, 0]]);
  });
});
