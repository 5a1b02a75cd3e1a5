/**
 * Probes by uplinks that change: gone and made again, without an address, without MAC headers, flooded; and for long enough
 * to see whether anything is left open. The topology is the lab's (scripts/lab).
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ProbePath } from "../../../src/control/probes/prober.ts";
import { type Lab, openLab, server } from "../../support/lab.ts";
import { ifindexOf, impatient, LabProber, pathBy, patient, probe } from "../../support/prober.ts";
import { startProgram } from "../../support/programs.ts";
import { labConfig, type Sluice } from "../../support/sluice.ts";
import { until } from "../../support/until.ts";

let lab: Lab;
let sluice: Sluice;
const router = (command: string) => lab.exec("router", ["sh", "-ec", command]);

beforeAll(async () => {
  lab = await openLab({ name: "probes-changes", ipv6: true });
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "server", "dns-server", server, "0");
  sluice = await lab.sluice(labConfig(lab, { workers: 2, limits: { flows: 65_536 } }));
  await sluice.waitFor(/is forwarding/);
});
afterAll(() => lab?.close());
afterAll(async () => {
  expect(await sluice.stop()).toBe(0);
});

describe("a prober every 50 ms", () => {
  const rounds = 60;

  it.each([
    ["icmp", [server, "fe80::1"]],
    ["arp", ["203.0.113.1", "fe80::1"]],
    ["tcp", [`${server}:80`, `${server}:81`]],
    ["http", [`http://${server}/address`]],
    ["dns", [server]],
  ] as const)("by %s loses no round, and leaves nothing open", async (type, targets) => {
    const path = await pathBy(lab, "isp1");
    const prober = new LabProber(lab, path, { ...patient, type, targets: [...targets], quorum: targets.length });
    await prober.next(10);
    const before = await prober.descriptors();
    const reported = await prober.next(rounds);
    expect(reported.filter(({ answered }) => !answered)).toEqual([]);
    // At this moment a round may be on its way.
    expect(await prober.descriptors()).toBeLessThanOrEqual(before + 2 * targets.length);
    const after = await prober.stop();
    expect(after).toBeLessThanOrEqual(before);
    expect((await sluice.status()).drops, "answers that the translator saw").toEqual({});
    expect((await router("ss --no-header --tcp state time-wait dst 192.0.2.10")).stdout, "in TIME_WAIT").toBe("");
  });

  it("leaves nothing open either when nobody answers, and has no more than its share open meanwhile", async () => {
    await lab.cut("isp1");
    const path = await pathBy(lab, "isp1");
    const targets = [1, 2, 3, 4].map((port) => `${server}:${port}`);
    const prober = new LabProber(lab, path, { ...patient, type: "tcp", targets, timeoutMs: 1500 });
    await prober.next(20);
    const while_ = await prober.descriptors();
    const after = await prober.stop();
    // 64 sockets, be it 30 rounds that fit into the timeout or not.
    expect(while_ - after).toBeGreaterThan(0);
    expect(while_ - after).toBeLessThanOrEqual(64);
    await lab.restore("isp1");
  });
});

describe("while a host inside pings as fast as it can", () => {
  it("echoes of ours get their answers, and the host its own", async () => {
    const prober = new LabProber(lab, await pathBy(lab, "isp1"), { ...patient, targets: [server] });
    await prober.next(5);
    const [flood, rounds] = await Promise.all([
      lab.exec("client1", ["ping", "-q", "-f", "-c", "20000", "-w", "20", server]),
      prober.next(20),
    ]);
    expect(rounds.filter(({ answered }) => !answered)).toEqual([]);
    // An answer of ours that a host inside were given would be a duplicate to it.
    expect(flood.stdout).not.toMatch(/duplicates|errors/);
    await prober.stop();
  });
});

describe("an uplink that changes", () => {
  it("without its address is not probed, with the reason, and again when it is back", async () => {
    const path = await pathBy(lab, "isp2");
    const prober = new LabProber(lab, path, { ...impatient, targets: [server] });
    await prober.untilRound("answered", ({ answered }) => answered);
    prober.follow({ ...path, address: null });
    await prober.untilRound("no address", ({ reason }) => reason === `${server}: no address on wan1`);
    prober.follow({ ...path, address: "198.51.100.77" });
    await prober.untilRound("not there", ({ reason }) => /the address is not on wan1/.test(reason));
    prober.follow(path);
    await prober.untilRound("answered again", ({ answered }) => answered);
    await prober.stop();
  });

  it("is probed through its deletion, and again when it was made again", async () => {
    const path = await pathBy(lab, "isp2");
    const probers = (["icmp", "arp", "tcp", "http", "dns"] as const).map((type) => {
      const targets = {
        icmp: server,
        arp: "198.51.100.1",
        tcp: `${server}:80`,
        http: `http://${server}/address`,
        dns: server,
      };
      return new LabProber(lab, path, { ...impatient, type, targets: [targets[type]] });
    });
    const untilAll = (what: string, isAnswered: boolean) =>
      Promise.all(probers.map((prober) => prober.untilRound(what, ({ answered }) => answered === isAnswered)));
    await untilAll("answered", true);

    await router("ip link delete wan1");
    await untilAll("lost", false);
    for (const prober of probers) prober.follow({ ...path, ifindex: 0, address: null, gateway: null });
    await Promise.all(
      probers.map((prober) => prober.untilRound("missing", ({ reason }) => /: wan1 is missing$/.test(reason))),
    );

    await remake();
    const again = { ...path, ifindex: await ifindexOf(lab, "wan1") };
    expect(again.ifindex).not.toBe(path.ifindex);
    for (const prober of probers) prober.follow(again);
    await untilAll("answered by the new interface", true);
    for (const prober of probers) await prober.stop();
  });

  async function remake(): Promise<void> {
    const [here, there] = [lab.namespace("router"), lab.namespace("isp2")];
    await router(`ip link add wan1 netns ${here} type veth peer name subscriber netns ${there}`);
    const setUp = "ip address add 198.51.100.1/24 dev subscriber; ip link set subscriber up";
    await lab.exec("isp2", ["sh", "-ec", setUp]);
    await router(
      "ip address add 198.51.100.2/24 dev wan1; ip link set wan1 up; ip route add default via 198.51.100.1 dev wan1 metric 200",
    );
  }
});

describe("a line without MAC headers", () => {
  let path: ProbePath;

  beforeAll(async () => {
    await startProgram(lab, "router", "tun-wire", "ppp7", "ppp8", lab.namespace("isp1"));
    await router("ip address add 198.51.100.130 peer 198.51.100.131 dev ppp7; ip link set ppp7 up");
    const farEnd = "ip address add 198.51.100.131 peer 198.51.100.130 dev ppp8; ip link set ppp8 up";
    await lab.exec("isp1", ["sh", "-ec", farEnd]);
    await startProgram(lab, "isp1", "web-server", "80");
    await startProgram(lab, "isp1", "dns-server", "198.51.100.131", "0");
    path = {
      ...{ interface: "ppp7", ifindex: await ifindexOf(lab, "ppp7"), address: "198.51.100.130", gateway: null },
      ...{ address6: null, gateway6: null, linkHeaderBytes: 0 },
    };
  });

  it.each([
    ["icmp", "198.51.100.131"],
    ["tcp", "198.51.100.131:80"],
    ["http", "http://198.51.100.131/address"],
    ["dns", "198.51.100.131"],
  ] as const)("is probed by %s", async (type, target) => {
    const rounds = await probe(lab, path, { ...patient, type, targets: [target] });
    expect(rounds.map(({ reason }) => reason)).toEqual(["", "", ""]);
  });

  it("has no ARP", async () => {
    const [round] = await probe(lab, path, { ...patient, type: "arp", targets: ["198.51.100.131"] }, 1);
    expect(round!.reason).toBe("198.51.100.131: ppp7 has no ARP: it is no Ethernet");
  });

  it("needs targets, as it has no gateway", async () => {
    const [round] = await probe(lab, path, { ...patient, targets: [] }, 1);
    expect(round!.reason).toBe("no gateway is known on ppp7");
  });
});

describe("the daemon's own probes", () => {
  it("have identifiers outside nat.ports, wherever those are: no answer is counted as unsolicited", async () => {
    await sluice.stop();
    const probe = { targets: [server, "2001:db8:ff::10"], quorum: 2, interval: "50ms" };
    const uplinks = [{ name: "isp1", interface: "wan0", probe }];
    const wide = { uplinks, nat: { ports: "1024-65535" }, workers: 1, limits: { flows: 65_536 } };
    sluice = await lab.sluice(labConfig(lab, wide));
    await until("an answer to a probe", async () => ((await sluice.status()).uplinks[0]!.rttMs ?? 0) > 0);
    const { drops, uplinks: reports } = await sluice.status();
    expect(reports).toMatchObject([{ state: "up" }]);
    expect(drops).toEqual({});
  });
});
