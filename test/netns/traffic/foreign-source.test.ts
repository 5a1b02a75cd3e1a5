/** Sources that no network inside has, in the lab's topology (scripts/lab): dropped by name until the kernel has a route back to them. */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { client1, type Lab, server } from "../../support/lab.ts";
import { until } from "../../support/until.ts";

/** A neighbour of an uplink's: what has no route at all, the kernel's loose rp_filter drops before us. */
const foreign = "203.0.113.99";

const options = { lab: { name: "foreign" }, prepare: swallowAnswers };

describeForwarding("a source that is not in the LAN's networks", options, (scene) => {
  const ping = (source: string) =>
    scene.lab.exec("client1", ["ping", "-n", "-c", "1", "-W", "1", "-I", source, server], { mayFail: true });

  it("gets nowhere, until the router has a route back to it, and again when that is gone", async () => {
    const { lab } = scene;
    await lab.exec("client1", ["ip", "addr", "replace", `${foreign}/32`, "dev", "lo"]);
    const before = await scene.drops("foreign-source");
    expect((await ping(foreign)).status).not.toBe(0);
    expect(await scene.drops("foreign-source")).toBe(before + 1);
    expect((await ping(client1)).status).toBe(0);

    await lab.exec("router", ["ip", "route", "replace", foreign, "via", client1]);
    await until("an answer to the routed network", async () => (await ping(foreign)).status === 0);
    await lab.exec("router", ["ip", "route", "del", foreign]);
    await until("a drop by name", async () => {
      const dropped = await scene.drops("foreign-source");
      await ping(foreign);
      return (await scene.drops("foreign-source")) > dropped;
    });
  });

  it("is not this machine's own, from any of its addresses", async () => {
    const { lab } = scene;
    await lab.exec("router", ["ip", "addr", "replace", "198.18.9.9/32", "dev", "lo"]);
    const ping = ["ping", "-n", "-c", "1", "-W", "1", "-I", "198.18.9.9", server];
    await until("an answer", async () => (await lab.exec("router", ping, { mayFail: true })).status === 0);
    await lab.exec("router", ["ip", "addr", "del", "198.18.9.9/32", "dev", "lo"]);
  });
});

/**
 * An answer may come when the route back has just gone: the kernel would ask for its destination on the uplink, and tell
 * the server after three seconds that there is none, about a flow and by sluice, which the sniffer takes for the stack's own.
 */
async function swallowAnswers(lab: Lab): Promise<void> {
  const rule = `ip daddr ${foreign} oifname "wan0" drop`;
  const table = `table ip nowhere { chain forward { type filter hook forward priority 0; ${rule}; }; }`;
  await lab.exec("router", ["nft", table]);
}
