/**
 * What the way looks like to those who ask for it: the router is one hop, in both directions.
 *
 * traceroute waits as long as it is told with -w: by default it gives up after ten times as long as a later hop took.
 *
 *   client1 ─ router ─ isp1 | isp2 ─ server
 */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { gatewayAddress, routerLan, server, uplinkAddress } from "../../support/lab.ts";

const traceroute = ["traceroute", "-n", "-w", "5"];

describeForwarding("traceroute", { lab: { name: "traceroute" } }, (scene) => {
  it.each([
    ["UDP", []],
    ["ICMP", ["-I"]],
    ["TCP", ["-T"]],
  ])("by %s shows router, provider and server", async (_, options) => {
    const { stdout } = await scene.lab.exec("client1", [...traceroute, "-q", "1", ...options, server]);
    const [first, second, ...rest] = hops(stdout);
    expect(first).toEqual([routerLan]);
    expect([[gatewayAddress.isp1], [gatewayAddress.isp2]]).toContainEqual(second);
    expect(rest).toEqual([[server]]);
  });

  it("with thirty probes of the second hop, each of its own flow, meets both providers", async () => {
    // It takes ten probes a hop at most, and both sides of a coin show in ten throws but for one time in 500.
    const ports = ["33434", "34434", "35434"];
    const traces = ports.map((port) => [...traceroute, "-q", "10", "-f", "2", "-m", "2", "-p", port, server]);
    const found = await Promise.all(traces.map((trace) => scene.lab.exec("client1", trace)));
    const met = found.flatMap(({ stdout }) => hops(stdout)[0]!);
    expect(new Set(met)).toEqual(new Set([gatewayAddress.isp1, gatewayAddress.isp2]));
  });

  it("from outside along a flow shows provider and router, which answers from the flow's address", async () => {
    // A connected socket that stays open. The third hop would be the host itself, and silent.
    const dial = `exec 3<>/dev/udp/${server}/5300; echo hello >&3; exec sleep 60`;
    const talker = scene.lab.spawn("client1", ["bash", "-c", dial]);
    const flow = await scene.flow({ destinationPort: 5300 });
    const trace = await scene.lab.exec("server", [
      ...[...traceroute, "-U", "-q", "1", "-N", "1", "-m", "2"],
      ...["--sport=5300", "-p", String(flow.mappedPort), "-s", server, flow.mappedAddress],
    ]);
    await talker.stop();
    const isp = flow.uplink === "isp1" ? "isp1" : "isp2";
    expect(hops(trace.stdout)).toEqual([[{ isp1: "192.0.2.65", isp2: "192.0.2.69" }[isp]], [uplinkAddress[isp]]]);
  });
});

/** The addresses of each hop, in traceroute's order. */
function hops(stdout: string): string[][] {
  const lines = stdout.trim().split("\n").slice(1);
  return lines.map((line) => line.match(/\d+\.\d+\.\d+\.\d+/g) ?? []);
}
