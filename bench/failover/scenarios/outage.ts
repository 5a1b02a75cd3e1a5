/** A provider goes silent under full load: all of it, or only beyond its gateway. */

import { type Impairment, impair } from "../../../test/support/impairment.ts";
import { gatewayAddress } from "../../../test/support/lab.ts";
import { record } from "../experiment.ts";
import {
  alarmsIn,
  allEndedAfter,
  begunIn,
  connectMsOf99Percent,
  endedIn,
  momentOf,
  oneRetransmissionMs,
  percentConnectedWithin,
  rateChangePercent,
  reasonIn,
  stateAfter,
  transfersOn,
  troubleSeconds,
  unanswered,
  unconnected,
  useAfter,
} from "../figures.ts";
import type { Figure, Row, RunContext, Scenario } from "../types.ts";
import { atLeast, atMost, everyone, noticedInTime } from "./promises.ts";

const victim = "isp1";
const survivor = "isp2";

const rows: readonly Row[] = [
  { name: "unconnected", title: "new connections that never connected", unit: "", target: "0", keeps: atMost(0) },
  { name: "unanswered", title: "new connections that were complete and cut before their answer", unit: "", target: "" },
  { name: "quick", title: "new connections connected within 1.3 s", unit: "%", target: "≥ 99 %", keeps: atLeast(99) },
  { name: "slowest", title: "99 % of them connected within", unit: "ms", target: "" },
  { name: "trouble", title: "new connections fail or need more than 1.3 s for", unit: "s", target: "" },
  { name: "on victim", title: "transfers on the dead line", unit: "", target: "" },
  { name: "reset", title: "the last of them is told after", unit: "s", ...noticedInTime },
  { name: "hanging", title: "of them, not told while it is dead", unit: "", target: "0", keeps: atMost(0) },
  { name: "lost", title: "transfers on the other line that ended", unit: "", target: "0", keeps: atMost(0) },
  { name: "rate", title: "their rate, against before", unit: "%", target: "≥ -10 %", keeps: atLeast(-10) },
  { name: "down", title: "the state shows down after", unit: "s", ...noticedInTime },
  { name: "reason", title: "… because of", unit: "", target: "" },
  { name: "alarms", title: "false alarms: of the other line, or before", unit: "", target: "0", keeps: atMost(0) },
  { name: "up", title: "the state shows up again after", unit: "s", target: "" },
  { name: "used", title: "new connections use it again after", unit: "s", target: "" },
];

export const silent: Scenario = outage({
  name: "silent",
  title: "A provider drops everything",
  about: "isp1 drops every IP packet both ways, without a word, for 15 s; carrier and ARP stay",
  impairment: { drop: "all" },
  contenders: everyone,
  quick: ["sluice", "kernel"],
});

export const dead: Scenario = outage({
  name: "dead",
  title: "A provider's gateway is dead",
  about: "as above, and nobody answers ARP either: what the kernel can notice by itself",
  impairment: { drop: "dead" },
  contenders: ["sluice", "kernel"],
  quick: [],
});

export const beyond: Scenario = outage({
  name: "beyond",
  title: "A provider's gateway answers, and nothing beyond it",
  about: "isp1's gateway answers pings as ever; what goes through it vanishes",
  impairment: { drop: "beyond" },
  // To the kernel it is the same as silence.
  contenders: ["sluice", "sluice-passive", "ping-and-mark"],
  quick: [],
});

interface Outage extends Pick<Scenario, "name" | "title" | "about" | "contenders" | "quick"> {
  readonly impairment: Impairment;
}

function outage({ impairment, ...scenario }: Outage): Scenario {
  return { ...scenario, rows, picture: true, run: (context) => run(context, impairment) };
}

async function run(context: RunContext, impairment: Impairment) {
  const { pace } = context;
  const seconds = 27 * pace;
  const recording = await record(context, {
    load: { connectionsPerSecond: 200, transfers: 50 },
    seconds,
    acts: [
      {
        at: 5 * pace,
        what: "isp1 goes silent",
        run: async ({ lab }) => {
          await impair(lab, victim, impairment);
          if (impairment.drop === "beyond")
            await lab.exec("router", ["ping", "-c", "1", "-W", "1", "-I", "wan0", gatewayAddress[victim]]);
        },
      },
      { at: 20 * pace, what: "isp1 is back", run: ({ lab }) => impair(lab, victim, {}) },
      { at: 24 * pace, what: "transfers reconnect", run: async ({ reconnect }) => reconnect() },
    ],
  });
  const death = momentOf(recording, "isp1 goes silent");
  const life = momentOf(recording, "isp1 is back");
  const during = begunIn(recording, death, life);
  const doomed = transfersOn(recording, victim, death);
  const others = transfersOn(recording, survivor, death);
  const down = stateAfter(recording, victim, (state) => state !== "up", death, life);
  const figures: Record<string, Figure> = {
    unconnected: unconnected(during),
    unanswered: unanswered(during),
    quick: percentConnectedWithin(during, oneRetransmissionMs),
    slowest: connectMsOf99Percent(during),
    trouble: troubleSeconds(recording, death, life),
    "on victim": doomed.length,
    reset: allEndedAfter(doomed, death, life),
    hanging: doomed.length - endedIn(doomed, death, life),
    lost: endedIn(others, death, seconds),
    rate: rateChangePercent(recording, others, death, death, life),
    down,
    reason: reasonIn(recording, victim, death, life),
    alarms:
      recording.states.length === 0
        ? null
        : alarmsIn(recording, victim, 0, death) + alarmsIn(recording, survivor, 0, seconds),
    // What never went down cannot come up.
    up: down === null ? null : stateAfter(recording, victim, (state) => state === "up", life, seconds),
    used: useAfter(recording, victim, life, seconds),
  };
  return { figures, recording };
}
