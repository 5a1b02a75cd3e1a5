/**
 * What the way looks like to those who ask for it: the router is one hop, in both directions.
 *
 *   client1 ─ router ─ isp1 | isp2 ─ server
 */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { gatewayAddress, routerLan, server, uplinkAddress } from "../../support/lab.ts";

describeForwarding("traceroute", { lab: { name: "traceroute" } }, (scene) => {
  it.each([
    ["UDP", []],
    ["ICMP", ["-I"]],
    ["TCP", ["-T"]],
  ])("by %s shows router, provider and server", async (_, options) => {
    const { stdout } = await scene.lab.exec("client1", ["traceroute", "-n", "-q", "1", ...options, server]);
    const [first, second, ...rest] = hops(stdout);
    expect(first).toEqual([routerLan]);
    expect([[gatewayAddress.isp1], [gatewayAddress.isp2]]).toContainEqual(second);
    expect(rest).toEqual([[server]]);
  });

  it("with ten probes of the second hop, each of its own flow, meets both providers", async () => {
    const trace = ["traceroute", "-n", "-q", "10", "-f", "2", "-m", "2", server];
    const { stdout } = await scene.lab.exec("client1", trace);
    expect(new Set(hops(stdout)[0])).toEqual(new Set([gatewayAddress.isp1, gatewayAddress.isp2]));
  });

  it("from outside along a flow shows provider and router, which answers from the flow's address", async () => {
    // A connected socket that stays open, so that the flow's last hop is silent.
    const dial = `exec 3<>/dev/udp/${server}/5300; echo hello >&3; exec sleep 60`;
    const talker = scene.lab.spawn("client1", ["bash", "-c", dial]);
    const flow = await scene.flow({ destinationPort: 5300 });
    const trace = await scene.lab.exec("server", [
      ...["traceroute", "-n", "-U", "-q", "1", "-N", "1", "-w", "0.5", "-m", "3"],
      ...["--sport=5300", "-p", String(flow.mappedPort), "-s", server, flow.mappedAddress],
    ]);
    await talker.stop();
    const isp = flow.uplink === "isp1" ? "isp1" : "isp2";
    expect(hops(trace.stdout).slice(0, 2)).toEqual([
      [{ isp1: "192.0.2.65", isp2: "192.0.2.69" }[isp]],
      [uplinkAddress[isp]],
    ]);
  });
});

/** The addresses of each hop, in traceroute's order. */
function hops(stdout: string): string[][] {
  const lines = stdout.trim().split("\n").slice(1);
  return lines.map((line) => line.match(/\d+\.\d+\.\d+\.\d+/g) ?? []);
}
