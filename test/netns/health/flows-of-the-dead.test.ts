/**
 * What becomes of open connections when their uplink dies, and when a better one comes back: reset, kept, or left to end.
 * The topology is the lab's (scripts/lab); isp1 comes first, isp2 is the backup.
 */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { impair } from "../../support/impairment.ts";
import { type Isp, type Lab, openLab } from "../../support/lab.ts";
import type { Running } from "../../support/process.ts";
import type { TransferRecord } from "../../support/programs/transfers.ts";
import { startProgram } from "../../support/programs.ts";
import type { Sluice } from "../../support/sluice.ts";
import type { Sniffer } from "../../support/sniffer.ts";
import { server, uplinkAddress } from "../../support/topology.ts";
import { smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { connectTimes, kinds, serve } from "../lifecycle/load.ts";
import { until } from "../lifecycle/until.ts";

/** So many that both uplinks have some: all take one of them once in eight million times. */
const count = 24;
const probe = { targets: [server], interval: "200ms", timeout: "400ms", down: 3, up: 2 };

let lab: Lab;
let sniffer: Sniffer;

beforeEach(async () => {
  lab = await openLab({ name: "cut" });
  await startProgram(lab, "server", "load-server", "7100");
  await serve(lab);
  sniffer = await lab.sniff();
});
afterEach(() => lab.close());

async function start(isp1: object, isp2: object, more: object = {}): Promise<Sluice> {
  const uplinks = [
    { name: "isp1", interface: "wan0", probe, holdDown: "0s", ...isp1 },
    { name: "isp2", interface: "wan1", probe, holdDown: "0s", ...isp2 },
  ];
  return startSluice(lab, smallConfig(lab, { uplinks, ...more }));
}

/** Endless downloads at 20 kB/s each. */
const startTransfers = () =>
  startProgram(lab, "client1", "transfers", String(count), "endless", "20000", "7100", server);
const records = (transfers: Running) =>
  transfers.stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as TransferRecord);
/** Numbers of the transfers that the server saw come by an uplink. */
const by = (transfers: Running, isp: Isp) =>
  records(transfers).flatMap((one) => (one.event === "begin" && one.via === uplinkAddress[isp] ? [one.id] : []));
const ended = (transfers: Running) =>
  records(transfers).flatMap((one) => (one.event === "end" ? [{ id: one.id, error: one.error }] : []));
const stateOf = async (sluice: Sluice, name: Isp) =>
  (await statusOf(sluice)).uplinks.find((uplink) => uplink.name === name)!.state;
const becomes = (sluice: Sluice, name: Isp, state: string) =>
  until(async () => (await stateOf(sluice, name)) === state, `${name} to be ${state}`);
const receivedBy = (transfers: Running, id: number) =>
  records(transfers).reduce((sum, one) => sum + (one.event === "bytes" ? (one.bytes[id] ?? 0) : 0), 0);

async function finish(sluice: Sluice): Promise<void> {
  // The transfers go on, and without sluice nobody translates them.
  expect(await sniffer.stop()).toEqual([]);
  expect(await sluice.stop()).toBe(0);
}

describe("an uplink that dies", () => {
  it.each([1, 2])("has its connections reset, and no other (%i workers)", async (workers) => {
    const sluice = await start({}, {}, { workers });
    const transfers = await startTransfers();
    const [doomed, others] = [by(transfers, "isp1"), by(transfers, "isp2")];
    expect([doomed.length > 0, others.length > 0]).toEqual([true, true]);
    await impair(lab, "isp1", { drop: "all" });
    await becomes(sluice, "isp1", "down");
    await until(async () => ended(transfers).length >= doomed.length, "the resets");
    expect(ended(transfers)).toHaveLength(doomed.length);
    expect(
      ended(transfers)
        .map(({ id, error }) => [id, error])
        .sort(),
    ).toEqual(doomed.map((id) => [id, "ECONNRESET"]).sort());
    const before = others.map((id) => receivedBy(transfers, id));
    await until(async () => others.every((id, i) => receivedBy(transfers, id) > before[i]! + 20_000), "more bytes");
    await finish(sluice);
  });

  it("keeps them when it is told to, and they go on when it is back", async () => {
    const sluice = await start({ onDown: "keep" }, {});
    const transfers = await startTransfers();
    const kept = by(transfers, "isp1");
    await impair(lab, "isp1", { drop: "all" });
    await becomes(sluice, "isp1", "down");
    expect(kinds(await connectTimes(lab, 10))).toEqual(["isp2"]);
    await impair(lab, "isp1", {});
    await becomes(sluice, "isp1", "up");
    const before = kept.map((id) => receivedBy(transfers, id));
    await until(async () => kept.every((id, i) => receivedBy(transfers, id) > before[i]!), "all to go on");
    expect(ended(transfers)).toEqual([]);
    await finish(sluice);
  });

  it("is given time to come back when it is told to wait", async () => {
    const sluice = await start({ onDown: "10s" }, {});
    const transfers = await startTransfers();
    const doomed = by(transfers, "isp1");
    await impair(lab, "isp1", { drop: "all" });
    await becomes(sluice, "isp1", "down");
    expect(ended(transfers)).toEqual([]);
    await until(async () => ended(transfers).length > 0, "the resets");
    await until(async () => ended(transfers).length === doomed.length, "all of them");
    await finish(sluice);
  });
});

describe("a better uplink that comes back", () => {
  const backup = { tier: 2 };

  async function displace(failback: string): Promise<{ sluice: Sluice; transfers: Running }> {
    const sluice = await start({ failback }, backup);
    expect(kinds(await connectTimes(lab, 10))).toEqual(["isp1"]);
    await impair(lab, "isp1", { drop: "all" });
    await becomes(sluice, "isp1", "down");
    const transfers = await startTransfers();
    expect(by(transfers, "isp2")).toHaveLength(count);
    await impair(lab, "isp1", {});
    await becomes(sluice, "isp1", "up");
    expect(kinds(await connectTimes(lab, 10))).toEqual(["isp1"]);
    return { sluice, transfers };
  }

  it("leaves displaced connections where they are", async () => {
    const { sluice, transfers } = await displace("keep");
    const before = by(transfers, "isp2").map((id) => receivedBy(transfers, id));
    await until(
      async () => by(transfers, "isp2").every((id, i) => receivedBy(transfers, id) > before[i]!),
      "all to go on",
    );
    expect(ended(transfers)).toEqual([]);
    await finish(sluice);
  });

  it("has them reset when it wants them", async () => {
    const { sluice, transfers } = await displace("reset");
    await until(async () => ended(transfers).length === count, "the resets");
    expect(new Set(ended(transfers).map(({ error }) => error))).toEqual(new Set(["ECONNRESET"]));
    await finish(sluice);
  });
});
