/** Gives each line the weight that its data cap and its schedule leave it, once a second, and keeps what was used across restarts. */
import { join } from "node:path";
import { budgetWeight, UsageMeter } from "../control/budget.ts";
import type { Config } from "../control/config-types.ts";
import type { Log } from "../control/log.ts";
import { readUsage, UsageFile } from "../control/usage-file.ts";
import type { Line } from "./line.ts";
import type { UplinkTotals } from "./totals.ts";

export class Budgets {
  readonly #meter: UsageMeter;
  readonly #file: UsageFile;
  #isCapped = false;

  private constructor(meter: UsageMeter, file: UsageFile) {
    this.#meter = meter;
    this.#file = file;
  }

  /** Reads what was used before; a file that can't be read is a warning. */
  static async open({ control, tun }: Config, log: Log): Promise<Budgets> {
    const path = join(control.stateDirectory, `usage-${tun.name}.json`);
    const { usage, warning } = await readUsage(path);
    if (warning !== null) log.warn(warning);
    return new Budgets(new UsageMeter(usage), new UsageFile(path, (text) => log.warn(text)));
  }

  /** `totals` by place. Takes effect when the lines are settled. */
  apply(lines: readonly Line[], totals: readonly UplinkTotals[], now: Date, nowMs: number): void {
    this.#meter.follow(lines.map(({ config }) => config.name));
    this.#isCapped = lines.some(({ config }) => config.cap !== null);
    for (const [place, line] of lines.entries()) {
      const { name, cap } = line.config;
      const { txBytes, rxBytes } = totals[place]!;
      const usedBytes = cap === null ? 0 : this.#meter.count(name, txBytes + rxBytes, cap.firstDay, now);
      line.budget = budgetWeight(line.config, usedBytes, now);
    }
    if (this.#isCapped) this.#file.offer(this.#meter.usage, nowMs);
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.#isCapped) await this.#file.write(this.#meter.usage);
  }
}
