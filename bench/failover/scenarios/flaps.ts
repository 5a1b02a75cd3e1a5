/** A cable that comes and goes a hundred times a minute leaves nothing behind, and the line is not used meanwhile. */

import { type Act, record } from "../experiment.ts";
import { begunIn, endedIn, momentOf, transfersOn, unconnected } from "../figures.ts";
import type { Figure, Row, RunContext, Scenario } from "../types.ts";
import { atMost } from "./promises.ts";

const flaps = 100;
const flapSeconds = 0.6;
/** How long a closed connection is remembered, by every contender: shorter than a wait before a count, or all counts would grow. */
const closedSeconds = 4;
const settledSeconds = 7;

const rows: readonly Row[] = [
  { name: "flaps", title: "flaps", unit: "", target: "" },
  { name: "seconds", title: "in", unit: "s", target: "" },
  { name: "changes", title: "times the state became up meanwhile", unit: "", target: "≤ 1", keeps: atMost(1) },
  { name: "unconnected", title: "new connections that never connected", unit: "", target: "0", keeps: atMost(0) },
  { name: "lost", title: "transfers on the other line that ended", unit: "", target: "0", keeps: atMost(0) },
  held("flows", "flows", (halfway, after) => after <= halfway * 1.2),
  held("open files", "open files", (_, after, before) => after <= before + 2),
  // What leaks a flap has leaked fifty times between the two; and a heap breathes, by up to 60 MiB in 500 flaps.
  held("memory, MiB", "memory, MiB", (halfway, after) => after <= halfway * 1.3),
  held("ip rules and routes", "ip rules and routes", (_, after, before) => after === before),
  held("nft lines", "lines of nft's rules", (_, after, before) => after === before),
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

const arrow = " → ";

/** A row of "BEFORE → HALFWAY → AFTER". */
function held(name: string, title: string, isSound: (halfway: number, after: number, before: number) => boolean): Row {
  return {
    name,
    title: `${title}: before, after ${flaps / 2} flaps, ${settledSeconds} s after the last; load on`,
    unit: "",
    target: "no growth",
    keeps: (figure) => {
      if (typeof figure !== "string") return false;
      const [before, halfway, after] = figure.split(arrow).map(Number) as [number, number, number];
      return isSound(halfway, after, before);
    },
  };
}

async function run(context: RunContext) {
  const holdings: Readonly<Record<string, number>>[] = [];
  const count = (at: number): Act => ({
    at,
    what: `count at ${at}`,
    run: async ({ contender }) => holdings.push(await contender.holdings()),
  });
  const firstAt = settledSeconds + 1;
  const lastAt = firstAt + flaps * flapSeconds;
  const allFlaps = Array.from({ length: flaps }, (_, index) => flap(index, firstAt + index * flapSeconds)).flat();
  const recording = await record(context, {
    wishes: { closedSeconds },
    load: { connectionsPerSecond: 50, transfers: 20 },
    seconds: lastAt + settledSeconds + 1,
    acts: [
      count(settledSeconds),
      ...allFlaps.slice(0, flaps),
      count(firstAt + (flaps * flapSeconds) / 2 - 0.1),
      ...allFlaps.slice(flaps),
      count(lastAt + settledSeconds),
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
  for (const name of Object.keys(holdings[0]!)) figures[name] = holdings.map((held) => held[name]).join(arrow);
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
