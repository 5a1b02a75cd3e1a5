/** Uplinks that must stay affordable: a data cap that a restart does not forget, and hours without new connections. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Isp, type Lab, openLab } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import type { Sluice } from "../../support/sluice.ts";
import { download } from "../../support/transfer.ts";
import { smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { connectTimes, kinds, serve } from "../lifecycle/load.ts";
import { until } from "../lifecycle/until.ts";

let lab: Lab;

beforeEach(async () => {
  lab = await openLab({ name: "budget" });
  await serve(lab);
  await startProgram(lab, "server", "web-server", "80");
});
afterEach(() => lab.close());

const start = (isp1: object) => {
  const uplinks = [
    { name: "isp1", interface: "wan0", ...isp1 },
    { name: "isp2", interface: "wan1" },
  ];
  return startSluice(lab, smallConfig(lab, { uplinks, control: { stateDirectory: join(lab.directory, "state") } }));
};
const reportOf = async (sluice: Sluice, name: Isp) =>
  (await statusOf(sluice)).uplinks.find((uplink) => uplink.name === name)!;

describe("a data cap", () => {
  it("takes the uplink out for new connections when it is used up, also after a restart", async () => {
    const cap = { monthly: "3MB" };
    const first = await start({ cap });
    expect((await reportOf(first, "isp1")).state).toBe("up");
    await download(lab, "isp1", 4_000_000);
    const isCapped = async (sluice: Sluice) => (await reportOf(sluice, "isp1")).state === "draining";
    await until(() => isCapped(first), "isp1 to be capped");
    expect((await reportOf(first, "isp1")).reason).toMatch(/^data cap: 3 MB are used, until 1 [A-Z][a-z]{2}$/);
    expect(kinds(await connectTimes(lab, 20))).toEqual(["isp2"]);
    expect(await first.stop()).toBe(0);
    expect(existsSync(join(lab.directory, "state", "usage-sluice0.json"))).toBe(true);

    const second = await start({ cap });
    expect(await isCapped(second)).toBe(true);
    expect(kinds(await connectTimes(lab, 20))).toEqual(["isp2"]);
    expect(await second.stop()).toBe(0);
  });
});

describe("a schedule", () => {
  it("takes the uplink out in its hours", async () => {
    const sluice = await start({
      schedule: [
        { from: "00:00", to: "12:00" },
        { from: "12:00", to: "00:00" },
      ],
    });
    expect(await reportOf(sluice, "isp1")).toMatchObject({
      state: "draining",
      reason: expect.stringMatching(/^schedule /),
    });
    expect(kinds(await connectTimes(lab, 20))).toEqual(["isp2"]);
    expect(await sluice.stop()).toBe(0);
  });
});
