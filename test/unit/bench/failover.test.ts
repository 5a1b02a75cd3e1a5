/** What the failover benchmark reads off a recording, and what it writes. */

import { describe, expect, it } from "vitest";
import { contenders } from "../../../bench/failover/contenders.ts";
import {
  alarmsIn,
  allEndedAfter,
  begunIn,
  connectMsOf99Percent,
  endedIn,
  percentConnectedWithin,
  percentUsed,
  rateChangePercent,
  reasonIn,
  stateAfter,
  transfersOn,
  troubleSeconds,
  unanswered,
  unconnected,
  useAfter,
} from "../../../bench/failover/figures.ts";
import { drawThroughput } from "../../../bench/failover/picture.ts";
import { renderReport, renderScenario } from "../../../bench/failover/report.ts";
import { type Results, runResults, type ScenarioResults } from "../../../bench/failover/results.ts";
import { scenarios } from "../../../bench/failover/scenarios/index.ts";
import type { Connection, Recording, Transfer } from "../../../bench/failover/types.ts";
import type { Isp } from "../../support/topology.ts";

describe("connections", () => {
  const failed = connection(5.5, null, { error: "timeout" });
  const cut = connection(5.6, 3, { answered: false, error: "ECONNRESET" });
  const late = connection(6, 1_500);
  const recorded = recording({ connections: [connection(4, 2), failed, cut, late, connection(10, 2)] });

  it("count when they began in the time, its end left out", () => {
    expect(begunIn(recorded, 5.5, 6)).toEqual([failed, cut]);
    expect(begunIn(recorded, 4, 10)).toHaveLength(4);
  });

  it("fail before the handshake or behind it", () => {
    expect(unconnected(recorded.connections)).toBe(1);
    expect(unanswered(recorded.connections)).toBe(1);
  });

  it("are quick within a time, of which those that never connect are none", () => {
    expect(percentConnectedWithin(recorded.connections, 1_300)).toBe(60);
    expect(percentConnectedWithin([], 1_300)).toBeNull();
    expect(connectMsOf99Percent(recorded.connections)).toBeNull();
    expect(connectMsOf99Percent([...Array(99).fill(connection(1, 7)), failed])).toBe(7);
  });
});

describe("an outage", () => {
  const everyTenth = (from: number, to: number, make: (at: number) => Connection) =>
    Array.from({ length: Math.round((to - from) * 10) }, (_, index) => make(from + index / 10));

  it("lasts until the end of the last half second in which connections fail or are slow", () => {
    const recorded = recording({
      connections: [
        ...everyTenth(0, 2, (at) => connection(at, 1)),
        ...everyTenth(2, 3.2, (at) => connection(at, null, { error: "timeout" })),
        ...everyTenth(3.2, 6, (at) => connection(at, 1)),
      ],
    });
    expect(troubleSeconds(recorded, 2, 6)).toBe(1.5);
    expect(troubleSeconds(recorded, 0, 2)).toBe(0);
  });

  it("is not prolonged by a single connection in a crowd", () => {
    const crowd = Array.from({ length: 400 }, (_, index) => connection(index / 100, 1));
    const recorded = recording({ connections: [...crowd, connection(3.9, null, { error: "timeout" })] });
    expect(troubleSeconds(recorded, 0, 4)).toBe(0);
  });

  it("is over for an uplink when connections go by it again", () => {
    const recorded = recording({
      connections: everyTenth(0, 5, (at) => connection(at, 1, { uplink: at >= 3.2 ? "isp1" : "isp2" })),
    });
    expect(useAfter(recorded, "isp1", 1, 5)).toBe(2);
    expect(useAfter(recorded, "isp1", 1, 3)).toBeNull();
  });
});

describe("transfers", () => {
  const dead = transfer(0, "isp1", { endedAt: 5.8, error: "ECONNRESET" });
  const hanging = transfer(1, "isp1");
  const other = transfer(2, "isp2");
  const later = transfer(3, "isp1", { beganAt: 9 });
  const received = Array.from({ length: 100 }, (_, index) => {
    const at = (index + 1) / 10;
    return {
      at,
      bytes: new Map(
        at <= 5
          ? [
              [0, 10],
              [1, 10],
              [2, 100],
            ]
          : [[2, 80]],
      ),
    };
  });
  const recorded = recording({ transfers: [dead, hanging, other, later], received });

  it("are on an uplink from their beginning to their end", () => {
    expect(transfersOn(recorded, "isp1", 5)).toEqual([dead, hanging]);
    expect(transfersOn(recorded, "isp1", 6)).toEqual([hanging]);
  });

  it("have all ended when the last has", () => {
    expect(allEndedAfter([dead], 5, 20)).toBeCloseTo(0.8);
    expect(allEndedAfter([dead, hanging], 5, 20)).toBeNull();
    expect(allEndedAfter([], 5, 20)).toBeNull();
    expect(endedIn([dead, hanging], 5, 20)).toBe(1);
    expect(endedIn([dead], 6, 20)).toBe(0);
  });

  it("change their rate against the time before", () => {
    expect(rateChangePercent(recorded, [other], 5, 5, 10)).toBeCloseTo(-20);
    expect(rateChangePercent(recorded, [hanging], 5, 5, 10)).toBe(-100);
    expect(rateChangePercent(recorded, [later], 5, 5, 10)).toBeNull();
  });
});

