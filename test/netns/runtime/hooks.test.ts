/**
 * Hooks are run for what happens to the uplinks of the lab (scripts/lab): a cable is pulled and put back, an address
 * changes, the operator drains. One that hangs keeps nothing else from happening.
 */

import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import type { Sluice } from "../../support/sluice.ts";
import { until } from "../../support/until.ts";
import { logOf, smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";

describe("a hook", () => {
  let lab: Lab;
  let sluice: Sluice;
  let told: string;
  let script: string;

  const config = (hooks: object) =>
    smallConfig(lab, {
      hooks,
      uplinks: ["wan0", "wan1"].map((device, index) => ({
        name: `isp${index + 1}`,
        interface: device,
        holdDown: "0s",
      })),
    });
  const lines = () => (existsSync(told) ? readFileSync(told, "utf8").trimEnd().split("\n") : []);
  const untilTold = (line: RegExp) => until(`a hook is told ${line}`, () => lines().some((each) => line.test(each)));
  const stateOf = async (name: string) => (await statusOf(sluice)).uplinks.find((each) => each.name === name)!.state;

  beforeAll(async () => {
    lab = await openLab({ name: "hooks" });
    told = join(lab.directory, "told");
    script = join(lab.directory, "tell");
    writeFileSync(script, `#!/bin/sh\necho "$ACTION|$UPLINK|$INTERFACE|$STATE|$ADDRESS|$REASON" >> ${told}\n`);
    chmodSync(script, 0o755);
    sluice = await startSluice(lab, config({ up: script, down: script, address: script }));
  });
  afterAll(() => lab?.close());

  it("is told of an uplink that goes down and comes up, with the reason", async () => {
    await lab.carrier("isp1", "off");
    await untilTold(/^down\|isp1\|wan0\|down\|203\.0\.113\.2\|.*carrier/);
    await lab.carrier("isp1", "on");
    await untilTold(/^up\|isp1\|wan0\|up\|203\.0\.113\.2\|$/);
    expect(lines().filter((line) => line.includes("isp2"))).toEqual([]);
  });

  it("is told of another address", async () => {
    await lab.exec("router", ["sh", "-c", "ip addr del 203.0.113.2/24 dev wan0; ip addr add 203.0.113.7/24 dev wan0"]);
    await untilTold(/^address\|isp1\|wan0\|.*\|203\.0\.113\.7\|/);
  });

  it("is told what the operator orders", async () => {
    await sluice.run(["uplink", "drain", "isp2"]);
    await untilTold(/^down\|isp2\|wan1\|draining\|198\.51\.100\.2\|drained by the operator$/);
    await sluice.run(["uplink", "enable", "isp2"]);
    await untilTold(/^up\|isp2\|wan1\|up\|/);
  });

  it("that hangs is ended and logged, and keeps nothing from happening meanwhile", async () => {
    const hanging = join(lab.directory, "hang");
    const pid = join(lab.directory, "pid");
    writeFileSync(hanging, `#!/bin/sh\necho $$ > ${pid}\nsleep 1000\n`);
    chmodSync(hanging, 0o755);
    sluice.write(config({ up: script, down: hanging, timeout: "5s" }));
    expect((await sluice.run(["reload"])).stdout).toBe("hooks changed\n");
    await sluice.run(["uplink", "disable", "isp2"]);
    await until("it hangs", () => existsSync(pid));
    expect(await stateOf("isp2")).toBe("disabled");
    await lab.carrier("isp1", "off");
    await until("isp1 is down", async () => (await stateOf("isp1")) === "down");
    await until("it is ended", () =>
      logOf(sluice).some(({ msg, reason }) => msg === "hook failed" && reason === "did not end within 5000 ms"),
    );
  });

  it("that still runs ends with the daemon", async () => {
    const file = join(lab.directory, "pid");
    rmSync(file);
    for (const order of ["enable", "disable"]) await sluice.run(["uplink", order, "isp2"]);
    await until("it hangs", () => existsSync(file) && readFileSync(file, "utf8") !== "");
    expect(await sluice.stop()).toBe(0);
    const pid = Number(readFileSync(file, "utf8"));
    expect(existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))).toBe(false);
  });
});
