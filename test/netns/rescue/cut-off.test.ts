/**
 * What the hosts of the LAN notice when a provider dies behind its gateway: connections over it end with an error at once,
 * datagrams go on by the other from the same socket, and whoever has the other notices nothing. The topology is
 * the lab's (scripts/lab).
 */

import { afterEach, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { impair } from "../../support/impairment.ts";
import { type Lab, server, uplinkAddress } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const probe = { targets: [server], interval: "200ms", timeout: "500ms", down: 3, up: 3 };
/** So many that each uplink has some: one in a million times one has none. */
const sockets = 20;
const uplinks = ["wan0", "wan1"].map((name, i) => ({ name: `isp${i + 1}`, interface: name, probe, holdDown: "0s" }));

describeForwarding("a provider that dies", { lab: { name: "cut-off" }, config: { uplinks }, prepare }, (scene) => {
  afterEach(async () => {
    await impair(scene.lab, "isp1", {});
    await isp1Is("up");
  });

  const isp1Is = (state: string) =>
    until(`isp1 ${state}`, async () => (await scene.status()).uplinks[0]!.state === state);
  const portsOnIsp1 = async (protocol: string) =>
    (await scene.flows())
      .filter((flow) => flow.protocol === protocol && flow.destinationPort === 7 && flow.state !== "closed")
      .filter((flow) => flow.mappedAddress === uplinkAddress.isp1)
      .map(({ sourcePort }) => sourcePort)
      .sort();

  it("takes its connections with it and no others, and lets datagrams go on by another", async () => {
    const tcp = await hold(scene.lab, "client1", "tcp", sockets);
    const udp = await hold(scene.lab, "client1", "udp", sockets);
    await Promise.all([tcp.untilAnswered(sockets), udp.untilAnswered(sockets)]);
    const doomed = await portsOnIsp1("tcp");
    expect(doomed.length).toBeGreaterThan(0);
    expect(doomed.length).toBeLessThan(sockets);
    expect((await portsOnIsp1("udp")).length).toBeGreaterThan(0);

    await impair(scene.lab, "isp1", { drop: "beyond" });
    await until("the end of all connections by isp1", () => tcp.closed.length >= doomed.length);
    udp.send();
    tcp.send();
    await Promise.all([tcp.untilAnswered(sockets - doomed.length), udp.untilAnswered(sockets)]);
    expect(tcp.closed.sort()).toEqual(doomed);
    expect(await portsOnIsp1("udp")).toEqual([]);
    await Promise.all([tcp.stop(), udp.stop()]);
  });
});

async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "echo-server", "7");
}
