import { describe, expect, it } from "vitest";
import { randomFrom } from "../../../../bench/policies/random.ts";
import { BlackHoleWatch } from "../../../../src/control/health/black-hole.ts";
import { type Conditions, type Generator, traffic } from "./traffic.ts";

const well = { perSecond: 100, lossRatio: 0.001 };
const seconds = 1_000;

/** When the watch says that the line is a black hole, in milliseconds from now; null: it does not in that time. */
function foundAfterMs(from: Generator, watch: BlackHoleWatch, forMs: number, conditions: Conditions): number | null {
  const startMs = from.nowMs;
  let foundMs: number | null = null;
  from.run(forMs, conditions, (counts, nowMs) => {
    if (watch.observe(counts, nowMs) !== "") foundMs ??= nowMs - startMs;
    return foundMs !== null;
  });
  return foundMs;
}

function start(seed = 1) {
  return { from: traffic(randomFrom(seed)), watch: new BlackHoleWatch() };
}

describe("a line that swallows everything", () => {
  it.each([
    [100, 1_600],
    [10, 3_500],
    [2, 11_000],
  ])("is found with %i connections a second within %i ms of their last answer", (perSecond, withinMs) => {
    for (let seed = 1; seed <= 20; seed++) {
      const { from, watch } = start(seed);
      expect(foundAfterMs(from, watch, 60 * seconds, { ...well, perSecond }), `seed ${seed}`).toBeNull();
      const found = foundAfterMs(from, watch, 60 * seconds, { perSecond, lossRatio: 1 });
      expect(found, `seed ${seed}`).not.toBeNull();
      expect(found, `seed ${seed}`).toBeLessThan(withinMs);
    }
  });

  it("is found although packets of a stream still come in", () => {
    const { from, watch } = start();
    foundAfterMs(from, watch, 60 * seconds, { ...well, streamIn: true });
    const found = foundAfterMs(from, watch, 60 * seconds, { perSecond: 100, lossRatio: 1, streamIn: true });
    expect(found).toBeLessThan(2_000);
  });

  it("is found from the start of the daemon on, before it has carried anything", () => {
    const { from, watch } = start();
    expect(foundAfterMs(from, watch, 60 * seconds, { perSecond: 100, lossRatio: 1 })).toBeLessThan(1_600);
  });

  it("that is on trial is found by its first connections", () => {
    const { from, watch } = start();
    foundAfterMs(from, watch, 10 * seconds, { perSecond: 2, lossRatio: 1 });
    watch.restart(true);
    const onTrialMs = foundAfterMs(from, watch, 60 * seconds, { perSecond: 2, lossRatio: 1 })!;
    watch.restart(false);
    const otherwiseMs = foundAfterMs(from, watch, 60 * seconds, { perSecond: 2, lossRatio: 1 })!;
    expect(onTrialMs).toBeLessThan(otherwiseMs);
    expect(onTrialMs).toBeLessThan(4_500);
  });

  it("is named with the evidence", () => {
    const watch = new BlackHoleWatch();
    const counts = { asked: 0, answered: 0, repeated: 0, rescued: 0, answeredElsewhere: 0, rxPackets: 0, txPackets: 0 };
    watch.observe(counts, 0);
    watch.observe({ ...counts, asked: 40, txPackets: 40 }, 100);
    const evidence = { ...counts, asked: 40, txPackets: 40, repeated: 40, rescued: 40, answeredElsewhere: 30 };
    expect(watch.observe(evidence, 1_000)).toBe("");
    expect(watch.observe(evidence, 1_100)).toBe("30 connections unanswered here were answered by other uplinks");
  });
});

describe("no black hole is", () => {
  it.each([0.2, 1, 5, 20, 200])(
    "a line that loses three of ten packets each way, with %d connections a second",
    (perSecond) => {
      for (let seed = 1; seed <= 5; seed++) {
        const { from, watch } = start(seed);
        foundAfterMs(from, watch, 600 * seconds, { perSecond });
        const forMs = Math.min(3_600, 20_000 / perSecond) * seconds;
        expect(foundAfterMs(from, watch, forMs, { perSecond, lossRatio: 0.3 }), `seed ${seed}`).toBeNull();
      }
    },
  );

  it.each([0, 0.1, 0.5])("an uplink whose only destination answers to %d of those who ask", (answeringRatio) => {
    for (let seed = 1; seed <= 10; seed++) {
      const { from, watch } = start(seed);
      foundAfterMs(from, watch, 60 * seconds, well);
      const conditions = { perSecond: 50, answeringRatio };
      expect(foundAfterMs(from, watch, 300 * seconds, conditions), `seed ${seed}`).toBeNull();
    }
  });

  it("a line that is used for a destination which it alone cannot reach, now and then, and for nothing else", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { from, watch } = start(seed);
      foundAfterMs(from, watch, 60 * seconds, well);
      expect(foundAfterMs(from, watch, 3_600 * seconds, { perSecond: 0.2, lossRatio: 1 }), `seed ${seed}`).toBeNull();
    }
  });

  it("one that only sends what expects no answer", () => {
    const { from, watch } = start();
    foundAfterMs(from, watch, 60 * seconds, well);
    expect(foundAfterMs(from, watch, 300 * seconds, { perSecond: 0, streamOut: true })).toBeNull();
  });

  it("a line that has become slower by 800 ms", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { from, watch } = start(seed);
      foundAfterMs(from, watch, 60 * seconds, well);
      expect(foundAfterMs(from, watch, 60 * seconds, { ...well, rttMs: 830 }), `seed ${seed}`).toBeNull();
    }
  });

  it("one that nobody uses, nor one whose counters begin anew", () => {
    const { from, watch } = start();
    expect(foundAfterMs(from, watch, 600 * seconds, { perSecond: 0 })).toBeNull();
    foundAfterMs(from, watch, 60 * seconds, well);
    const anew = traffic(randomFrom(2));
    anew.nowMs = from.nowMs;
    expect(foundAfterMs(anew, watch, 60 * seconds, well)).toBeNull();
  });
});
