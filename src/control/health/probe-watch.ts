/** What the probes say of a line: successive failures and answers, and the thresholds over the window. */

import type { ProbeConfig } from "../config-types.ts";
import type { RoundOutcome } from "../probes/round.ts";
import { type LineFigures, ProbeRing } from "./probe-ring.ts";
import { ThresholdJudge } from "./thresholds.ts";

export class ProbeWatch {
  readonly #config: ProbeConfig;
  readonly #ring: ProbeRing;
  readonly #down: ThresholdJudge;
  readonly #degraded: ThresholdJudge;
  /** Rounds of the last kind in a row. */
  #failures = 0;
  #answers = 0;
  /** Why it does not answer any more, as the round said that made it so. */
  #silence = "";
  /** Whether it is silent without a single answer: what is lost between answers is loss. */
  #isOutage = false;
  #beyond = "";
  #worn = "";

  constructor(config: ProbeConfig) {
    this.#config = config;
    this.#ring = new ProbeRing(config.window);
    this.#down = new ThresholdJudge(config);
    this.#degraded = new ThresholdJudge(config.degraded);
  }

  /** Why the line is down; empty when the probes find nothing wrong. */
  get fault(): string {
    return this.#silence || this.#beyond;
  }

  /** Why it is degraded; empty when it is not. */
  get degradation(): string {
    return this.#worn;
  }

  get figures(): LineFigures {
    return this.#ring.measured();
  }

  add(round: RoundOutcome, isLinked: boolean): void {
    if (round.answered) this.#succeed();
    else this.#fail(round.reason);
    this.#ring.add(round.answered ? (round.rttMs ?? 0) : null, !isLinked || this.#isOutage);
    const figures = this.#ring.certain();
    this.#beyond = this.#down.judge(figures);
    this.#worn = this.#degraded.judge(figures);
  }

  #succeed(): void {
    this.#isOutage = false;
    this.#failures = 0;
    this.#answers++;
    if (this.#answers >= this.#config.up) this.#silence = "";
  }

  #fail(reason: string): void {
    this.#answers = 0;
    this.#failures++;
    if (this.#failures < this.#config.down || this.#silence !== "") return;
    // Those that led here are the outage's, and the round that is being added will be.
    this.#ring.markOutage(this.#failures - 1);
    this.#silence = reason || "no answer";
    this.#isOutage = true;
  }
}
