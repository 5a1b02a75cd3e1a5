/**
 * The lab itself, with the kernel's own routing in the router: what the other tests in this directory stand on.
 * Topology: scripts/lab.
 */

import { mkdirSync, readdirSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { client1, type Lab, openLab, server, server2, uplinkAddress } from "../support/lab.ts";
import { runCommand } from "../support/process.ts";
import { snapshot } from "../support/snapshot.ts";

describe("a lab whose router has the kernel's masquerade", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await openLab({ name: "lab", masquerade: true, pathMtu: { isp2: 1300 } });
  });
  afterAll(() => lab.close());

  it("lets both clients reach the server's addresses, and no provider drops a source", async () => {
    for (const client of ["client1", "client2"] as const) {
      for (const address of [server, server2, "192.0.2.33"])
        await lab.exec(client, ["ping", "-c", "1", "-W", "2", address]);
    }
    expect(await lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  });

  it("answers each uplink's address through its own provider", async () => {
    for (const isp of lab.isps) {
      await lab.exec("router", ["ping", "-c", "1", "-W", "2", "-I", uplinkAddress[isp], server]);
      const route = await lab.exec("server", ["ip", "route", "get", uplinkAddress[isp]]);
      expect(route.stdout).toContain(`dev ${isp}`);
    }
  });

  it("carries nothing for a provider that is cut, and does again when it is restored", async () => {
    const ping = ["ping", "-c", "1", "-W", "1", server];
    await lab.cut("isp1");
    expect((await lab.exec("client1", ping, { mayFail: true })).status).toBe(1);
    await lab.restore("isp1");
    expect((await lab.exec("client1", ping)).status).toBe(0);
  });

  it("takes the router's carrier away and gives it back", async () => {
    const link = async () => (await lab.exec("router", ["ip", "-o", "link", "show", "wan1"])).stdout;
    await lab.carrier("isp2", "off");
    expect(await link()).toContain("NO-CARRIER");
    await lab.carrier("isp2", "on");
    expect(await link()).toContain("LOWER_UP");
  });

  it("has a smaller path MTU behind a provider, which answers packet-too-big", async () => {
    await lab.exec("router", ["ip", "route", "add", server2, "via", "198.51.100.1"]);
    const ping = await lab.exec("client1", ["ping", "-c", "2", "-W", "1", "-M", "do", "-s", "1400", server2], {
      mayFail: true,
    });
    expect(ping.stdout + ping.stderr).toMatch(/mtu ?= ?1300/);
  });

  it("switches the offloads of every link", async () => {
    const features = async () => (await lab.exec("router", ["ethtool", "-k", "wan0"])).stdout;
    await lab.offload("off");
    expect(await features()).toMatch(
      /tx-checksumming: off[\s\S]*tcp-segmentation-offload: off[\s\S]*generic-segmentation-offload: off/,
    );
    await lab.offload("on");
    expect(await features()).toMatch(
      /tx-checksumming: on[\s\S]*tcp-segmentation-offload: on[\s\S]*generic-segmentation-offload: on/,
    );
    await lab.gro("on");
    expect(await features()).toMatch(/generic-receive-offload: on/);
  });

  it("shapes both directions of a provider's line", async () => {
    await lab.rate("isp1", "20mbit");
    const iperfServer = lab.spawn("server", ["iperf3", "-s", "--forceflush"]);
    await iperfServer.waitFor(/listening/);
    for (const direction of [[], ["-R"]]) {
      const { stdout } = await lab.exec("client1", ["iperf3", "-J", "-t", "1", "-c", server, ...direction]);
      expect(JSON.parse(stdout).end.sum_received.bits_per_second).toBeLessThan(25e6);
    }
    await lab.rate("isp1", "none");
  });

  it("looks the same after masquerade and multipath went off again", async () => {
    await lab.masquerade("off");
    const before = await snapshot(lab, "router");
    await lab.masquerade("on");
    await lab.multipath("3:1");
    expect(await snapshot(lab, "router")).not.toEqual(before);
    await lab.multipath("off");
    await lab.masquerade("off");
    expect({ ...(await snapshot(lab, "router")), sysctls: "" }).toEqual({ ...before, sysctls: "" });
  });
});

