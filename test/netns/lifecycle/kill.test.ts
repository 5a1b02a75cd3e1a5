/**
 * `kill -9` under load: the LAN's traffic goes on by the kernel's ordinary routes, here with the kernel's own
 * masquerade, and a start under the same load takes it over again. The topology is the lab's (scripts/lab).
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab, server } from "../../support/lab.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { Connections, kinds, serve } from "./load.ts";

describe.each([1, 2])("with %i workers, new connections without a pause and a transfer both ways", (workers) => {
  let lab: Lab;
  let connections: Connections[];

  beforeAll(async () => {
    lab = await openLab({ name: "kill", masquerade: true, rate: { isp1: "100mbit", isp2: "100mbit" } });
    await serve(lab);
    await lab.spawn("server", ["iperf3", "-s", "--forceflush"]).waitFor(/listening/);
    connections = [new Connections(lab, "client1"), new Connections(lab, "client2"), new Connections(lab, "router")];
  });
  afterAll(() => lab.close());

  const settle = async () => {
    const failed = await Promise.all(connections.map((connection) => connection.untilSucceeding(30)));
    return failed.reduce((sum, count) => sum + count, 0);
  };

  it("takes them over, leaves them to the kernel when it is killed, and takes them over again", async ({
    annotate,
  }) => {
    await settle();
    const first = await startSluice(lab, smallConfig(lab, { workers }));
    await annotate(`start: ${await settle()} connections failed before 30 in a row succeeded`);
    const transfer = lab.spawn("client1", ["iperf3", "--bidir", "-t", "60", "--forceflush", "-c", server]);
    // An interval that begins after a second; how long it is depends on the machine.
    await transfer.waitFor(/ [1-9]\.\d\d-/);

    await first.kill9();
    await annotate(`kill -9: ${await settle()} connections failed before 30 in a row succeeded`);
    for (const connection of connections) expect(kinds(connection.ways)).toEqual(["isp1"]);

    const second = await startSluice(lab, smallConfig(lab, { workers }), { args: ["--socket", first.socket] });
    await annotate(`start after kill -9: ${await settle()} connections failed before 30 in a row succeeded`);
    for (const connection of connections) expect(kinds(connection.ways)).toEqual(["isp1", "isp2"]);

    expect(await second.stop()).toBe(0);
    await annotate(`SIGTERM: ${await settle()} connections failed before 30 in a row succeeded`);
    for (const connection of connections) expect(kinds(connection.ways)).toEqual(["isp1"]);
  });
});
