/**
 * Which uplink a flow takes, and that it keeps it, in the lab's topology (scripts/lab) with three providers: by
 * connection where the kernel's default goes by the two hosts alone, by weight, and for life.
 */

import { expect, it } from "vitest";
import { describeForwarding, type Scene, weighted } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { gatewayAddress, type Isp, type Lab, server } from "../../support/lab.ts";
import { runProgram, startProgram } from "../../support/programs.ts";
import { download, expectedSha256 } from "../../support/transfer.ts";
import { until } from "../../support/until.ts";
import { type Visit, visits } from "../../support/visit.ts";

/** Lines so slow that a transfer takes a second or two. */
const threeLines = { name: "balance", uplinks: 3, rate: { isp1: "500mbit", isp2: "500mbit" } } as const;

describeForwarding("the choice of an uplink", { lab: threeLines, prepare }, (scene) => {
  it("is one for all connections of two hosts with the kernel's default hash, and one for each with sluice", async () => {
    const { lab } = scene;
    let byKernel: Visit[] = [];
    await scene.restart({}, async () => {
      await lab.multipath("1:1:1");
      await lab.exec("router", ["sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=0"]);
      byKernel = await visits(lab, "client1", server, 32);
      await lab.multipath("off");
    });
    const bySluice = await visits(lab, "client1", server, 32);
    const ways = [byKernel, bySluice].map((seen) => new Set(seen.map(({ address }) => address)).size);
    expect(ways).toEqual([1, 3]);
  });

  it.each([
    [3, 1],
    [1, 1],
    [11, 45],
  ])("splits 20,000 connections %i:%i, by sluice's own count and by the providers'", async (...weights) => {
    const count = 20_000;
    await scene.restart({ ...weighted(...weights), nat: { ports: "16384-49151" } });
    const seenBefore = await countConnections(scene.lab);
    const options = [String(count), "64", "reset", "2000", "7", server];
    const made = await runProgram(scene.lab, "client1", "open-many", ...options);
    expect(made).toEqual({ opened: count, failed: {} });

    const { uplinks, flows } = await scene.status();
    expect(flows.opened).toBe(count);
    const seen = await countConnections(scene.lab);
    const wanted = weights[0]! / (weights[0]! + weights[1]!);
    for (const [first, second] of [uplinks.map((uplink) => uplink.flows), seen.map((all, i) => all - seenBefore[i]!)]) {
      expect(first! + second!).toBeGreaterThanOrEqual(count);
      expect(Math.abs(first! / (first! + second!) - wanted)).toBeLessThan(0.015);
    }
  });

  it("is kept for life when another one is lost, whose connections end, and new flows avoid that one until it is back", async () => {
    const { lab } = scene;
    await scene.restart({});
    const tcp = await hold(lab, "client1", "tcp", 120);
    const udp = await hold(lab, "client2", "udp", 60);
    await tcp.untilAnswered(120);
    await udp.untilAnswered(60);
    const bytes = 2 ** 26;
    const transfers = [download(lab, "isp1", bytes), download(lab, "isp2", bytes)];
    await until("both transfers are under way", async () =>
      (await scene.status()).uplinks.slice(0, 2).every(({ rxBytes }) => rxBytes > 2 ** 20),
    );
    const before = await waysOfFlows(scene);
    expect(new Set(before.values())).toEqual(new Set(["isp1", "isp2", "isp3"]));

    await lab.exec("router", ["ip", "link", "set", "wan2", "down"]);
    await until("isp3 is down", async () => (await stateOf(scene, "isp3")) === "down");
    const [doomed, staying] = [portsOf(before, "tcp", "isp3"), portsOf(before, "tcp", "isp1", "isp2")];
    await until("resets of isp3's connections", () => tcp.closed.length >= doomed.length);
    tcp.send();
    udp.send();
    await tcp.untilAnswered(staying);
    expect(tcp.closed.sort()).toEqual(doomed.sort());
    // Those of isp3 from the same socket, by another mapping.
    await udp.untilAnswered(portsOf(before, "udp", "isp1", "isp2", "isp3"));
    for (const transfer of transfers) expect(await transfer).toBe(expectedSha256(bytes));
    const newcomers = await hold(lab, "client2", "tcp", 40);
    await newcomers.untilAnswered(40);
    const after = await waysOfFlows(scene);
    for (const [flow, way] of before) if (way !== "isp3") expect(after.get(flow)).toBe(way);
    for (const [flow, way] of after) expect(before.has(flow) || way !== "isp3").toBe(true);

    await lab.exec("router", ["ip", "link", "set", "wan2", "up"]);
    const route = `default via ${gatewayAddress.isp3} dev wan2 metric 300`;
    await lab.exec("router", ["ip", "route", "add", ...route.split(" ")]);
    await until("isp3 is up", async () => (await stateOf(scene, "isp3")) === "up");
    const returned = await hold(lab, "client2", "tcp", 40);
    await returned.untilAnswered(40);
    const inTheEnd = await waysOfFlows(scene);
    expect([...inTheEnd].filter(([flow, way]) => way === "isp3" && !after.has(flow))).not.toEqual([]);
    for (const holder of [tcp, udp, newcomers, returned]) await holder.stop();
  });
});

/** The uplink of every flow that there is; a flow is named by all that must never change: "tcp 192.168.10.2 40000 7 203.0.113.2 20000". */
async function waysOfFlows(scene: Scene): Promise<Map<string, string>> {
  const flows = await scene.flows();
  return new Map(
    flows.map((flow) => [
      [flow.protocol, flow.source, flow.sourcePort, flow.destinationPort, flow.mappedAddress, flow.mappedPort].join(
        " ",
      ),
      flow.uplink,
    ]),
  );
}

/** The source ports of the echo server's flows over these uplinks. */
function portsOf(ways: Map<string, string>, protocol: string, ...isps: string[]): number[] {
  const words = [...ways].filter(([, way]) => isps.includes(way)).map(([flow]) => flow.split(" "));
  return words.filter(([name, , , port]) => name === protocol && port === "7").map(([, , port]) => Number(port));
}

async function stateOf(scene: Scene, isp: Isp): Promise<string> {
  return (await scene.status()).uplinks.find(({ name }) => name === isp)!.state;
}

/** Servers, and in each provider a counter of the connections that come from the router. */
async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "server", "echo-server", "7");
  const rule = 'iifname "subscriber" tcp flags & (syn | ack) == syn counter';
  for (const isp of lab.isps) {
    await lab.exec(isp, ["nft", `table ip connections { chain c { type filter hook forward priority 0; ${rule}; }; }`]);
  }
}

async function countConnections(lab: Lab): Promise<number[]> {
  const tables = await Promise.all(lab.isps.map((isp) => lab.exec(isp, ["nft", "list", "table", "ip", "connections"])));
  return tables.map(({ stdout }) => Number(/packets (\d+)/.exec(stdout)![1]));
}
