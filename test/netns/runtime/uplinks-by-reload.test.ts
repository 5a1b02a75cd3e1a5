/**
 * Uplinks that a reload adds, takes away and changes, while connections over the others run on. The topology is the
 * lab's with three providers (scripts/lab).
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestJson } from "../../../src/control/client.ts";
import { type Lab, openLab } from "../../support/lab.ts";
import type { Sluice } from "../../support/sluice.ts";
import type { Sniffer } from "../../support/sniffer.ts";
import { flowsOf, smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { connectTimes, kinds, Stream, serve } from "../lifecycle/load.ts";
import { type Machine, readMachine } from "../lifecycle/machine.ts";
import { until } from "../lifecycle/until.ts";

const interfaces = { isp1: "wan0", isp2: "wan1", isp3: "wan2" } as const;
type Name = keyof typeof interfaces;

describe.each([1, 2])("with %i workers", (workers) => {
  let lab: Lab;
  let sluice: Sluice;
  let sniffer: Sniffer;
  let before: Machine;

  const config = (uplinks: Name[], more: Partial<Record<Name, object>> = {}) =>
    smallConfig(lab, {
      workers,
      uplinks: uplinks.map((name) => ({ name, interface: interfaces[name], holdDown: "0s", ...more[name] })),
    });
  const reload = async (next: object) => {
    sluice.write(next);
    return requestJson<{ changed: string[]; problems: string[] }>(sluice.socket, "/reload", { method: "POST" });
  };
  const waysOut = async () => kinds(await connectTimes(lab, 40));

  beforeAll(async () => {
    lab = await openLab({ name: "reload", uplinks: 3 });
    await serve(lab);
    before = await readMachine(lab);
    sniffer = await lab.sniff();
    sluice = await startSluice(lab, config(["isp1", "isp2"]));
  });
  afterAll(() => lab?.close());

  it("an uplink that is added gets connections, and a stream over another loses nothing", async () => {
    const stream = new Stream(lab);
    await stream.ready();
    expect(await waysOut()).toEqual(["isp1", "isp2"]);
    const { changed, problems } = await reload(config(["isp1", "isp2", "isp3"]));
    expect({ changed, problems }).toEqual({ changed: ["uplink isp3 is new"], problems: [] });
    await until(async () => (await waysOut()).length === 3, "connections over three");
    expect((await statusOf(sluice)).uplinks.map(({ name }) => name).sort()).toEqual(["isp1", "isp2", "isp3"]);
    expect((await stream.stop()).lost).toEqual([]);
  });

  it("one that leaves has its flows cut off, and the others' go on", async () => {
    const stream = new Stream(lab);
    const port = await stream.ready();
    const own = (await flowsOf(sluice)).find(({ sourcePort }) => sourcePort === port)!.uplink as Name;
    const leaving = (["isp1", "isp2", "isp3"] as const).find((name) => name !== own)!;
    const staying = (["isp1", "isp2", "isp3"] as const).filter((name) => name !== leaving);
    const { changed } = await reload(config([...staying]));
    expect(changed).toEqual([`uplink ${leaving} is gone`]);
    expect(await waysOut()).toEqual([...staying].sort());
    expect((await statusOf(sluice)).uplinks.map(({ name }) => name).sort()).toEqual([...staying].sort());
    expect((await stream.stop()).lost).toEqual([]);
    expect((await reload(config(["isp1", "isp2", "isp3"]))).changed).toEqual([`uplink ${leaving} is new`]);
    await until(async () => (await waysOut()).length === 3, "connections over three");
  });

  it("a file with a mistake, or with what needs a restart, changes nothing and says why", async () => {
    const good = config(["isp1", "isp2", "isp3"]);
    const bad = await reload({ ...good, balance: { key: "five" } });
    expect(bad.changed).toEqual([]);
    expect(bad.problems.join()).toMatch(/sluice\.yaml:\d+:\d+: balance\.key: is not a known value/);
    const late = await reload({ ...good, workers: 3 });
    expect(late.problems).toEqual(["workers: cannot change while sluice runs; restart it for that"]);
    expect(await waysOut()).toEqual(["isp1", "isp2", "isp3"]);
  });

  it("leaves nothing behind", async () => {
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
    expect(await sniffer.stop()).toEqual([]);
  });
});
