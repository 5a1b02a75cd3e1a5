/** Whether a line is beyond its thresholds, with a memory, so that a value about one of them does not flap. */

import type { Thresholds } from "../config-types.ts";
import type { CertainFigures } from "./probe-ring.ts";

/** What has been exceeded counts as exceeded until it is down to this share of the threshold. */
const recoveredAtRatio = 0.75;

const all = ["lossRatio", "latencyMs", "jitterMs"] as const;

export class ThresholdJudge {
  readonly #thresholds: Thresholds;
  /** What was said when each was exceeded; empty: it is not. Kept as it was, so that the state's reason does not change every round. */
  readonly #said = { lossRatio: "", latencyMs: "", jitterMs: "" };

  constructor(thresholds: Thresholds) {
    this.#thresholds = thresholds;
  }

  /** What is exceeded, in words: "loss 23.3 % above 20 %"; empty when nothing is. */
  judge(figures: CertainFigures): string {
    for (const which of all) {
      const threshold = this.#thresholds[which];
      if (threshold === null) continue;
      const limit = this.#said[which] === "" ? threshold : threshold * recoveredAtRatio;
      if (figures[which] <= limit) this.#said[which] = "";
      else this.#said[which] ||= describe(which, figures[which], threshold);
    }
    return all
      .map((which) => this.#said[which])
      .filter((said) => said !== "")
      .join(", ");
  }
}

function describe(which: keyof Thresholds, value: number, threshold: number): string {
  if (which === "lossRatio") return `loss ${percent(value)} above ${percent(threshold)}`;
  const name = which === "latencyMs" ? "latency" : "jitter";
  return `${name} ${Math.round(value)} ms above ${threshold} ms`;
}

function percent(ratio: number): string {
  return `${Math.round(ratio * 1000) / 10} %`;
}
