import { describe, expect, it } from "vitest";
import type { ProbeConfig } from "../../../../src/control/config-types.ts";
import { Health, type HealthOptions, type RoundOutcome } from "../../../../src/control/health.ts";

const none = { lossRatio: null, latencyMs: null, jitterMs: null };
const probe: ProbeConfig = {
  type: "icmp",
  targets: ["192.0.2.10"],
  quorum: 1,
  intervalMs: 200,
  timeoutMs: 1_000,
  down: 3,
  up: 3,
  window: 30,
  query: ".",
  ...none,
  degraded: none,
};
const answer: RoundOutcome = { answered: true, rttMs: 10, reason: "" };
const failure: RoundOutcome = { answered: false, rttMs: null, reason: "no answer from 192.0.2.10: timeout" };

/** A line whose clock goes on by a round's interval with each round. */
class Line {
  readonly health: Health;
  nowMs = 1_000;

  constructor(options: Partial<HealthOptions> = {}) {
    this.health = new Health({ probe, passive: true, holdDownMs: 2_000, ...options });
  }

  rounds(...rounds: RoundOutcome[]): void {
    for (const round of rounds) {
      this.nowMs += 200;
      this.health.probed(round, this.nowMs);
    }
  }

  link(isUp: boolean): void {
    this.health.linked(isUp, isUp ? "" : "carrier", this.nowMs);
  }

  wait(ms: number): void {
    this.nowMs += ms;
  }

  /** What the traffic of a black hole looks like, for so long as it takes. */
  swallow(most = 100): void {
    for (let lost = 0; lost <= most && this.report.state === "up"; lost += most / 10) {
      this.nowMs += 200;
      const moved = { repeated: lost, rescued: lost, answeredElsewhere: lost };
      this.health.observed({ asked: lost, answered: 0, ...moved, rxPackets: 0, txPackets: lost }, this.nowMs);
    }
  }

  /** Tells at which times within the next `ms` it is up, to the tick. */
  upMs(ms: number, tickMs = 100): number {
    let upMs = 0;
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += tickMs;
      if (this.report.state === "up") upMs += tickMs;
    }
    return upMs;
  }

  get report() {
    return this.health.report(this.nowMs);
  }
}

function times(count: number, round: RoundOutcome): RoundOutcome[] {
  return Array.from({ length: count }, () => round);
}

describe("a line that is probed", () => {
  it("is up before the first round is over", () => {
    expect(new Line().report).toEqual({
      state: "up",
      degraded: false,
      reason: "",
      rttMs: null,
      lossRatio: null,
      jitterMs: null,
      heldUntilMs: null,
    });
  });

  it("is down after so many failures in a row, for the reason of the last, and not before", () => {
    const line = new Line();
    line.link(true);
    line.rounds(answer, failure, failure, answer, failure, failure);
    expect(line.report.state).toBe("up");
    line.rounds(failure);
    expect(line.report).toMatchObject({ state: "down", reason: failure.reason, heldUntilMs: null });
  });

  it("is back after so many answers in a row and the hold-down, and not before", () => {
    const line = new Line();
    line.link(true);
    line.rounds(...times(5, failure), answer, answer, failure, answer, answer);
    expect(line.report).toMatchObject({ state: "down", heldUntilMs: null });
    line.rounds(answer);
    expect(line.report).toMatchObject({ state: "down", heldUntilMs: line.nowMs + 2_000 });
    expect(line.report.reason).toBe(`held down after: ${failure.reason}`);
    line.wait(1_999);
    expect(line.report.state).toBe("down");
    line.wait(1);
    expect(line.report).toMatchObject({ state: "up", reason: "", heldUntilMs: null });
  });
});

function rtts(...times: number[]): RoundOutcome[] {
  return times.map((rttMs) => ({ answered: true, rttMs, reason: "" }));
}

