/**
 * What comes in without having been asked for, in the lab's topology (scripts/lab): for the translator's ports
 * there is silence, from sluice and from the router's own stack, and a count. And the proof that the sniffer
 * of these tests would see it if there were not.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import {
  gatewayAddress,
  type Lab,
  openLab,
  server,
  server2,
  uplinkAddress,
  uplinkInterface,
} from "../../support/lab.ts";
import { runProgram, startProgram } from "../../support/programs.ts";
import { labConfig, type Sluice } from "../../support/sluice.ts";
import { until } from "../../support/until.ts";

const startEcho = (lab: Lab) => startProgram(lab, "server", "echo-server", "7");

describeForwarding("a stranger", { lab: { name: "stranger" }, prepare: startEcho }, (scene) => {
  it.each([
    ["tcp", "the server", "server", server],
    ["udp", "the server", "server", server],
    ["tcp", "the provider", "isp1", gatewayAddress.isp1],
    ["udp", "the provider", "isp1", gatewayAddress.isp1],
  ] as const)(
    "who knocks by %s from %s at a thousand ports hears nothing, and each knock is counted",
    async (protocol, _, host, from) => {
      const before = await scene.drops("unsolicited");
      const { opened } = (await scene.status()).flows;
      const ports = ["20000", "20999"];
      const heard = await runProgram(scene.lab, host, "knock", protocol, uplinkAddress.isp1, ...ports, from);
      expect(heard).toEqual({ sent: 1000, answers: {} });
      expect((await scene.drops("unsolicited")) - before).toBeGreaterThanOrEqual(1000);
      expect((await scene.status()).flows.opened).toBe(opened);
    },
  );

  it("who knows the port of a flow is not let in to it, from another address or another port", async () => {
    const friend = await hold(scene.lab, "client1", "udp", 1);
    await friend.untilAnswered(1);
    const { mappedAddress, mappedPort, rxPackets } = await scene.flow({ protocol: "udp" });
    const before = await scene.drops("unsolicited");
    for (const source of [`${server2}:7`, `${server}:8`]) {
      const stranger = `UDP:${mappedAddress}:${mappedPort},bind=${source},reuseaddr`;
      await scene.lab.exec("server", ["socat", "-u", "-", stranger], { input: "9\n" });
    }
    await until("both are dropped", async () => (await scene.drops("unsolicited")) === before + 2);
    friend.send();
    await friend.untilAnswered(1);
    expect((await scene.flow({ protocol: "udp" })).rxPackets).toBe(rxPackets + 1);
    await friend.stop();
  });

  it("gets the refusal of the router's own stack for a port that is not the translator's", async () => {
    const ports = ["40000", "40009"];
    for (const protocol of ["tcp", "udp"]) {
      const heard = await runProgram(scene.lab, "server", "knock", protocol, uplinkAddress.isp2, ...ports, server);
      expect(heard).toEqual({ sent: 10, answers: { ECONNREFUSED: 10 } });
    }
  });
});

describe("the sniffer, beside a running sluice", () => {
  let lab: Lab;
  let sluice: Sluice;

  beforeAll(async () => {
    lab = await openLab({ name: "leak" });
    sluice = await lab.sluice(labConfig(lab));
    await sluice.waitFor(/is forwarding/);
  });
  afterAll(() => lab.close());

  it("reports a packet that a route of the administrator's leads past the translator", async () => {
    const sniffer = await lab.sniff();
    await lab.exec("router", ["ip", "route", "add", server2, "via", gatewayAddress.isp2, "dev", uplinkInterface.isp2]);
    await lab.exec("client1", ["ping", "-c", "1", "-W", "1", server2], { mayFail: true });
    expect(await sniffer.stop()).toEqual([
      expect.stringMatching(/isp2: .*192\.168\.10\.2 > 192\.0\.2\.11: ICMP echo request/),
    ]);
  });

  it("reports the stack's own answer for a port that it takes for the translator's", async () => {
    const sniffer = await lab.sniff({ firstPort: 40_000, lastPort: 40_001 });
    await runProgram(lab, "server", "knock", "tcp", uplinkAddress.isp1, "40000", "40000", server);
    await runProgram(lab, "server", "knock", "udp", uplinkAddress.isp1, "40001", "40001", server);
    expect(await sniffer.stop()).toEqual([
      expect.stringMatching(/isp1: .*203\.0\.113\.2\.40000 > .*Flags \[R/),
      expect.stringMatching(/isp1: .*203\.0\.113\.2 udp port 40001 unreachable/),
    ]);
  });
});
