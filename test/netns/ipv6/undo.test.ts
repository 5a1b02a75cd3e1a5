/**
 * IPv6 on the machine itself: what sluice sets and takes back, and what a killed one leaves: ordinary routing. The
 * kernel's own masquerade is on for both families, as on a router that does without sluice.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab, server6, uplinkAddress6 } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";
import { visit } from "../../support/visit.ts";
import { smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { placeOf } from "../lifecycle/leftovers.ts";
import { leftOver, type Machine, readMachine, settledMachine } from "../lifecycle/machine.ts";

let lab: Lab;
let before: Machine;

beforeAll(async () => {
  lab = await openLab({ name: "undo6", ipv6: true, masquerade: true });
  await startProgram(lab, "server", "web-server", "80", "::");
  // The kernel has learnt the gateways once, so that their entries are there before and after.
  for (const wan of ["wan0", "wan1"]) await lab.exec("router", ["ping", "-c", "1", "-W", "5", `fe80::1%${wan}`]);
  before = await readMachine(lab);
});
afterAll(() => lab.close());

describe.each([1, 2])("by %i worker(s)", (workers) => {
  const start = (options = {}) => startSluice(lab, smallConfig(lab, { workers }), options);

  it("everything is as before when it has ended", async () => {
    const sluice = await start();
    expect(await uplinksOf("client1")).toEqual([uplinkAddress6.isp1, uplinkAddress6.isp2]);
    // Not even of what the kernel would tell the TUN about multicast groups. A connection that an earlier daemon's end
    // cut off may still retransmit.
    const { "tcp-no-flow": _cutOff, ...drops } = (await statusOf(sluice)).drops;
    expect(drops).toEqual({});
    expect(leftOver(before, await readMachine(lab))).toHaveProperty("rules6");
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("a killed one leaves rules that lead to main, and the next start takes them away", async () => {
    const killed = await start();
    await killed.kill9();
    const { priority, table } = await placeOf(lab);
    const left = leftOver(before, await settledMachine(lab));
    expect(left.rules6).toContain(`${priority + 6}:\tfrom all iif lan0 lookup ${table} proto 83`);
    expect(left.routes6!.filter((route) => route.includes(` table ${table} `))).toEqual(
      ["fe80::/10", "ff00::/8"].map((network) => expect.stringMatching(`^throw ${network} `)),
    );
    expect(left.managedNeighbours).toEqual(expect.arrayContaining(["fe80::1 dev wan0", "fe80::1 dev wan1"]));
    for (const host of ["client1", "router"] as const) expect(await uplinksOf(host)).toEqual([uplinkAddress6.isp1]);

    const next = await start({ args: ["--socket", killed.socket] });
    expect(next.output).toMatch(/undone for process \d+, which ended without: managed neighbour fe80::1 on wan0/);
    expect(await uplinksOf("client1")).toEqual([uplinkAddress6.isp1, uplinkAddress6.isp2]);
    expect(await next.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("an uplink whose address goes gets no new connections, and comes back with it", async () => {
    const sluice = await start();
    const address = `${uplinkAddress6.isp2}/64`;
    await lab.exec("router", ["ip", "address", "del", address, "dev", "wan1"]);
    await sluice.waitFor(/"no address","msg":"IPv6 on the uplink is down"/);
    await untilUplinks([uplinkAddress6.isp1]);
    await lab.exec("router", ["ip", "address", "add", address, "dev", "wan1", "nodad"]);
    await untilUplinks([uplinkAddress6.isp1, uplinkAddress6.isp2]);
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("nothing is steered any more when the last uplink's address goes", async () => {
    const sluice = await start();
    const addresses = [uplinkAddress6.isp1, uplinkAddress6.isp2];
    for (const [i, address] of addresses.entries())
      await lab.exec("router", ["ip", "address", "del", `${address}/64`, "dev", `wan${i}`]);
    await until("the rules to go", async () => (await readMachine(lab)).rules6.length === before.rules6.length);
    for (const [i, address] of addresses.entries())
      await lab.exec("router", ["ip", "address", "add", `${address}/64`, "dev", `wan${i}`, "nodad"]);
    await untilUplinks(addresses);
    expect(await sluice.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });
});

/** The addresses by which connections of a host reach the server, sorted; so many that all miss an uplink once in eight million times. */
async function uplinksOf(host: "client1" | "router", ...options: string[]): Promise<string[]> {
  const seen = await Promise.all(Array.from({ length: 24 }, () => visit(lab, host, `[${server6}]`, ...options)));
  return [...new Set(seen.map(({ address }) => address))].sort();
}

async function untilUplinks(wanted: string[]): Promise<void> {
  await until(`connections by ${wanted.join(" and ")}`, async () => {
    try {
      // One that began in the middle of the change may hang.
      return (await uplinksOf("client1", "--max-time", "2")).join() === wanted.join();
    } catch {
      return false;
    }
  });
}

describe("uplinks whose MTU was too small for IPv6", () => {
  it("get it when they are wide enough, and an address again", async () => {
    await using narrow = await openLab({ name: "narrow6", ipv6: true });
    await startProgram(narrow, "server", "web-server", "80", "::");
    const router = (words: string) => narrow.exec("router", ["ip", ...words.split(" ")]);
    for (const wan of ["wan0", "wan1"]) await router(`link set ${wan} mtu 1200`);
    const sluice = await startSluice(narrow, smallConfig(narrow));
    await router("link set wan0 mtu 1500");
    await router(`address add ${uplinkAddress6.isp1}/64 dev wan0 nodad`);
    await router("-6 route add default via fe80::1 dev wan0 metric 100");
    await sluice.waitFor(/"IPv6 on the uplink is up"/);
    await until("a connection over IPv6", async () => {
      const seen = await visit(narrow, "client1", `[${server6}]`).catch(() => undefined);
      return seen?.address === uplinkAddress6.isp1;
    });
    expect(await sluice.stop()).toBe(0);
  });
});
