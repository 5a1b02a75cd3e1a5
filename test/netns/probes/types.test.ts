/**
 * Probes of every type against real servers, by real uplinks, beside a daemon that steers the router's own traffic into its
 * TUN. The topology is the lab's (scripts/lab).
 *
 * That a probe goes by its own uplink is shown by cutting the other one: what is answered then has not gone there, and what
 * goes by the cut one is not answered, although the way by the other would be.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbeConfig } from "../../../src/control/config-types.ts";
import type { ProbeRound } from "../../../src/control/probes/prober.ts";
import { impair } from "../../support/impairment.ts";
import { type Isp, type Lab, openLab, server, server2, server6 } from "../../support/lab.ts";
import { impatient, pathBy, patient, probe } from "../../support/prober.ts";
import { startProgram } from "../../support/programs.ts";
import { labConfig, type Sluice } from "../../support/sluice.ts";

let lab: Lab;
let sluice: Sluice;

beforeAll(async () => {
  lab = await openLab({ name: "probes", ipv6: true });
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "server", "web-server", "80", server6);
  await startProgram(lab, "server", "dns-server", server, "0");
  await startProgram(lab, "server", "dns-server", server2, "2");
  await startProgram(lab, "server", "dns-server", server6, "3");
  sluice = await lab.sluice(labConfig(lab, { workers: 2, limits: { flows: 65_536 } }));
  await sluice.waitFor(/is forwarding/);
});
afterAll(() => lab?.close());
afterAll(async () => {
  // Nothing left by an uplink with an address that is not its own, and nothing went through the translator.
  expect(await lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  expect(await sluice.flows()).toEqual([]);
  expect(await sluice.stop()).toBe(0);
});

const lost = (rounds: ProbeRound[]) => [...new Set(rounds.map(({ reason }) => reason))];
const allAnswered = (rounds: ProbeRound[]) => {
  expect(lost(rounds)).toEqual([""]);
  for (const { answered, rttMs } of rounds) {
    expect(answered).toBe(true);
    expect(rttMs).toBeGreaterThan(0);
  }
};

const beyond: [ProbeConfig["type"], string][] = [
  ["icmp", server],
  ["icmp", server6],
  ["tcp", `${server}:80`],
  ["tcp", `[${server6}]:80`],
  ["http", `http://${server}/address`],
  ["http", `http://[${server6}]/address`],
  ["dns", server],
  ["dns", server6],
];
/** Near: what answers on the link, whatever is cut behind the gateway. */
const near: [ProbeConfig["type"], string[]][] = [
  ["icmp", []],
  ["icmp", ["fe80::1"]],
  ["arp", []],
  ["arp", ["fe80::1"]],
];

describe.each([
  ["isp1", "isp2"],
  ["isp2", "isp1"],
] as [Isp, Isp][])("by %s, while %s is dead", (isp, other) => {
  beforeAll(() => impair(lab, other, { drop: "dead" }));
  afterAll(() => impair(lab, other, {}));

  it.each(beyond)("%s is answered by %s", async (type, target) => {
    allAnswered(await probe(lab, await pathBy(lab, isp), { ...patient, type, targets: [target] }));
  });

  it.each(near)("%s is answered by the gateway %s", async (type, targets) => {
    allAnswered(await probe(lab, await pathBy(lab, isp), { ...patient, type, targets }));
  });

  it.each(beyond)("%s to %s by the dead one fails, and does not go the other way", async (type, target) => {
    const rounds = await probe(lab, await pathBy(lab, other), { ...impatient, type, targets: [target] });
    expect(rounds.map(({ answered }) => answered)).toEqual([false, false, false]);
    for (const reason of lost(rounds)) expect(reason).toMatch(/: (no answer within 200 ms|host unreachable)/);
  });

  it.each(near)("%s to the gateway %s of the dead one fails", async (type, targets) => {
    const rounds = await probe(lab, await pathBy(lab, other), { ...impatient, type, targets });
    expect(rounds.map(({ answered }) => answered)).toEqual([false, false, false]);
  });
});

describe("the time of an answer", () => {
  const delayMs = 150;
  beforeAll(() => impair(lab, "isp1", { delayMs }));
  afterAll(() => impair(lab, "isp1", {}));

  it.each(beyond)("is the line's, of %s to %s", async (type, target) => {
    const rounds = await probe(lab, await pathBy(lab, "isp1"), { ...patient, type, targets: [target] });
    for (const { reason, rttMs } of rounds) {
      expect(reason).toBe("");
      expect(rttMs).toBeGreaterThanOrEqual(delayMs);
    }
  });
});

describe("what counts as an answer", () => {
  const ask = async (type: ProbeConfig["type"], ...targets: string[]) =>
    lost(await probe(lab, await pathBy(lab, "isp1"), { ...patient, type, targets }, 2));

  it("of tcp: a reset as well, because it has come all the way", async () => {
    expect(await ask("tcp", `${server}:81`)).toEqual([""]);
  });

  it("of http: not a refusal, and not a page that is missing", async () => {
    expect(await ask("http", `http://${server}:81/`)).toEqual([`http://${server}:81/: refused (ECONNREFUSED)`]);
    const page = `http://${server}/via/198.51.100.2/10`;
    expect(await ask("http", page), "421, misdirected").toEqual([`${page}: status 421`]);
  });

  it("of http: not something that speaks no HTTP", async () => {
    await startProgram(lab, "server", "echo-server", "7");
    expect(await ask("http", `http://${server}:7/`)).toEqual([expect.stringMatching(/: no HTTP: /)]);
  });

  it("of dns: that there is no such name, but not that the resolver failed, nor that there is none", async () => {
    expect(await ask("dns", server6), "NXDOMAIN").toEqual([""]);
    expect(await ask("dns", server2)).toEqual([`${server2}: SERVFAIL`]);
    expect(await ask("dns", "192.0.2.20")).toEqual(["192.0.2.20: refused (ECONNREFUSED)"]);
  });

  it("of icmp: not what a router says about the question", async () => {
    expect(await ask("icmp", "192.0.2.200")).toEqual(["192.0.2.200: network unreachable, says 203.0.113.1"]);
  });
});

describe("an uplink that is dead behind its gateway", () => {
  beforeAll(() => impair(lab, "isp1", { drop: "beyond" }));
  afterAll(() => impair(lab, "isp1", {}));

  it("has a gateway that answers, and targets in its dead zone that do not", async () => {
    const path = await pathBy(lab, "isp1");
    allAnswered(await probe(lab, path, { ...patient, targets: [] }));
    const rounds = await probe(lab, path, { ...impatient, targets: [server, server2] });
    expect(rounds.map(({ answered }) => answered)).toEqual([false, false, false]);
    const both = await probe(lab, path, { ...impatient, targets: ["203.0.113.1", server], quorum: 2 });
    expect(lost(both)).toEqual([`${server}: no answer within 200 ms`]);
    allAnswered(await probe(lab, path, { ...patient, targets: [server, "203.0.113.1"], quorum: 1 }));
  });
});
