import { describe, expect, it } from "vitest";
import type { ProbeConfig } from "../../../../src/control/config-types.ts";
import { Health, type HealthOptions, type ProbeRound } from "../../../../src/control/health.ts";

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
const answer: ProbeRound = { answered: true, rttMs: 10, reason: "" };
const failure: ProbeRound = { answered: false, rttMs: null, reason: "no answer from 192.0.2.10: timeout" };

/** A line whose clock goes on by a round's interval with each round. */
class Line {
  readonly health: Health;
  nowMs = 1_000;

  constructor(options: Partial<HealthOptions> = {}) {
    this.health = new Health({ probe, passive: true, holdDownMs: 2_000, ...options });
  }

  rounds(...rounds: ProbeRound[]): void {
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

  get report() {
    return this.health.report(this.nowMs);
  }
}

function times(count: number, round: ProbeRound): ProbeRound[] {
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
