/**
 * A host that floods, in the lab's topology (scripts/lab): client1 sends SYNs that nobody answers, ten times as many as
 * the table has rows; client2 opens connections meanwhile, has some open, and a stream running.
 */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { iperf, startIperf } from "../../support/iperf.ts";
import { client1, client2, type Lab } from "../../support/lab.ts";
import { runProgram, startProgram } from "../../support/programs.ts";
import { until } from "../../support/until.ts";

const rows = 2000;
const floodPackets = rows * 10;
const silentPort = 81;
const streamPort = 5201;
const connections = 1000;

async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "echo-server", "7");
  await startIperf(lab, [streamPort]);
  await lab.exec("server", [
    "nft",
    "add table inet quiet; add chain inet quiet in { type filter hook input priority 0; }",
  ]);
  await lab.exec("server", ["nft", `add rule inet quiet in tcp dport ${silentPort} drop`]);
}

const options = { lab: { name: "flood" }, prepare, config: { limits: { flows: rows, flowsPerHost: rows } } };

describeForwarding("a flood of SYNs from one host", options, (scene) => {
  it("costs the others none of their flows, and hardly one new connection of a hundred", {
    timeout: 120_000,
  }, async () => {
    const long = await hold(scene.lab, "client2", "tcp", 40);
    await long.untilAnswered(40);
    const before = await mappedPorts();
    const stream = iperf(scene.lab, "client2", streamPort, "-t", "8", "-b", "20M");
    const flood = [
      "hping3",
      "-q",
      "-S",
      "-i",
      "u100",
      "-c",
      String(floodPackets),
      "-p",
      String(silentPort),
      "192.0.2.20",
    ];
    // It has no answers to count, and says so by its exit status.
    const flooded = scene.lab.exec("client1", flood, { mayFail: true, timeoutMs: 60_000 });
    await until("a full table", async () => (await scene.status()).flows.active > rows * 0.9);
    const made = await runProgram(
      scene.lab,
      "client2",
      "open-many",
      String(connections),
      "4",
      "close",
      "any",
      "7",
      "192.0.2.21",
    );
    await flooded;
    expect((made as { opened: number }).opened).toBeGreaterThanOrEqual(connections * 0.99);
    expect((await stream).bytes).toBeGreaterThan(15_000_000);
    long.send();
    await long.untilAnswered(40);
    expect(long.closed).toEqual([]);
    expect(await mappedPorts()).toEqual(before);
    const flows = await scene.flows();
    const unanswered = flows.filter(
      ({ source, destinationPort }) => source === client1 && destinationPort === silentPort,
    );
    expect(unanswered.length, "the flood has filled the table").toBeGreaterThan(rows * 0.8);
    const { flows: totals, drops } = await scene.status();
    expect(totals.opened).toBeGreaterThan(floodPackets * 0.99);
    expect([drops["flow-table-full"], drops["host-flow-limit"], drops["no-port"]]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    await long.stop();
  });

  const mappedPorts = async () => {
    const flows = await scene.flows();
    const own = flows.filter(({ source, destinationPort }) => source === client2 && destinationPort === 7);
    // Short ones of the meantime are over.
    return new Map(
      own
        .filter(({ state }) => state === "established")
        .map(({ sourcePort, mappedAddress, mappedPort }) => [sourcePort, `${mappedAddress} ${mappedPort}`]),
    );
  };
});