describe("an uplink's state", () => {
  const recorded = recording({
    states: [
      { at: 0, uplink: "isp1", state: "up", reason: "" },
      { at: 0, uplink: "isp2", state: "up", reason: "" },
      { at: 5.7, uplink: "isp1", state: "down", reason: "no answer" },
      { at: 22, uplink: "isp1", state: "up", reason: "" },
    ],
  });
  const isDown = (state: string) => state !== "up";

  it("changes after a moment, or not within the time", () => {
    expect(stateAfter(recorded, "isp1", isDown, 5, 20)).toBeCloseTo(0.7);
    expect(stateAfter(recorded, "isp1", isDown, 5, 5.5)).toBeNull();
    expect(stateAfter(recorded, "isp2", isDown, 5, 20)).toBeNull();
    expect(stateAfter(recorded, "isp1", isDown, 6, 20)).toBe(0);
  });

  it("is a false alarm when nothing was wrong", () => {
    expect(alarmsIn(recorded, "isp1", 0, 5)).toBe(0);
    expect(alarmsIn(recorded, "isp1", 0, 6)).toBe(1);
    expect(alarmsIn(recorded, "isp2", 0, 30)).toBe(0);
  });

  it("has the reason that was given when it went down", () => {
    expect(reasonIn(recorded, "isp1", 5, 20)).toBe("no answer");
    expect(reasonIn(recorded, "isp2", 5, 20)).toBeNull();
  });
});

it("a line's use is its bytes against its rate", () => {
  const line = Array.from({ length: 20 }, (_, index) => ({ at: (index + 1) / 10, bytes: { isp1: 1_000_000 } }));
  expect(percentUsed(recording({ line }), "isp1", 100, 1, 2)).toBeCloseTo(80);
  expect(percentUsed(recording({ line }), "isp2", 100, 1, 2)).toBe(0);
});

describe("the report", () => {
  const silent = scenarios.find(({ name }) => name === "silent")!;
  const [ours, , kernel] = contenders;
  const recorded = recording({
    transfers: [transfer(0, "isp1"), transfer(1, "isp2")],
    received: [
      {
        at: 0.15,
        bytes: new Map([
          [0, 25_000],
          [1, 50_000],
        ]),
      },
    ],
    events: [{ at: 5, what: "isp1 goes silent" }],
  });
  const kept = { unconnected: 0, quick: 100, reset: 0.5, hanging: 0, lost: 0, rate: 0, down: 0.6, alarms: 0 };
  const runs = [
    runResults(silent, ours!, { figures: { ...kept, reset: 1.4 }, recording: recorded }),
    runResults(silent, kernel!, { figures: { ...kept, reset: null }, recording: recorded }),
    runResults(silent, kernel!, new Error("no lab")),
  ];
  const { name, title, about, rows } = silent;
  const scenario: ScenarioResults = { name, title, about, rows, runs };

  it("asks sluice for its promises, and nobody else", () => {
    expect(runs.map(({ broken }) => broken)).toEqual([["reset"], [], []]);
  });

  it("allows more time without probes", () => {
    const [, passive] = contenders;
    const figures = { ...kept, reset: 2.9, down: 2.9 };
    expect(runResults(silent, passive!, { figures, recording: null }).broken).toEqual([]);
    expect(runResults(silent, ours!, { figures, recording: null }).broken).toEqual(["reset", "down"]);
  });

  it("has a series by line of what transfers received", () => {
    const { lines } = runs[0]!.series!;
    expect(lines.isp1![0]).toEqual([0.1, 1]);
    expect(lines.isp2!.slice(0, 2)).toEqual([
      [0.1, 2],
      [0.3, 0],
    ]);
  });

  it("names what was not kept, and what failed", () => {
    const results: Results = {
      format: 1,
      startedAt: "2026-01-01T00:00:00Z",
      command: "npm run bench:failover",
      machine: {
        processor: "none",
        processors: 2,
        memoryGiB: 1,
        system: "Linux",
        kernel: "6",
        node: "v24",
        congestionControl: "cubic",
        commit: "0",
        busyBefore: 0,
      },
      scenarios: [scenario],
    };
    const report = renderReport(results, { silent: "failover-silent.svg" });
    expect(report).toContain("sluice, probes: the last of them is told after: 1.40, promised ≤ 1 s");
    expect(report).toContain("kernel: the run failed");
    expect(report).toContain("](failover-silent.svg)");
    expect(report).not.toMatch(/undefined|NaN|null/);
    expect(renderScenario(scenario)).toContain("1.40 (!)");
  });

  it("has a picture with a panel for each contender and every event", () => {
    const panels = runs.flatMap(({ series }) => (series === null ? [] : [series]));
    const svg = drawThroughput(title, panels);
    expect(svg).toMatch(/^<svg /);
    expect(svg.match(/isp1 goes silent/g)).toHaveLength(2);
    for (const panel of panels) expect(svg).toContain(panel.title);
  });
});

it("every scenario names contenders that there are, and rows of its own", () => {
  const known = contenders.map(({ name }) => name);
  for (const { name, contenders: names, quick, rows } of scenarios) {
    expect(known, name).toEqual(expect.arrayContaining([...names]));
    expect(names, name).toEqual(expect.arrayContaining([...quick]));
    expect(new Set(rows.map((row) => row.name)).size, name).toBe(rows.length);
  }
});

function connection(startedAt: number, connectMs: number | null, more: Partial<Connection> = {}): Connection {
  const isFailed = connectMs === null;
  return {
    startedAt,
    address: "192.0.2.10",
    connectMs,
    answered: !isFailed,
    uplink: isFailed ? null : "isp1",
    error: null,
    ...more,
  };
}

function transfer(id: number, uplink: Isp, more: Partial<Transfer> = {}): Transfer {
  return { id, uplink, beganAt: -1, endedAt: null, error: null, ...more };
}

function recording(parts: Partial<Recording>): Recording {
  return { seconds: 30, events: [], connections: [], transfers: [], received: [], states: [], line: [], ...parts };
}
