/**
 * Probes on a machine whose only default route leads to the other uplink, and without a daemon whose rules would lead them
 * right: what sees to it that they leave by their own uplink, or not at all. The topology is the lab's (scripts/lab).
 */

import { afterAll, beforeAll, expect, it } from "vitest";
import { type Lab, openLab, server, server6 } from "../../support/lab.ts";
import { impatient, pathBy, patient, probe } from "../../support/prober.ts";

let lab: Lab;

beforeAll(async () => {
  lab = await openLab({ name: "probes-routes", ipv6: true });
  await lab.exec("router", ["ip", "route", "del", "default", "dev", "wan1"]);
  await lab.exec("router", ["ip", "-6", "route", "del", "default", "dev", "wan1"]);
});
afterAll(() => lab?.close());

it.each([
  ["icmp", server],
  ["icmp", server6],
  ["tcp", `${server}:80`],
  ["tcp", `[${server6}]:80`],
  ["dns", server],
] as const)(
  "a probe by %s to %s that the routes would send by the other uplink fails instead",
  async (type, target) => {
    const rounds = await probe(lab, await pathBy(lab, "isp2"), { ...impatient, type, targets: [target] });
    expect(rounds.map(({ answered }) => answered)).toEqual([false, false, false]);
    for (const { reason } of rounds)
      expect(reason).toMatch(/no answer within 200 ms|host unreachable|no route by wan1/);
    // The provider on the other uplink counts what has an address that is not its subscriber's.
    expect(await lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  },
);

it.each([["198.51.100.1"], ["fe80::1"]])("its own gateway %s is reached all the same", async (target) => {
  const rounds = await probe(lab, await pathBy(lab, "isp2"), { ...patient, targets: [target] });
  expect(rounds.map(({ reason }) => reason)).toEqual(["", "", ""]);
});
