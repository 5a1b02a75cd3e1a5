/**
 * An uplink that dies behind its link, and comes back: noticed by probes, or by the traffic alone; its connections are told
 * at once, those of the other uplink never notice. The topology is the lab's (scripts/lab).
 */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { impair } from "../../support/impairment.ts";
import { type Isp, type Lab, openLab } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import type { Sluice } from "../../support/sluice.ts";
import { server, uplinkAddress } from "../../support/topology.ts";
import { visits } from "../../support/visit.ts";
import { smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { connectTimes, kinds, serve } from "../lifecycle/load.ts";
import { until } from "../lifecycle/until.ts";

const probe = { targets: [server], interval: "200ms", timeout: "500ms", down: 3, up: 3 };

let lab: Lab;
let sluice: Sluice;

beforeEach(async () => {
  lab = await openLab({ name: "death" });
  await serve(lab);
  await startProgram(lab, "server", "web-server", "80");
});
afterEach(() => lab.close());

async function start(uplink: object, more: object = {}): Promise<void> {
  const { uplinks, ...rest } = smallConfig(lab, more) as { uplinks: object[] };
  sluice = await startSluice(lab, { ...rest, uplinks: uplinks.map((each) => ({ ...each, ...uplink })) });
}

const reportOf = async (name: Isp) => (await statusOf(sluice)).uplinks.find((uplink) => uplink.name === name)!;
const becomes = (name: Isp, state: string, reason: RegExp) =>
  until(async () => {
    const report = await reportOf(name);
    return report.state === state && reason.test(report.reason);
  }, `${name} ${state}, ${reason}`);
const waysOut = async () => kinds(await connectTimes(lab, 20));

describe("with probes beyond the gateway", () => {
  it("a black hole behind a gateway that answers is down, gets nothing, and is back when it answers again", async () => {
    await start({ probe, holdDown: "0s" });
    expect(await waysOut()).toEqual(["isp1", "isp2"]);
    await impair(lab, "isp1", { drop: "beyond" });
    await becomes("isp1", "down", /192\.0\.2\.10/);
    expect((await reportOf("isp1")).lossRatio).toBeGreaterThan(0);
    expect(await waysOut()).toEqual(["isp2"]);
    await impair(lab, "isp1", {});
    await becomes("isp1", "up", /^$/);
    expect(await waysOut()).toEqual(["isp1", "isp2"]);
    expect(await sluice.stop()).toBe(0);
  });
});

describe("with no probes", () => {
  it("a black hole is noticed from connections that others answer, none of which fails", async () => {
    await start({ holdDown: "1s" });
    await impair(lab, "isp2", { drop: "all" });
    // By its log: it may be on trial again before anybody asks.
    let isOver = false;
    const noticing = sluice.waitFor(/"isp2".*uplink is down/, 30_000).finally(() => {
      isOver = true;
    });
    noticing.catch(() => {});
    // Half of them go to isp2 at first: each is moved with its first retransmission.
    do {
      const seen = await visits(lab, "client1", server, 80);
      expect(kinds(seen.map(({ address }) => address))).toEqual([uplinkAddress.isp1]);
    } while (!isOver);
    await noticing;
    await impair(lab, "isp2", {});
    await until(async () => (await waysOut()).includes("isp2"), "isp2 to be used again");
    expect(await sluice.stop()).toBe(0);
  });
});
