/**
 * What sluice leaves: nothing when it is asked to end, a known list when it is killed, and nothing again
 * after the next run. The topology is the lab's (scripts/lab); the kernel's own masquerade is on, as on a
 * router that does without sluice.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import type { Sluice } from "../../support/sluice.ts";
import { logOf, smallConfig, startSluice } from "./daemon.ts";
import { leftByKill, placeOf } from "./leftovers.ts";
import { connectTimes, kinds, serve } from "./load.ts";
import { leftOver, type Machine, readMachine, settledMachine } from "./machine.ts";

describe.each([1, 2])("with %i workers", (workers) => {
  let lab: Lab;
  let before: Machine;

  beforeAll(async () => {
    lab = await openLab({ name: "undo", masquerade: true });
    await serve(lab);
    before = await readMachine(lab);
  });
  afterAll(() => lab.close());

  const config = (more: object = {}) => smallConfig(lab, { workers, ...more });
  const start = (more: object = {}) => startSluice(lab, config(more));
  const forwards = async () => expect(kinds(await connectTimes(lab, 30))).toEqual(["isp1", "isp2"]);

  it.each(["SIGTERM", "SIGINT"] as const)("leaves the machine as it was when %s ends it", async (signal) => {
    const sluice = await start();
    await forwards();
    expect(await readMachine(lab)).not.toEqual(before);
    sluice.signal(signal);
    expect(await sluice.exited).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("leaves the machine as it was also when uplinks change all the while", async () => {
    const change = "while :; do ip link set wan1 mtu 1400; sleep 0.05; ip link set wan1 mtu 1500; sleep 0.05; done";
    for (let n = 0; n < 2; n++) {
      const sluice = await start();
      const changes = lab.spawn("router", ["sh", "-ec", change]);
      await sluice.waitFor(/uplink has another MTU/);
      await sleep(100 * n);
      expect(await sluice.stop()).toBe(0);
      await changes.stop();
      await lab.exec("router", ["ip", "link", "set", "wan1", "mtu", "1500"]);
      expect(await readMachine(lab)).toEqual(before);
    }
  });

  it("undoes everything also when the signal comes again meanwhile", async () => {
    const sluice = await start();
    for (let n = 0; n < 3; n++) {
      sluice.signal("SIGINT");
      await sleep(10);
    }
    expect(await sluice.exited).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("leaves exactly this when it is killed, and the next run undoes it and itself", async () => {
    const killed = await start();
    await forwards();
    await killed.kill9();
    expect(leftOver(before, await settledMachine(lab))).toEqual(leftByKill(await placeOf(lab), { failMode: "open" }));
    expect(kinds(await connectTimes(lab, 5))).toEqual(["isp1"]);

    const next = await startSluice(lab, config(), { args: ["--socket", killed.socket] });
    expect(undone(next, killed.pid)).toEqual([
      expect.stringMatching(/rules of priority 2\d{4} to 2\d{4}$/),
      expect.stringMatching(/routes in tables \d+ to \d+$/),
      expect.stringMatching(/reserved ports 16384-32767$/),
      expect.stringMatching(/managed neighbour (203.0.113.1 on wan0|198.51.100.1 on wan1)$/),
      expect.stringMatching(/managed neighbour (203.0.113.1 on wan0|198.51.100.1 on wan1)$/),
    ]);
    await forwards();
    expect(await next.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("stops the steered traffic when it is killed with failMode: closed, until the next run has ended", async () => {
    const killed = await start({ failMode: "closed" });
    await forwards();
    await killed.kill9();
    expect(leftOver(before, await settledMachine(lab))).toEqual(leftByKill(await placeOf(lab), { failMode: "closed" }));
    expect(kinds(await connectTimes(lab, 3))).toEqual([expect.stringMatching(/^failed: .*EHOSTUNREACH|ENETUNREACH/)]);
    expect(kinds(await connectTimes(lab, 3, "router"))).toEqual([
      expect.stringMatching(/^failed: .*ENETUNREACH|EHOSTUNREACH/),
    ]);
    const next = await startSluice(lab, config({ failMode: "closed" }), { args: ["--socket", killed.socket] });
    await forwards();
    expect(await next.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
    expect(kinds(await connectTimes(lab, 3))).toEqual(["isp1"]);
  });

  it("leaves the machine as it was also when it has read its configuration again, at SIGHUP", async () => {
    const sluice = await start();
    sluice.signal("SIGHUP");
    await sluice.waitFor(/the configuration was read again/);
    await forwards();
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });
});

function undone(sluice: Sluice, pid: number): string[] {
  return logOf(sluice)
    .map(({ msg }) => msg)
    .filter((msg) => msg.startsWith(`undone for process ${pid}`));
}
