/** Policies: lines of unequal rate filled, and each destination by the line that is nearer to it. */

import { impair } from "../../../test/support/impairment.ts";
import type { Isp, Lab } from "../../../test/support/lab.ts";
import { record } from "../experiment.ts";
import { percentUsed } from "../figures.ts";
import type { Connection, Figure, RunContext, Scenario } from "../types.ts";
import { atLeast } from "./promises.ts";

const rateMbit = { isp1: 100, isp2: 20 } as const;

export const leastBusy: Scenario = {
  name: "least-busy",
  title: "Lines of 100 and 20 Mbit/s, 40 greedy downloads",
  about:
    "40 downloads at any time, of random lengths (mean 2 MB), over lines shaped to 100 and 20 Mbit/s; the first quarter of the run does not count",
  rows: [
    { name: "isp1", title: "used of 100 Mbit/s", unit: "%", target: "≥ 90 %", keeps: atLeast(90) },
    { name: "isp2", title: "used of 20 Mbit/s", unit: "%", target: "≥ 90 %", keeps: atLeast(90) },
    { name: "ended", title: "downloads that ended a minute", unit: "", target: "" },
  ],
  contenders: ["sluice", "kernel", "kernel-equal"],
  quick: ["sluice", "kernel-equal"],
  picture: false,
  run: runLeastBusy,
};

async function runLeastBusy(context: RunContext) {
  const seconds = 24 * context.pace;
  const from = seconds / 4;
  for (const isp of context.lab.isps) await context.lab.rate(isp, `${rateMbit[isp as "isp1" | "isp2"]}mbit`);
  const recording = await record(context, {
    wishes: { policy: "least-busy", rateMbit },
    load: { connectionsPerSecond: 0, transfers: 40, meanBytes: 2_000_000, bytesPerSecond: "greedy" },
    seconds,
    acts: [],
  });
  const ended = recording.transfers.filter(({ endedAt }) => endedAt !== null && endedAt > from && endedAt <= seconds);
  const figures: Record<string, Figure> = {
    isp1: percentUsed(recording, "isp1", rateMbit.isp1, from, seconds),
    isp2: percentUsed(recording, "isp2", rateMbit.isp2, from, seconds),
    ended: (ended.length * 60) / (seconds - from),
  };
  return { figures, recording };
}

/** Prefixes that are kept for benchmarks (RFC 2544), so that each destination has one of its own. */
const destinations = [
  { address: "198.18.1.10", near: "isp1" },
  { address: "198.18.2.10", near: "isp2" },
] as const;
const detourMs = 60;
const settledAfter = 20;

export const lowestLatency: Scenario = {
  name: "lowest-latency",
  title: "Each destination is nearer by another line",
  about: `two destinations, each ${detourMs} ms farther by one of the lines; 10 connections a second to each`,
  rows: [
    {
      name: "first",
      title: `of the first ${settledAfter} connections to each, by the nearer line`,
      unit: "%",
      target: "",
    },
    { name: "after", title: "of those after", unit: "%", target: "≥ 95 %", keeps: atLeast(95) },
    { name: "worse", title: "… to the destination where it is less", unit: "%", target: "" },
  ],
  contenders: ["sluice", "kernel"],
  quick: ["sluice"],
  picture: false,
  run: runLowestLatency,
};

async function runLowestLatency(context: RunContext) {
  await addDestinations(context.lab);
  const recording = await record(context, {
    wishes: { policy: "lowest-latency" },
    load: { connectionsPerSecond: 20, addresses: destinations.map(({ address }) => address), transfers: 0 },
    seconds: 24 * context.pace,
    acts: [],
  });
  const byDestination = destinations.map(({ address, near }) => {
    const connections = recording.connections.filter((connection) => connection.address === address);
    connections.sort((a, b) => a.startedAt - b.startedAt);
    const [first, after] = [connections.slice(0, settledAfter), connections.slice(settledAfter)];
    return { first: percentBy(first, near), after: percentBy(after, near) };
  });
  const mean = (key: "first" | "after") =>
    byDestination.reduce((sum, figures) => sum + figures[key], 0) / byDestination.length;
  const worse = Math.min(...byDestination.map(({ after }) => after));
  return { figures: { first: mean("first"), after: mean("after"), worse }, recording };
}

function percentBy(connections: readonly Connection[], isp: Isp): number {
  return (100 * connections.filter(({ uplink }) => uplink === isp).length) / connections.length;
}

async function addDestinations(lab: Lab): Promise<void> {
  for (const { address } of destinations)
    await lab.exec("server", ["ip", "address", "add", `${address}/32`, "dev", "lo"]);
  for (const [index, isp] of lab.isps.entries()) {
    await lab.exec(isp, ["ip", "route", "add", "198.18.0.0/15", "via", `192.0.2.${66 + 4 * index}`]);
    const farther = destinations.filter(({ near }) => near !== isp);
    await impair(lab, isp, { delayTo: farther.map(({ address }) => ({ prefix: `${address}/32`, delayMs: detourMs })) });
  }
}
