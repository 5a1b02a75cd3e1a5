/** Pings through the router, in the lab's topology (scripts/lab): whole and in fragments, one host and several, each with its own identifiers. */

import { expect, it } from "vitest";
import { countBy, describeForwarding } from "../../support/forwarding.ts";
import { type Host, type Lab, server, server2 } from "../../support/lab.ts";

describeForwarding("a ping", { lab: { name: "ping" } }, (scene) => {
  it.each([
    ["of 56 bytes", ["-s", "56"]],
    ["of 1,472 bytes, an MTU full, not to be cut", ["-s", "1472", "-M", "do"]],
    ["of 3,000 bytes, in three fragments both ways", ["-s", "3000", "-M", "dont"]],
    ["of 60,000 bytes, in 41 fragments both ways", ["-s", "60000", "-M", "dont"]],
    ["without a byte", ["-s", "0"]],
  ])("%s is answered each time", async (_, options) => {
    await pingFive(scene.lab, "client1", server, ...options);
  });

  it("of each of many at once is answered, whole or in fragments, and both uplinks carry some", async () => {
    const pings = Array.from({ length: 24 }, (_, i) =>
      pingFive(
        scene.lab,
        i % 2 === 0 ? "client1" : "client2",
        i % 4 < 2 ? server : server2,
        ...["-s", i % 3 === 0 ? "3000" : "100"],
      ),
    );
    await Promise.all(pings);
    const flows = (await scene.flows()).filter(({ protocol }) => protocol === "icmp");
    expect(Object.keys(countBy(flows, ({ uplink }) => uplink)).sort()).toEqual(["isp1", "isp2"]);
    expect(new Set(flows.map(({ mappedAddress, mappedPort }) => `${mappedAddress} ${mappedPort}`)).size).toBe(
      flows.length,
    );
  });
});

/**
 * Pings until five answers are there, for ten seconds: without -w ping gives the last answer only two round
 * trips' time, and a busy machine lets it wait longer than that. Throws when they do not come.
 */
async function pingFive(lab: Lab, host: Host, to: string, ...options: string[]): Promise<void> {
  await lab.exec(host, ["ping", "-c", "5", "-i", "0.02", "-w", "10", ...options, to]);
}
