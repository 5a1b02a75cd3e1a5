/**
 * What `sluice uplink` orders while connections run, in the lab's topology (scripts/lab): an uplink is drained, disabled,
 * enabled again and weighed, and whoever is not concerned notices nothing.
 */

import { expect, it } from "vitest";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { type Holder, hold } from "../../support/holder.ts";
import { startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";
import { connectTimes, kinds, serve } from "../lifecycle/load.ts";

const prepare = async (lab: Scene["lab"]) => {
  await serve(lab);
  await startProgram(lab, "server", "echo-server", "7");
};
// What is over is soon forgotten, so that an uplink is soon empty.
const config = { nat: { timeouts: { tcpTransitory: "1s", udp: "2s" } } };

describeForwarding("an order", { lab: { name: "orders" }, config, prepare }, (scene) => {
  const uplink = (...words: string[]) => scene.sluice.run(["uplink", ...words], { mayFail: true });
  /** The source ports of a holder's flows on an uplink. Those that an earlier one has left are none of its own. */
  const portsOn = async (name: string, holder: Holder) => {
    const own = new Set(holder.answered);
    return (await scene.flows())
      .filter((flow) => flow.uplink === name && flow.destinationPort === 7 && own.has(flow.sourcePort))
      .map(({ sourcePort }) => sourcePort)
      .sort();
  };

  async function holdOnBoth(): Promise<Holder> {
    const holder = await hold(scene.lab, "client1", "tcp", 24);
    await holder.untilAnswered(24);
    for (const name of ["isp1", "isp2"]) expect(await portsOn(name, holder)).not.toEqual([]);
    return holder;
  }

  it("to drain leaves the connections that live, gives it no more, and --wait ends when the last has gone", async () => {
    const holder = await holdOnBoth();
    const drained = await portsOn("isp1", holder);
    const waiting = scene.lab.spawn("router", [
      "bin/sluice", "uplink", "drain", "isp1", "--wait", "--socket", scene.sluice.socket,
    ]); // biome-ignore format: a command
    await waiting.waitFor(/isp1 is draining: \d+ flows? left/);
    expect(kinds(await connectTimes(scene.lab, 30))).toEqual(["isp2"]);
    holder.send();
    await holder.untilAnswered(drained);
    expect(waiting.ended).toBe(false);
    const shown = await scene.sluice.run(["status"]);
    expect(shown.stdout).toMatch(/^isp1 +draining/m);
    expect(shown.stdout).toContain("isp1 is draining: drained by the operator");

    await holder.stop();
    expect(await waiting.exited).toBe(0);
    const counts = [...waiting.stdout.matchAll(/: (\d+) flows? left/g)].map(([, count]) => Number(count));
    expect(counts[0]).toBeGreaterThanOrEqual(drained.length);
    expect(counts).toEqual([...counts].sort((a, b) => b - a));
    expect(counts.at(-1)).toBe(0);

    expect((await uplink("enable", "isp1")).stdout).toBe("isp1 is up, weight 1\n");
    expect(kinds(await connectTimes(scene.lab, 40))).toEqual(["isp1", "isp2"]);
  });

  it("to disable ends its connections at once, and nobody else's", async () => {
    const holder = await holdOnBoth();
    const [ending, staying] = [await portsOn("isp1", holder), await portsOn("isp2", holder)];
    expect((await uplink("disable", "isp1")).stdout).toBe("isp1 is disabled\n");
    await until("the connections of isp1 are reset", () => holder.closed.length === ending.length);
    expect([...holder.closed].sort()).toEqual(ending);
    holder.send();
    await holder.untilAnswered(staying);
    expect(kinds(await connectTimes(scene.lab, 30))).toEqual(["isp2"]);
    await uplink("enable", "isp1");
    expect(kinds(await connectTimes(scene.lab, 40))).toEqual(["isp1", "isp2"]);
    await holder.stop();
  });

  it("to weigh changes the share of new connections, and moves none that lives", async () => {
    const holder = await holdOnBoth();
    const before = await portsOn("isp2", holder);
    expect((await uplink("weight", "isp1", "9")).stdout).toBe("isp1 is up, weight 9\n");
    const count = 600;
    const outcomes = await connectTimes(scene.lab, count);
    const share = outcomes.filter((isp) => isp === "isp1").length / count;
    // Five times the standard deviation.
    expect(Math.abs(share - 0.9)).toBeLessThan(0.062);
    expect(await portsOn("isp2", holder)).toEqual(before);
    await uplink("weight", "isp1", "1");
    await holder.stop();
  });

  it("about an uplink that is not there changes nothing and names those that are", async () => {
    const { status, stderr } = await uplink("disable", "isp9");
    expect([status, stderr]).toEqual([2, 'sluice: there is no uplink named "isp9"; there are isp1, isp2\n']);
    expect((await scene.status()).uplinks.map(({ state }) => state)).toEqual(["up", "up"]);
  });
});
