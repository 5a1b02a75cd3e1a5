/** A cable that comes and goes a hundred times a minute leaves nothing behind, and the line is not used meanwhile. */

import { type Act, record } from "../experiment.ts";
import { begunIn, endedIn, momentOf, transfersOn, unconnected } from "../figures.ts";
import type { Figure, Row, RunContext, Scenario } from "../types.ts";
import { atMost } from "./promises.ts";

const flaps = 100;
const flapSeconds = 0.6;

const rows: readonly Row[] = [
  { name: "flaps", title: "flaps", unit: "", target: "" },
  { name: "seconds", title: "in", unit: "s", target: "" },
  { name: "changes", title: "times the state became up meanwhile", unit: "", target: "≤ 1", keeps: atMost(1) },
  { name: "unconnected", title: "new connections that never connected", unit: "", target: "0", keeps: atMost(0) },
  { name: "lost", title: "transfers on the other line that ended", unit: "", target: "0", keeps: atMost(0) },
  ...["flows", "open files", "memory, MiB", "ip rules and routes", "nft lines"].map(
    (name): Row => ({ name, title: `${name}: before → after, load on`, unit: "", target: "no growth" }),
  ),
];

export const flapping: Scenario = {
  name: "flaps",
  title: "A cable flaps",
  about: `isp1's cable goes and comes ${flaps} times, at the same intervals, in ${flaps * flapSeconds} s; then it stays`,
  rows,
  contenders: ["sluice", "kernel"],
  quick: [],
  picture: false,
  run,
};

async function run(context: RunContext) {
  let before: Readonly<Record<string, number>> = {};
  let after: Readonly<Record<string, number>> = {};
  const firstAt = 4;
  const lastAt = firstAt + flaps * flapSeconds;
  const recording = await record(context, {
    load: { connectionsPerSecond: 50, transfers: 20 },
    seconds: lastAt + 5,
    acts: [
      {
        at: 3,
        what: "before",
        run: async ({ contender }) => {
          before = await contender.holdings();
        },
      },
      ...Array.from({ length: flaps }, (_, index) => flap(index, firstAt + index * flapSeconds)).flat(),
      {
        at: lastAt + 4,
        what: "after",
        run: async ({ contender }) => {
          after = await contender.holdings();
        },
      },
    ],
  });
  const first = momentOf(recording, "off 0");
  const last = momentOf(recording, `on ${flaps - 1}`);
  const ups = recording.states.filter(
    ({ at, uplink, state }) => uplink === "isp1" && state === "up" && at > first && at < last,
  );
  const figures: Record<string, Figure> = {
    flaps,
    seconds: last - first,
    changes: recording.states.length === 0 ? null : ups.length,
    unconnected: unconnected(begunIn(recording, first, last)),
    lost: endedIn(transfersOn(recording, "isp2", first), first, last),
  };
  for (const name of Object.keys(after)) figures[name] = `${before[name]} → ${after[name]}`;
  return { figures, recording };
}

function flap(index: number, at: number): Act[] {
  const cable =
    (state: string): Act["run"] =>
    ({ lab }) =>
      lab.exec("isp1", ["ip", "link", "set", "subscriber", state]);
  return [
    { at, what: `off ${index}`, run: cable("down") },
    { at: at + flapSeconds / 2, what: `on ${index}`, run: cable("up") },
  ];
}
