/** TCP streams through the router, in the lab's topology (scripts/lab): both directions, many at once, several hosts at once. */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { iperf, startIperf } from "../../support/iperf.ts";

const length = ["-n", "100M"];
/** iperf3 does not wait for what is still under way when the sender ends. */
const wantedBytes = 10 * 2 ** 20;

describeForwarding("TCP", { lab: { name: "tcp" }, prepare: (lab) => startIperf(lab, [5201, 5202]) }, (scene) => {
  it.each([
    ["to the server", []],
    ["from the server", ["-R"]],
    ["to the server in eight streams", ["-P", "8"]],
    ["from the server in eight streams", ["-P", "8", "-R"]],
    ["both ways at the same time", ["--bidir"]],
  ])("carries a bulk transfer %s", async (_, options) => {
    expect((await iperf(scene.lab, "client1", 5201, ...length, ...options)).bytes).toBeGreaterThan(wantedBytes);
  });

  it("carries transfers of two hosts at once", async () => {
    const received = await Promise.all([
      iperf(scene.lab, "client1", 5201, ...length, "-P", "4"),
      iperf(scene.lab, "client2", 5202, ...length, "-P", "4", "-R"),
    ]);
    for (const sum of received) expect(sum.bytes).toBeGreaterThan(wantedBytes);
  });
});
