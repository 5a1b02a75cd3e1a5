/** A line gets worse, first less than the thresholds allow, then more: recognised, and not before. */

import { type Impairment, impair } from "../../../test/support/impairment.ts";
import { record } from "../experiment.ts";
import { momentOf, reasonIn, stateAfter, useAfter } from "../figures.ts";
import type { Row, RunContext, Scenario } from "../types.ts";
import { atMost } from "./promises.ts";

const victim = "isp1";

const rows: readonly Row[] = [
  { name: "early", title: "down while the line was within the thresholds", unit: "", target: "0", keeps: atMost(0) },
  {
    name: "down",
    title: "the state shows down after",
    unit: "s",
    target: "at all",
    keeps: (figure) => figure !== null,
  },
  { name: "reason", title: "… because of", unit: "", target: "" },
  {
    name: "up",
    title: "the state shows up again after",
    unit: "s",
    target: "at all",
    keeps: (figure) => figure !== null,
  },
  { name: "used", title: "new connections use it again after", unit: "s", target: "" },
];

export const lossy: Scenario = quality(
  "lossy",
  "A line loses 30 % of the round trips",
  "thresholds: loss 0.2, latency 500 ms; 5 % for 6 s, which must change nothing, then 30 % for 12 s",
  { lossRatio: 0.05 },
  { lossRatio: 0.3 },
);

export const slow: Scenario = quality(
  "slow",
  "A line takes 800 ms longer",
  "thresholds: loss 0.2, latency 500 ms; 200 ms more for 6 s, which must change nothing, then 800 ms for 12 s",
  { delayMs: 200 },
  { delayMs: 800 },
);

function quality(name: string, title: string, about: string, bearable: Impairment, bad: Impairment): Scenario {
  return {
    name,
    title,
    about,
    rows,
    contenders: ["sluice", "ping-and-mark"],
    quick: [],
    picture: false,
    run: (context) => run(context, bearable, bad),
  };
}

async function run(context: RunContext, bearable: Impairment, bad: Impairment) {
  const seconds = 28;
  const recording = await record(context, {
    // Answers that come late must count as late, not as missing.
    wishes: { uplink: { probe: { timeout: "2s", down: 10, loss: 0.2, latency: "500ms", window: 30 } } },
    load: { connectionsPerSecond: 20, transfers: 4 },
    seconds,
    acts: [
      { at: 1, what: "isp1 is a bit worse", run: ({ lab }) => impair(lab, victim, bearable) },
      { at: 7, what: "isp1 is bad", run: ({ lab }) => impair(lab, victim, bad) },
      { at: 19, what: "isp1 is well", run: ({ lab }) => impair(lab, victim, {}) },
    ],
  });
  const worse = momentOf(recording, "isp1 is a bit worse");
  const badFrom = momentOf(recording, "isp1 is bad");
  const well = momentOf(recording, "isp1 is well");
  const isDown = (state: string) => state !== "up";
  const down = stateAfter(recording, victim, isDown, badFrom, well);
  return {
    figures: {
      early: stateAfter(recording, victim, isDown, worse, badFrom) === null ? 0 : 1,
      down,
      reason: reasonIn(recording, victim, badFrom, well),
      // What never went down cannot come up.
      up: down === null ? null : stateAfter(recording, victim, (state) => state === "up", well, seconds),
      used: down === null ? null : useAfter(recording, victim, well, seconds),
    },
    recording,
  };
}
