/** One scenario: a lab of its own, and every contender once a round, in alternating order. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Lab, openLab } from "../test/support/lab.ts";
import { readMeter, usage } from "./meter.ts";
import type { Contender, Failure, RunContext, Sample, Scenario } from "./types.ts";

export interface RoundsOptions {
  readonly rounds: number;
  readonly warmUpMs: number;
  readonly runMs: number;
  readonly tools: Readonly<Record<string, string>>;
  /** Told of every sample and failure as it comes. */
  readonly onSample: (sample: Sample) => void;
  readonly onFailure: (failure: Failure) => void;
}

/** A run with many flows whose uplinks' smallest share is below this has been unlucky with its hash, and is no run over two uplinks. */
const leastShare = 0.1;
const attempts = 3;

/** Runs a scenario with its contenders. Failures are told, not thrown: the other contenders and rounds go on. */
export async function runRounds(
  scenario: Scenario,
  contenders: readonly Contender[],
  options: RoundsOptions,
): Promise<void> {
  const lab = await openLab({ name: `bench-${scenario.name}` });
  try {
    await scenario.prepare?.(lab);
    for (let round = 0; round < options.rounds; round++) {
      const order = round % 2 === 0 ? contenders : contenders.toReversed();
      for (const contender of order) {
        try {
          options.onSample({
            ...(await runSplit(lab, scenario, contender, options)),
            contender: contender.name,
            round,
          });
        } catch (error) {
          options.onFailure({ contender: contender.name, round, message: (error as Error).message });
        }
      }
    }
  } finally {
    await lab.close();
  }
}

type Measured = Omit<Sample, "contender" | "round">;

/** One run whose traffic took both uplinks, if the scenario has flows enough for that. */
async function runSplit(lab: Lab, scenario: Scenario, contender: Contender, options: RoundsOptions): Promise<Measured> {
  for (let attempt = 1; ; attempt++) {
    const { smallestShare, ...sample } = await runOnce(lab, scenario, contender, options);
    if (!scenario.usesAllUplinks || smallestShare >= leastShare) return sample;
    if (attempt === attempts)
      throw new Error(`in ${attempts} runs one uplink got less than ${leastShare * 100} % of the bytes`);
  }
}

async function runOnce(lab: Lab, scenario: Scenario, contender: Contender, options: RoundsOptions) {
  const { warmUpMs, runMs, tools } = options;
  const context: RunContext = { lab, warmUpMs, runMs, tools, clients: ["client1", "client2"] };
  const running = await contender.start(lab);
  try {
    // Read by the clock: what counts in the processes themselves begins within some 20 ms of it.
    const metered = meterAfter(lab, warmUpMs);
    const outcome = await scenario.run(context);
    const { seconds, cpuSeconds, firstUplinkShare, smallestShare } = usage(await metered, await readMeter(lab));
    return { ...outcome, seconds, cpuSeconds, firstUplinkShare, smallestShare, drops: await running.drops() };
  } finally {
    await running.stop();
    await scenario.settle?.(lab);
  }
}

async function meterAfter(lab: Lab, delayMs: number) {
  await sleep(delayMs);
  return readMeter(lab);
}