describe("the sniffer", () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await openLab({ name: "sniffer" });
  });
  afterAll(() => lab.close());

  it("finds a packet whose source is not the uplink's own, which the provider drops and counts", async () => {
    const sniffer = await lab.sniff();
    await lab.exec("client1", ["ping", "-c", "1", "-W", "1", server], { mayFail: true });
    expect(await sniffer.stop()).toEqual([expect.stringMatching(`isp1: .*${client1} > ${server}: ICMP echo request`)]);
    expect(await lab.spoofed()).toEqual({ isp1: 1, isp2: 0 });
  });

  it("finds a reset and an unreachable of the router's own stack for a translated port", async () => {
    const sniffer = await lab.sniff();
    const knock = (kind: string, port: number) =>
      lab.exec("server", ["socat", "-u", "-T1", "-", `${kind}:${uplinkAddress.isp1}:${port}`], {
        input: "x",
        mayFail: true,
      });
    await knock("TCP", 20_000);
    await knock("UDP", 20_001);
    await knock("TCP", 40_000);
    await knock("UDP", 40_001);
    expect(await sniffer.stop()).toEqual([
      expect.stringMatching(/isp1: .*203\.0\.113\.2\.20000 > .*Flags \[R/),
      expect.stringMatching(/isp1: .*203\.0\.113\.2 udp port 20001 unreachable/),
    ]);
  });

  it("is silent about a client's own reset and unreachable that came through the router", async () => {
    await lab.masquerade("on");
    const sniffer = await lab.sniff();
    // The client's own stack answers for its closed ports.
    const translated = `tcp dport 20000 dnat to ${client1}; udp dport 20001 dnat to ${client1}`;
    await lab.exec("router", [
      "nft",
      `table ip forwards { chain in { type nat hook prerouting priority dstnat; ${translated}; }; }`,
    ]);
    for (const kind of ["TCP:203.0.113.2:20000", "UDP:203.0.113.2:20001"]) {
      await lab.exec("server", ["socat", "-u", "-T1", "-", kind], { input: "x", mayFail: true });
    }
    const translations = await lab.exec("client1", ["nstat", "-az", "TcpOutRsts", "IcmpOutDestUnreachs"]);
    expect(translations.stdout).toMatch(/IcmpOutDestUnreachs\s+1[\s\S]*TcpOutRsts\s+1/);
    expect(await sniffer.stop()).toEqual([]);
  });
});

describe("scripts/lab", () => {
  const script = new URL("../../scripts/lab", import.meta.url).pathname;
  const name = `refuse-${process.pid}`;
  const foreign = `sluice-lab-${name}-client1`;
  const call = (...words: string[]) => runCommand([script, ...words, "--name", name], { mayFail: true });
  const namespaces = () => readdirSync("/run/netns").filter((entry) => entry.includes(name));

  beforeAll(() => {
    mkdirSync("/run/netns", { recursive: true });
  });
  afterEach(async () => {
    await runCommand(["ip", "netns", "delete", foreign], { mayFail: true });
    await call("down");
  });

  it("refuses to touch a namespace that it did not make", async () => {
    await runCommand(["ip", "netns", "add", foreign]);
    for (const words of [["down"], ["up"], ["offload", "off", "client1"]]) {
      const refused = await call(...words);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(/refusing to touch|is up already|is it up/);
    }
    expect((await call("down")).stderr).toContain(`refusing to touch ${foreign}`);
    expect(namespaces()).toEqual([foreign]);
  });

  it("leaves nothing behind when it cannot come up", async () => {
    const failed = await call("up", "--rate", "isp1=nonsense");
    expect(failed.status).toBe(1);
    expect(failed.stderr).toContain("nonsense");
    expect(namespaces()).toEqual([]);
  });

  it("runs a command in a lab of its own, passes its status on and takes the lab away", async () => {
    const run = await runCommand(
      [script, "run", "--name", name, "--", "sh", "-c", `${script} exec client1 -- cat; exit 7`],
      { mayFail: true, input: "a line" },
    );
    expect(run).toEqual({ status: 7, stdout: "a line", stderr: "" });
    expect(namespaces()).toEqual([]);
  });

  it("ends what still runs in a lab that goes down", async () => {
    expect(await call("up")).toMatchObject({ status: 0 });
    const sleeper = runCommand([script, "exec", "client1", "--name", name, "--", "sleep", "1000"], { mayFail: true });
    const pids = async () => (await runCommand(["ip", "netns", "pids", `sluice-lab-${name}-client1`])).stdout;
    while ((await pids()) === "") await new Promise((resolve) => setTimeout(resolve, 10));
    await call("down");
    expect((await sleeper).status).toBe(128 + 15);
    expect(namespaces()).toEqual([]);
  });

  it("sweeps away a lab whose owner has gone, and no other", async () => {
    await runCommand(["sh", "-c", `${script} up --name ${name} --owner $$`]);
    const other = await openLab({ name: "owned" });
    await call("sweep");
    expect(namespaces()).toEqual([]);
    expect((await other.exec("client1", ["true"])).status).toBe(0);
    await other.close();
  });

  it("names what is wrong with a command line, and exits 2", async () => {
    for (const [words, complaint] of [
      [["bogus"], /unknown verb 'bogus'/],
      [["up", "--uplinks", "7"], /expected 2 or 3, not '7'/],
      [["up", "--rate", "isp9=1mbit"], /expected isp1=VALUE, not 'isp9=1mbit'/],
      [["exec", "nobody", "--", "true"], /no host is called 'nobody'/],
      [["down", "extra"], /wrong number of arguments/],
    ] as const) {
      const refused = await runCommand([script, words[0], "--name", name, ...words.slice(1)], { mayFail: true });
      expect(refused.status).toBe(2);
      expect(refused.stderr).toMatch(complaint);
    }
  });
});