describe("a line with thresholds", () => {
  const lossy = { ...probe, lossRatio: 0.2 };
  const slow = { ...probe, latencyMs: 500 };
  const shaky = { ...probe, jitterMs: 20 };
  /** One of four is lost: never three in a row. */
  const quarterLost = Array.from({ length: 10 }, () => [answer, answer, answer, failure]).flat();

  it("is down when so much is lost that the full window cannot be better, and not a round before", () => {
    const line = new Line({ probe: lossy });
    // The seventh loss, of 30 rounds, is the 28th round.
    line.rounds(...quarterLost.slice(0, 27));
    expect(line.report.state).toBe("up");
    line.rounds(failure);
    expect(line.report).toMatchObject({ state: "down", reason: "loss 23.3 % above 20 %", lossRatio: 0.25 });
  });

  it("is not down for a bad start, nor for what an ordinary line loses", () => {
    const line = new Line({ probe: lossy });
    line.rounds(failure, failure, answer, failure, failure);
    expect(line.report).toMatchObject({ state: "up", lossRatio: 0.8 });
    const tenthLost = Array.from({ length: 20 }, () => [...times(9, answer), failure]).flat();
    line.rounds(...times(30, answer), ...tenthLost);
    expect(line.report.state).toBe("up");
  });

  it("is back when it is clearly below the threshold, not when it is just below", () => {
    const line = new Line({ probe: lossy, holdDownMs: 0 });
    line.link(true);
    line.rounds(...quarterLost.slice(0, 28));
    expect(line.report.state).toBe("down");
    // Two answers are still missing in the window, then the oldest losses leave it: 6 of 30 are 20 %, 5 are 17 %, 4 are 13 %.
    line.rounds(...times(13, answer));
    expect(line.report.state).toBe("down");
    line.rounds(answer);
    expect(line.report.state).toBe("up");
  });

  it("is down when its answers take too long, and back when they do not", () => {
    const line = new Line({ probe: slow, holdDownMs: 0 });
    line.link(true);
    line.rounds(...rtts(...Array.from({ length: 30 }, () => 20)));
    line.rounds(...rtts(...Array.from({ length: 18 }, () => 800)));
    expect(line.report.state).toBe("up");
    line.rounds(...rtts(800));
    expect(line.report).toMatchObject({ state: "down", reason: "latency 514 ms above 500 ms" });
    line.rounds(...rtts(...Array.from({ length: 30 }, () => 20)));
    expect(line.report).toMatchObject({ state: "up", rttMs: 20 });
  });

  it("is down when its answers' times differ too much", () => {
    const line = new Line({ probe: shaky });
    line.rounds(...rtts(...Array.from({ length: 15 }, () => [10, 50]).flat()));
    expect(line.report).toMatchObject({ state: "down", jitterMs: 40, reason: "jitter 21 ms above 20 ms" });
  });

  it("does not have an outage held against it when it is back", () => {
    const line = new Line({ probe: { ...probe, lossRatio: 0.05 }, holdDownMs: 0 });
    line.link(true);
    line.rounds(...times(30, answer), ...times(20, failure));
    expect(line.report).toMatchObject({ state: "down", reason: failure.reason });
    expect(line.report.lossRatio).toBeCloseTo(20 / 30);
    line.rounds(...times(3, answer));
    expect(line.report.state).toBe("up");
    line.rounds(...times(30, answer));
    expect(line.report).toMatchObject({ state: "up", lossRatio: 0 });
  });

  it("has losses between answers held against it, though they came in an outage", () => {
    const line = new Line({ probe: lossy, holdDownMs: 0 });
    line.link(true);
    line.rounds(...times(30, answer), ...times(3, failure));
    line.rounds(...Array.from({ length: 10 }, () => [answer, failure]).flat());
    expect(line.report).toMatchObject({ state: "down", reason: failure.reason });
    line.rounds(...times(3, answer));
    expect(line.report).toMatchObject({ state: "down", reason: "loss 23.3 % above 20 %" });
  });

  it("is degraded, and up, beyond thresholds of their own", () => {
    const line = new Line({ probe: { ...lossy, degraded: { ...none, lossRatio: 0.05 } } });
    line.rounds(failure, answer, failure, answer, failure);
    expect(line.report).toMatchObject({ state: "up", degraded: true, reason: "loss 6.7 % above 5 %" });
    line.rounds(...times(3, failure));
    expect(line.report).toMatchObject({ state: "down", degraded: false });
  });
});

