/** Nothing grows: not on the machine over many starts, not in one daemon over many changes. The topology is the lab's (scripts/lab). */

import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { flowsOf, smallConfig, startSluice, statusOf, unheldUplinks } from "./daemon.ts";
import { connectTimes, kinds, serve } from "./load.ts";
import { leftOver, type Machine, readMachine } from "./machine.ts";
import { until } from "./until.ts";

/** As many starts and stops as fit; some 15 on an idle machine. */
const cyclesMs = 12_000;
const changes = 6;

let lab: Lab;
let before: Machine;

beforeAll(async () => {
  lab = await openLab({ name: "leaks", masquerade: true });
  await serve(lab);
  before = await readMachine(lab);
});
afterAll(() => lab.close());

it("many starts and stops leave the machine as it was", async ({ annotate }) => {
  const socketsBefore = await packetSockets();
  const deadline = performance.now() + cyclesMs;
  let cycles = 0;
  for (; performance.now() < deadline; cycles++) {
    const sluice = await startSluice(lab, smallConfig(lab, { workers: 1 + (cycles % 2) }));
    expect(await sluice.stop(), `cycle ${cycles}`).toBe(0);
    const { stdout } = await lab.exec("router", ["ip", "rule"]);
    expect(stdout.trim().split("\n"), `cycle ${cycles}`).toHaveLength(3);
  }
  await annotate(`${cycles} cycles`);
  expect(leftOver(before, await readMachine(lab))).toEqual({});
  expect(await packetSockets()).toBe(socketsBefore);
});

it("a daemon whose interfaces and children come and go, and that is asked all the time, holds what it held", async () => {
  const sluice = await startSluice(lab, smallConfig(lab, { workers: 2, uplinks: unheldUplinks(lab) }));
  await statusOf(sluice);
  const descriptors = () => readdirSync(`/proc/${sluice.pid}/fd`).length;
  const held = descriptors();
  const socketsBefore = await packetSockets();
  const router = (text: string) => lab.exec("router", ["sh", "-ec", text]);
  for (let n = 0; n < changes; n++) {
    await router("ip link delete wan1");
    await until(() => sluice.output.split('"interface missing"').length === n + 2);
    await lab.exec("router", [
      "ip",
      "link",
      "add",
      "wan1",
      "type",
      "veth",
      "peer",
      "name",
      "subscriber",
      "netns",
      lab.namespace("isp2"),
    ]);
    await lab.exec("isp2", ["sh", "-ec", "ip address add 198.51.100.1/24 dev subscriber; ip link set subscriber up"]);
    await router(
      "ip address add 198.51.100.2/24 dev wan1; ip link set wan1 up; ip route add default via 198.51.100.1 metric 200",
    );
    await until(() => sluice.output.split('"uplink is up"').length === n + 2);
    await Promise.all([statusOf(sluice), flowsOf(sluice)]);
  }
  expect(kinds(await connectTimes(lab, 30))).toEqual(["isp1", "isp2"]);
  await until(() => descriptors() <= held, `${descriptors()} descriptors, ${held} before`);
  expect(await packetSockets()).toBe(socketsBefore);
  expect(await sluice.stop()).toBe(0);
});

/** A step of the undoing that fails is what the journal is for. */
it("what cannot be undone is said, exits 1, and is undone by the next start", async () => {
  const directory = join(lab.directory, "bin");
  const obstacle = join(lab.directory, "obstacle");
  await lab.exec("router", ["install", "-d", directory]);
  const script = `#!/bin/sh\n[ ! -e ${obstacle} ] || case "$*" in *"rule del"*) echo "RTNETLINK answers: Operation not permitted" >&2; exit 2;; esac\nexec /usr/bin/ip "$@"\n`;
  writeFileSync(join(directory, "ip"), script, { mode: 0o755 });
  before = await readMachine(lab);
  const env = { PATH: `${directory}:${process.env.PATH}` };
  const sluice = await startSluice(lab, smallConfig(lab), { env });
  writeFileSync(obstacle, "");
  expect(await sluice.stop()).toBe(1);
  expect(sluice.output).toMatch(/could not undo rules of priority \d+ to \d+: .*Operation not permitted/);
  expect(sluice.output).toMatch(/^sluice: not everything could be undone; the next start tries again$/m);
  expect(Object.keys(leftOver(before, await readMachine(lab))).sort()).toEqual(["files", "rules"]);
  const next = await startSluice(lab, smallConfig(lab));
  expect(next.output).toMatch(/undone for process \d+, which ended without: rules of priority/);
  expect(await next.stop()).toBe(0);
  expect(await readMachine(lab)).toEqual(before);
});

async function packetSockets(): Promise<number> {
  return (await lab.exec("router", ["cat", "/proc/net/packet"])).stdout.trim().split("\n").length - 1;
}
