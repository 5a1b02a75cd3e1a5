/**
 * What is known about an uplink's line beyond its link: whether it may get new flows, and why not.
 *
 * Three judges can take it down: the link itself (told by `linked`), the probes (health/probe-watch.ts) and the traffic
 * (health/black-hole.ts). It is down as long as one of them says so, and afterwards for the hold-down, which begins when all
 * are content, so a line that flaps faster than that never comes back. A line that falls again before it has been well
 * for ten times as long as it was held has to wait twice as long the next time, up to 32 times.
 *
 * A line that the traffic has found dead gets no traffic that could tell better, and a probe of its gateway answers all the
 * time: so it is tried again after the hold-down, and falls again when the first connections fail.
 *
 * It starts up, and the first link up is no return: a restart of the daemon takes nothing away that works. A line that is dead
 * from the start is found out by the same failures as later.
 */

import type { ProbeConfig } from "./config-types.ts";
import { BlackHoleWatch, type TrafficCounts } from "./health/black-hole.ts";
import { ProbeWatch } from "./health/probe-watch.ts";
import type { RoundOutcome } from "./probes/round.ts";

export type { RoundOutcome, TrafficCounts };

export interface HealthOptions {
  /** Null: no probes. */
  readonly probe: ProbeConfig | null;
  /** Whether the traffic has a say. */
  readonly passive: boolean;
  readonly holdDownMs: number;
}

export interface HealthReport {
  readonly state: "up" | "down";
  /** Up, but worse than it should be; never while it is down. */
  readonly degraded: boolean;
  /** Why it is down or degraded; empty when well. Stays the same for as long as the state does. */
  readonly reason: string;
  /** Mean over the probes' window; null: no answers. */
  readonly rttMs: number | null;
  readonly lossRatio: number | null;
  readonly jitterMs: number | null;
  /** When it is back, if nothing comes in between; null: up, or not well yet. */
  readonly heldUntilMs: number | null;
}

const longestHold = 32;
/** So many times the hold-down it must be well for earlier falls to be forgotten. */
const forgivenAfter = 10;
/** A line without a hold-down is not tried over and over again while it swallows connections. */
const shortestTrialWaitMs = 1_000;

export class Health {
  readonly #options: HealthOptions;
  readonly #probes: ProbeWatch | null;
  readonly #traffic: BlackHoleWatch | null;
  /** Empty: the link is up, or nobody has said yet. */
  #linkReason = "";
  #isUp = true;
  /** Whether there is something to return to. */
  #wasUp = false;
  #reason = "";
  #heldUntilMs: number | null = null;
  /** Whether the traffic took it down, so that the next time up is a trial. */
  #isTrialNext = false;
  /** How long the last fall holds it, and when it came back from the one before. */
  #holdMs = 0;
  #returnedMs: number | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#probes = options.probe === null ? null : new ProbeWatch(options.probe);
    this.#traffic = options.passive ? new BlackHoleWatch() : null;
  }

  /** A round of probes is over. */
  probed(round: RoundOutcome, nowMs: number): void {
    this.#advance(nowMs);
    this.#probes?.add(round, this.#linkReason === "");
    this.#advance(nowMs);
    this.#wasUp ||= round.answered;
  }

  /** Called every 100 ms or so with the totals of this uplink. */
  observed(counts: TrafficCounts, nowMs: number): void {
    this.#advance(nowMs);
    if (this.#traffic === null || !this.#isUp) return;
    this.#wasUp ||= counts.answered > 0;
    const reason = this.#traffic.observe(counts, nowMs);
    if (reason === "") return;
    this.#fall(reason, nowMs, true);
    this.#heldUntilMs = nowMs + this.#holdMs;
  }

  /** The link itself (carrier, address, next hop) is up or down, for its own reason. */
  linked(isUp: boolean, reason: string, nowMs: number): void {
    this.#advance(nowMs);
    this.#linkReason = isUp ? "" : reason || "link down";
    this.#advance(nowMs);
    this.#wasUp ||= isUp;
  }

  report(nowMs: number): HealthReport {
    this.#advance(nowMs);
    const figures = this.#probes?.figures;
    const degradation = this.#probes?.degradation ?? "";
    return {
      state: this.#isUp ? "up" : "down",
      degraded: this.#isUp && degradation !== "",
      reason: this.#isUp ? degradation : this.#reason,
      rttMs: figures?.latencyMs ?? null,
      lossRatio: figures?.lossRatio ?? null,
      jitterMs: figures?.jitterMs ?? null,
      heldUntilMs: this.#heldUntilMs,
    };
  }

  /** Brings the state up to date with what the link and the probes say and with the time. */
  #advance(nowMs: number): void {
    const fault = this.#linkReason || (this.#probes?.fault ?? "");
    if (fault !== "") {
      if (this.#isUp) this.#fall(fault, nowMs, false);
      else this.#reason = fault;
      this.#heldUntilMs = null;
      return;
    }
    if (this.#isUp) return;
    if (this.#heldUntilMs === null) {
      this.#heldUntilMs = this.#wasUp ? nowMs + this.#holdMs : nowMs;
      this.#reason = `held down after: ${this.#reason}`;
    }
    if (nowMs >= this.#heldUntilMs) this.#return(this.#heldUntilMs);
  }

  #fall(reason: string, nowMs: number, byTraffic: boolean): void {
    const { holdDownMs } = this.#options;
    const shortestMs = byTraffic ? Math.max(holdDownMs, shortestTrialWaitMs) : holdDownMs;
    const isSoon = this.#returnedMs !== null && nowMs - this.#returnedMs < forgivenAfter * this.#holdMs;
    const doubledMs = isSoon ? Math.min(2 * this.#holdMs, longestHold * holdDownMs) : 0;
    this.#holdMs = Math.max(shortestMs, doubledMs);
    this.#isUp = false;
    this.#isTrialNext = byTraffic;
    this.#reason = reason;
  }

  #return(nowMs: number): void {
    if (this.#wasUp) this.#returnedMs = nowMs;
    this.#wasUp = true;
    this.#isUp = true;
    this.#reason = "";
    this.#heldUntilMs = null;
    this.#traffic?.restart(this.#isTrialNext);
    this.#isTrialNext = false;
  }
}