describe("a line whose link goes down", () => {
  it("is down for the link's reason, and back after the hold-down", () => {
    const line = new Line({ probe: null });
    line.link(true);
    line.link(false);
    expect(line.report).toMatchObject({ state: "down", reason: "carrier" });
    line.link(true);
    expect(line.report).toMatchObject({ state: "down", reason: "held down after: carrier" });
    expect(line.upMs(3_000)).toBe(1_100);
  });

  it("is not held when it comes up for the first time", () => {
    const line = new Line();
    line.link(false);
    expect(line.report.state).toBe("down");
    line.wait(5_000);
    line.link(true);
    expect(line.report.state).toBe("up");
  });

  it("is not blamed for what the probes lost meanwhile", () => {
    const line = new Line({ probe: { ...probe, lossRatio: 0.05 }, holdDownMs: 0 });
    line.link(true);
    line.rounds(...times(30, answer));
    line.link(false);
    line.rounds(...times(2, failure));
    line.link(true);
    expect(line.report.state).toBe("up");
    line.rounds(...times(2, failure));
    expect(line.report.state).toBe("down");
  });
});

describe("a line that the traffic finds dead", () => {
  it("is not brought back by probes that answer, but tried again after the hold-down", () => {
    const line = new Line();
    line.link(true);
    line.swallow();
    const fallenMs = line.nowMs;
    expect(line.report.state).toBe("down");
    expect(line.report.reason).toMatch(/^\d+ connections unanswered here were answered by other uplinks$/);
    line.rounds(...times(9, answer));
    expect(line.report).toMatchObject({ state: "down", heldUntilMs: fallenMs + 2_000 });
    line.rounds(answer);
    expect(line.report.state).toBe("up");
  });

  it("waits twice as long each time that its trial fails, 32 times as long at the most", () => {
    const line = new Line({ probe: null });
    line.link(true);
    const heldMs = Array.from({ length: 8 }, () => {
      line.swallow();
      const { heldUntilMs } = line.report;
      const ms = heldUntilMs! - line.nowMs;
      line.wait(ms);
      return ms / 1_000;
    });
    expect(heldMs).toEqual([2, 4, 8, 16, 32, 64, 64, 64]);
  });

  it("has to fail only a few times on its trial", () => {
    const line = new Line({ probe: null });
    line.link(true);
    line.swallow(4);
    expect(line.report.state).toBe("up");
    line.swallow();
    line.wait(2_000);
    expect(line.report.state).toBe("up");
    line.swallow(4);
    expect(line.report.state).toBe("down");
  });

  it("is not tried all the time, though no hold-down is wanted", () => {
    const line = new Line({ probe: null, holdDownMs: 0 });
    line.swallow();
    expect(line.report.heldUntilMs).toBe(line.nowMs + 1_000);
  });

  it("is left to the probes where they fail too, and still held afterwards", () => {
    const line = new Line();
    line.link(true);
    line.swallow();
    line.rounds(...times(3, failure));
    expect(line.report).toMatchObject({ state: "down", reason: failure.reason, heldUntilMs: null });
    line.wait(60_000);
    line.rounds(...times(3, answer));
    expect(line.report).toMatchObject({ state: "down", heldUntilMs: line.nowMs + 2_000 });
  });

  it("is up when the traffic has no say", () => {
    const line = new Line({ passive: false });
    line.swallow();
    expect(line.report.state).toBe("up");
  });
});

describe("a line that flaps", () => {
  it("100 times in a minute is out nearly all of the time", () => {
    const line = new Line({ probe: null });
    line.link(true);
    let upMs = 0;
    for (let flap = 0; flap < 100; flap++) {
      line.link(false);
      upMs += line.upMs(300);
      line.link(true);
      upMs += line.upMs(300);
    }
    expect(upMs).toBeLessThan(1_000);
    expect(line.upMs(10_000)).toBeGreaterThan(7_000);
  });

  it("more slowly than the hold-down is out for longer and longer", () => {
    const line = new Line({ probe: null });
    line.link(true);
    let upMs = 0;
    for (let flap = 0; flap < 100; flap++) {
      line.link(false);
      upMs += line.upMs(1_000);
      line.link(true);
      upMs += line.upMs(5_000);
    }
    expect(upMs).toBeLessThan(20_000);
  });

  it("is forgiven when it has been well for ten times as long as it was held", () => {
    const heldMs = (wellMs: number) => {
      const line = new Line({ probe: null });
      line.link(true);
      for (let fall = 0; fall < 2; fall++) {
        line.link(false);
        line.link(true);
        line.wait(fall === 0 ? 2_000 + wellMs : 0);
        line.report;
      }
      return line.report.heldUntilMs! - line.nowMs;
    };
    expect(heldMs(19_000)).toBe(4_000);
    expect(heldMs(20_000)).toBe(2_000);
  });
});
