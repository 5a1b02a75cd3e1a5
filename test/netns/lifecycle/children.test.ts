/**
 * What happens when a part of the daemon dies or stops: the nft that holds the drop, ip monitor, a worker,
 * the TUN, the whole process for a while. The topology is the lab's (scripts/lab).
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { runCommand } from "../../support/process.ts";
import type { Sluice } from "../../support/sluice.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { Connections, connectTimes, kinds, serve } from "./load.ts";
import { type Machine, readMachine } from "./machine.ts";
import { until } from "./until.ts";

const sabotage = fileURLToPath(new URL("sabotage.ts", import.meta.url));

describe.each([1, 2])("with %i workers", (workers) => {
  let lab: Lab;
  let before: Machine;

  beforeAll(async () => {
    lab = await openLab({ name: "children", masquerade: true });
    await serve(lab);
    before = await readMachine(lab);
  });
  afterAll(() => lab.close());

  const start = (env: Record<string, string> = {}) => startSluice(lab, smallConfig(lab, { workers }), { env });
  const forwards = async () => expect(kinds(await connectTimes(lab, 20))).toEqual(["isp1", "isp2"]);
  const endsBecause = async (sluice: Sluice, reason: RegExp) => {
    expect(await sluice.exited).toBe(1);
    expect(
      sluice.output
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("sluice: ")),
    ).toEqual([expect.stringMatching(reason)]);
    expect(await readMachine(lab)).toEqual(before);
  };

  it("ends with the reason, and undoes everything, when nft is killed", async () => {
    const sluice = await start();
    process.kill((await children(sluice)).get("nft")!, "SIGKILL");
    await endsBecause(sluice, /nft, which holds the drop of the translator's ports, ended: ended by SIGKILL/);
  });

  it("starts ip monitor again when it is killed, and follows the uplinks as before", async () => {
    const sluice = await start();
    process.kill((await children(sluice)).get("ip")!, "SIGKILL");
    await sluice.waitFor(/ip monitor ended/);
    await until(async () => (await children(sluice)).has("ip"));
    await lab.exec("router", ["ip", "link", "set", "wan1", "down"]);
    await sluice.waitFor(/"isp2".*uplink is down/);
    await lab.exec("router", ["ip", "link", "set", "wan1", "up"]);
    await lab.exec("router", ["ip", "route", "add", "default", "via", "198.51.100.1", "metric", "200"]);
    await sluice.waitFor(/"isp2".*uplink is up/);
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("holds the steered traffic while it is stopped, and goes on when it is continued", async () => {
    const sluice = await start();
    const connections = new Connections(lab);
    await connections.untilSucceeding(20);
    sluice.signal("SIGSTOP");
    await until(async () => connections.outcomes.at(-1) === "failed: no answer");
    sluice.signal("SIGCONT");
    await connections.untilSucceeding(20);
    await connections.stop();
    await forwards();
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it.each([
    ["throws", /worker \d died: Error: sabotaged/],
    ["exits", /worker \d died: it ended by itself/],
  ])("ends with the reason, and undoes everything, when a worker %s", async (how, reason) => {
    const order = join(lab.directory, `order-${how}`);
    const sluice = await start({ NODE_OPTIONS: `--import=${sabotage}`, SABOTAGE: order });
    await forwards();
    writeFileSync(order, how);
    await endsBecause(sluice, reason);
  });

  it("ends with the reason, and undoes everything, when the main thread throws where nobody catches", async () => {
    const order = join(lab.directory, "order-main");
    const sluice = await start({ NODE_OPTIONS: `--import=${sabotage}`, SABOTAGE: order });
    writeFileSync(order, "main thread");
    await endsBecause(sluice, /^sluice: sabotaged/);
  });

  it("keeps its drop, and goes on, when somebody flushes the whole of nftables", async () => {
    const sluice = await start();
    await lab.exec("router", ["nft", "flush", "ruleset"], { mayFail: true });
    await forwards();
    expect((await lab.exec("router", ["nft", "list", "table", "netdev", "sluice_sluice0"])).stdout).toMatch(
      /tcp dport 16384-32767 drop/,
    );
    await lab.masquerade("on");
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("ends with the reason, and undoes everything, when somebody deletes the TUN", async () => {
    const sluice = await start();
    await lab.exec("router", ["ip", "link", "delete", "sluice0"]);
    await endsBecause(sluice, /worker \d died: Error: the TUN device is gone/);
  });

  it("brings the TUN up again when somebody sets it down", async () => {
    const sluice = await start();
    await lab.exec("router", ["ip", "address", "flush", "dev", "sluice0"]);
    await lab.exec("router", ["ip", "link", "set", "sluice0", "down"]);
    // By the kernel until it is noticed, with the next change of an uplink or after ten seconds; nothing fails.
    expect(["isp1", "isp2"]).toEqual(expect.arrayContaining(kinds(await connectTimes(lab, 5))));
    await lab.exec("router", ["ip", "link", "set", "wan1", "mtu", "1400"]);
    await until(async () =>
      (await lab.exec("router", ["ip", "route", "show", "table", "all"])).stdout.includes("default dev sluice0"),
    );
    await lab.exec("router", ["ip", "link", "set", "wan1", "mtu", "1500"]);
    await forwards();
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });
});

/** Programs that the daemon started and that still run, by process number; of several the first, as others read and end. */
async function children(sluice: Sluice): Promise<Map<string, number>> {
  const { stdout } = await runCommand(["ps", "--ppid", String(sluice.pid), "-o", "comm=,pid="]);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return new Map(rows.reverse().map(([program, pid]) => [program!, Number(pid)]));
}
