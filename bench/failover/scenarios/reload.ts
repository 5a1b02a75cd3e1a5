/** Fifty reloads under load, each with another file that keeps all flows. */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { requestJson } from "../../../src/control/client.ts";
import type { StatusReport } from "../../../src/control/report.ts";
import { record } from "../experiment.ts";
import { begunIn, endedIn, momentOf, unanswered, unconnected } from "../figures.ts";
import type { RunContext, Scenario } from "../types.ts";
import { atLeast, atMost } from "./promises.ts";

const reloads = 50;

export const reloading: Scenario = {
  name: "reload",
  title: "Fifty reloads",
  about: `${reloads} times another configuration (weights, a rule added and taken away), under 200 connections a second and 50 transfers`,
  rows: [
    { name: "reloads", title: "reloads that were done", unit: "", target: String(reloads), keeps: atLeast(reloads) },
    { name: "ended", title: "transfers that ended", unit: "", target: "0", keeps: atMost(0) },
    { name: "unconnected", title: "new connections that never connected", unit: "", target: "0", keeps: atMost(0) },
    {
      name: "unanswered",
      title: "new connections that were complete and cut before their answer",
      unit: "",
      target: "0",
      keeps: atMost(0),
    },
  ],
  contenders: ["sluice"],
  quick: [],
  picture: false,
  run,
};

interface File {
  uplinks: { weight?: number }[];
  rules?: object[];
}

async function run(context: RunContext) {
  let done = 0;
  const seconds = 25;
  const recording = await record(context, {
    load: { connectionsPerSecond: 200, transfers: 50 },
    seconds,
    acts: [
      {
        at: 1,
        what: "first",
        run: async ({ contender: { sluice } }) => {
          if (sluice === null) throw new Error("only sluice reloads");
          const original = parse(readFileSync(sluice.configFile, "utf8")) as File;
          for (; done < reloads; done++) {
            sluice.write(changed(original, done));
            await sluice.run(["reload"]);
            const { uplinks } = await requestJson<StatusReport>(sluice.socket, "/status");
            if (uplinks[0]!.weight !== weightOf(done)) throw new Error(`reload ${done + 1} changed nothing`);
            await sleep(20);
          }
        },
      },
      { at: 1, what: "last", run: async () => {} },
    ],
  });
  const from = momentOf(recording, "first");
  const during = begunIn(recording, from, momentOf(recording, "last") + 1);
  const figures = {
    reloads: done,
    ended: endedIn(recording.transfers, from, seconds),
    unconnected: unconnected(during),
    unanswered: unanswered(during),
  };
  return { figures, recording };
}

function weightOf(times: number): number {
  return 1 + ((times + 1) % 5);
}

function changed(file: File, times: number): object {
  const [first, ...others] = file.uplinks;
  const rule = { match: { destination: ["198.18.0.0/15"] }, use: ["isp2"] };
  return {
    ...file,
    uplinks: [{ ...first, weight: weightOf(times) }, ...others],
    ...(times % 2 === 0 ? { rules: [rule] } : {}),
  };
}
