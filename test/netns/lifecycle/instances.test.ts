/**
 * Several sluices on one machine: a second one on the same TUN name or socket is refused and changes nothing,
 * two with names, sockets, inside networks and uplinks of their own do not notice each other.
 *
 *   client1 192.168.10.2   ── lan0   router ┬ wan0 203.0.113.2  ── isp1    the kernel's own way, with its masquerade
 *   client2 192.168.10.130 ── lan0p2        ├ wan1 198.51.100.2 ── isp2    what `left` uses for lan0
 *                                           └ wan2 192.0.2.130  ── isp3    what `right` uses for lan0p2
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { Sluice } from "../../support/sluice.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { connectTimes, kinds, serve } from "./load.ts";
import { type Machine, readMachine } from "./machine.ts";

let lab: Lab;

beforeAll(async () => {
  lab = await openLab({ name: "instances", masquerade: true, uplinks: 3 });
  await serve(lab);
  await lab.exec("router", ["ip", "link", "set", "lan0p2", "nomaster"]);
  await lab.exec("router", ["ip", "address", "add", "192.168.10.129/25", "dev", "lan0p2"]);
  await lab.exec("client2", ["ip", "address", "replace", "192.168.10.130/25", "dev", "lan"]);
  await lab.exec("client2", ["ip", "address", "delete", "192.168.10.3/24", "dev", "lan"]);
  await lab.exec("client2", ["ip", "route", "replace", "default", "via", "192.168.10.129"]);
});
afterAll(() => lab.close());

describe("a second sluice", () => {
  let first: Sluice;
  let before: Machine;

  beforeAll(async () => {
    first = await startSluice(lab, smallConfig(lab));
    before = await readMachine(lab);
  });
  afterAll(() => first.stop());

  /** Starts one that must be refused, and returns what it said. */
  const refused = async (config: object, args: string[]) => {
    const second = new Sluice(lab, { config: smallConfig(lab, config), args });
    expect(await second.exited).toBe(1);
    expect(await readMachine(lab)).toEqual(before);
    return second.output;
  };

  it("on the same TUN name is told who has it, and changes nothing", async () => {
    expect(await refused({}, [])).toBe(`sluice: sluice0 is in use by another sluice, process ${first.pid}\n`);
  });

  it("on the same socket is told who has it, and changes nothing", async () => {
    const others = { tun: { name: "other0", address: "10.255.255.5/30" } };
    expect(await refused(others, ["--socket", first.socket])).toBe(
      `sluice: sluice is already running on ${first.socket} (pid ${first.pid}); stop it, or set control.socket and tun.name to others\n`,
    );
  });

  it("that starts at the same moment as another is refused as well", async () => {
    await first.stop();
    const idle = await readMachine(lab);
    const twins = [0, 1].map(() => new Sluice(lab, { config: smallConfig(lab) }));
    const loser = await Promise.race(twins.map(async (twin) => (await twin.exited) === 1 && twin));
    const winner = twins.find((twin) => twin !== loser)!;
    expect((loser as Sluice).output).toMatch(/sluice0/);
    await winner.waitFor(/sluice is forwarding/);
    expect(kinds(await connectTimes(lab, 40))).toEqual(["isp1", "isp2", "isp3"]);
    expect(await winner.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(idle);
  });
});

describe.each([1, 2])("two sluices of their own, with %i workers each", (workers) => {
  let left: Sluice;
  let right: Sluice;
  let before: Machine;

  const startLeft = (socket: string[] = []) =>
    startSluice(
      lab,
      smallConfig(lab, {
        workers,
        tun: { name: "left0", address: "10.255.255.1/30" },
        steer: { interfaces: ["lan0"], local: false },
        uplinks: [{ name: "isp2", interface: "wan1" }],
        nat: { ports: "16384-24575" },
      }),
      { args: socket },
    );
  const startRight = () =>
    startSluice(
      lab,
      smallConfig(lab, {
        workers,
        tun: { name: "right0", address: "10.255.255.5/30" },
        steer: { interfaces: ["lan0p2"], local: false },
        uplinks: [{ name: "isp3", interface: "wan2" }],
        nat: { ports: "24576-32767" },
      }),
    );
  const waysOut = async () => [
    kinds(await connectTimes(lab, 20, "client1")),
    kinds(await connectTimes(lab, 20, "client2")),
  ];

  beforeEach(async () => {
    before = await readMachine(lab);
    [left, right] = await Promise.all([startLeft(), startRight()]);
  });
  afterEach(async () => {
    await Promise.all([left.stop(), right.stop()]);
  });

  it("serve their own networks, and each that ends leaves the other alone", async () => {
    expect(await waysOut()).toEqual([["isp2"], ["isp3"]]);
    expect(await left.stop()).toBe(0);
    expect(await waysOut()).toEqual([["isp1"], ["isp3"]]);
    left = await startLeft();
    expect(await right.stop()).toBe(0);
    expect(await waysOut()).toEqual([["isp2"], ["isp1"]]);
    expect(await left.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("leave each other alone when one is killed and started again", async () => {
    await left.kill9();
    expect(await waysOut()).toEqual([["isp1"], ["isp3"]]);
    left = await startLeft(["--socket", left.socket]);
    expect(await waysOut()).toEqual([["isp2"], ["isp3"]]);
    await Promise.all([left.stop(), right.stop()]);
    expect(await readMachine(lab)).toEqual(before);
  });
});
