/**
 * When ports, flows or a host's share run out, in the lab's topology (scripts/lab): short connections go on
 * with the ports of those that ended, what finds no room is dropped and counted, and what lives, lives on.
 *
 * SLUICE_TEST_FULL=1 makes the short connections ten times as many.
 */

import { beforeAll, describe, expect, it } from "vitest";
import { countBy, describeForwarding, isFull, type Scene } from "../../support/forwarding.ts";
import { type Holder, hold } from "../../support/holder.ts";
import { client1, client2, type Lab } from "../../support/lab.ts";
import { runProgram, startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const startEcho = (lab: Lab) => startProgram(lab, "server", "echo-server", "7");
const destinations = Array.from({ length: 20 }, (_, i) => `192.0.2.${20 + i}`);

describeForwarding("when room is scarce", { lab: { name: "scarcity" }, prepare: startEcho }, (scene) => {
  describe("300 ports", () => {
    beforeAll(() => scene.restart({ nat: { ports: "20000-20299" } }));
    const count = isFull ? 200_000 : 20_000;

    it(`serve ${count} short connections as fast as they come, and no long one loses its own`, {
      timeout: 300_000,
    }, async () => {
      const long = await hold(scene.lab, "client2", "tcp", 40);
      await long.untilAnswered(40);
      const before = await mappedPorts();
      const options = [String(count), "64", "close", "any", "7", ...destinations];
      const made = await runProgram(scene.lab, "client1", "open-many", ...options);
      expect(made).toEqual({ opened: count, failed: {} });
      long.send();
      await long.untilAnswered(40);
      expect(long.closed).toEqual([]);
      expect(await mappedPorts()).toEqual(before);
      expect((await scene.status()).drops["no-port"] ?? 0).toBe(0);
      await long.stop();
    });

    it("serve a thousand TCP connections at once, to different places", async () => {
      const holder = await hold(scene.lab, "client1", "tcp", 1000, { addresses: destinations });
      await holder.untilAnswered(1000);
      await holder.stop();
    });

    it("serve so many UDP sockets on each uplink, and what finds none is dropped and counted", async () => {
      const holders = [await hold(scene.lab, "client1", "udp", 700), await hold(scene.lab, "client2", "udp", 700)];
      await countedOrAnswered(scene, holders, "no-port", 1400);
      const flows = (await scene.flows()).filter(({ protocol }) => protocol === "udp");
      expect(countBy(flows, ({ uplink }) => uplink)).toEqual({ isp1: 300, isp2: 300 });
      expect(new Set(flows.map(({ mappedAddress, mappedPort }) => `${mappedAddress} ${mappedPort}`)).size).toBe(600);
      for (const holder of holders) await holder.stop();
    });

    const mappedPorts = async () => {
      const flows = (await scene.flows()).filter(({ source, protocol }) => source === client2 && protocol === "tcp");
      return new Map(
        flows.map(({ sourcePort, mappedAddress, mappedPort }) => [sourcePort, `${mappedAddress} ${mappedPort}`]),
      );
    };
  });

  it("a full flow table drops and counts what is new, and what it has lives on", async () => {
    await scene.restart({ limits: { flows: 64 } });
    const old = await hold(scene.lab, "client2", "tcp", 10);
    await old.untilAnswered(10);
    const newcomers = await hold(scene.lab, "client1", "udp", 200);
    await countedOrAnswered(scene, [newcomers], "flow-table-full", 200);
    const late = await refused("flow-table-full", 50);
    expect(newcomers.answered.length).toBeLessThanOrEqual(54);
    expect((await scene.status()).flows.active).toBeLessThanOrEqual(64);

    old.send();
    await old.untilAnswered(10);
    const winners = newcomers.answered;
    newcomers.send();
    await newcomers.untilAnswered(winners);
    for (const holder of [old, newcomers, late]) await holder.stop();
  });

  it("a host's share of flows ends its own new flows and nobody else's", async () => {
    await scene.restart({ limits: { flowsPerHost: 20 } });
    const greedy = await hold(scene.lab, "client1", "udp", 100);
    await countedOrAnswered(scene, [greedy], "host-flow-limit", 100);
    const late = await refused("host-flow-limit", 50);
    expect((await scene.flows()).filter(({ source }) => source === client1)).toHaveLength(20);

    const modest = await hold(scene.lab, "client2", "udp", 5);
    await modest.untilAnswered(5);
    const winners = greedy.answered;
    greedy.send();
    await greedy.untilAnswered(winners);
    for (const holder of [greedy, modest, late]) await holder.stop();
  });

  /** Sockets that come when all flows there are have been answered: every one's datagram is dropped for this reason. */
  async function refused(reason: string, count: number): Promise<Holder> {
    const before = await scene.drops(reason);
    const late = await hold(scene.lab, "client1", "udp", count);
    await until(`${count} dropped as ${reason}`, async () => (await scene.drops(reason)) === before + count);
    expect(late.answered).toEqual([]);
    return late;
  }
});

/**
 * Waits until each of so many first datagrams was answered or counted as dropped for this reason, or its answer as unsolicited,
 * because its flow had given way to a later one by then: none may be neither.
 */
async function countedOrAnswered(
  scene: Scene,
  holders: readonly Holder[],
  reason: string,
  sent: number,
): Promise<void> {
  const answered = () => holders.reduce((sum, holder) => sum + holder.answered.length, 0);
  await until(
    `${sent} datagrams answered or counted as ${reason}`,
    async () => answered() + (await scene.drops(reason)) + (await scene.drops("unsolicited")) === sent,
  );
  expect(answered()).toBeLessThan(sent);
}
