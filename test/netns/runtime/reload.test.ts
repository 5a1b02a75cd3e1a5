/**
 * The file is read again, again and again, while transfers and a stream run over both uplinks: nothing of theirs is lost. By SIGHUP as by
 * the command. The topology is the lab's (scripts/lab).
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isFull } from "../../support/forwarding.ts";
import { type Lab, openLab, server } from "../../support/lab.ts";
import type { TransferRecord } from "../../support/programs/transfers.ts";
import { startProgram } from "../../support/programs.ts";
import type { Sluice } from "../../support/sluice.ts";
import { until } from "../../support/until.ts";
import { flowsOf, logOf, smallConfig, startSluice, statusOf } from "../lifecycle/daemon.ts";
import { kinds, Stream, serve } from "../lifecycle/load.ts";

const reloads = isFull ? 50 : 12;
/** So many that both uplinks have some, although one gets twice as many: all take it once in 400,000 runs. */
const transfers = 32;

describe("a reload", () => {
  let lab: Lab;
  let sluice: Sluice;

  /** Changes that keep every flow: weights, the order of the uplinks, probes, rules, groups, policy, hooks. */
  const variant = (number: number) => {
    const isp1 = { name: "isp1", interface: "wan0", weight: 1 + (number % 3), onDown: "keep" };
    const probe = { interval: "100ms", timeout: "2s", down: 100 };
    const isp2 = {
      ...{ name: "isp2", interface: "wan1", weight: 1 + ((number + 1) % 2) },
      ...(number % 2 === 1 && { probe }),
    };
    return smallConfig(lab, {
      uplinks: number % 2 === 1 ? [isp2, isp1] : [isp1, isp2],
      // Of every uplink, in whatever order.
      forwards: [{ protocol: "tcp", port: 8080, to: "192.168.10.2:80" }],
      balance: { policy: number % 4 === 3 ? "least-busy" : "weighted-hash" },
      ...(number % 3 === 2 && {
        groups: [{ name: "both", uplinks: { isp1: 1, isp2: 5 } }],
        rules: [{ match: { destination: [`198.51.100.${number}`] }, use: ["both"] }],
      }),
      hooks: { up: "/bin/true", timeout: `${1 + number}s` },
    });
  };

  beforeAll(async () => {
    lab = await openLab({ name: "reloads" });
    await serve(lab);
    await startProgram(lab, "server", "load-server", "9");
    sluice = await startSluice(lab, variant(0));
  });
  afterAll(() => lab?.close());

  it(`${reloads} times under load loses no flow, and no byte or datagram of one`, async () => {
    const stream = new Stream(lab);
    await stream.ready();
    const load = await startProgram(lab, "client1", "transfers", String(transfers), "endless", "200000", "9", server);
    const own = async () => (await flowsOf(sluice)).filter(({ destinationPort }) => destinationPort === 9);
    const before = new Map((await own()).map(({ sourcePort, uplink }) => [sourcePort, uplink]));
    expect(kinds([...before.values()])).toEqual(["isp1", "isp2"]);

    for (let number = 1; number <= reloads; number++) {
      sluice.write(variant(number));
      const { stdout } = await sluice.run(["reload"]);
      expect(stdout).toMatch(/^uplink isp1: weight$/m);
      expect(stdout).toMatch(/^hooks changed$/m);
    }
    expect(new Map((await own()).map(({ sourcePort, uplink }) => [sourcePort, uplink]))).toEqual(before);
    const events = () => load.stdout.split("\n").filter((line) => line.startsWith("{"));
    const seen = events().length;
    await until("every transfer goes on", () => {
      const later = events()
        .slice(seen, -1)
        .map((line) => JSON.parse(line) as TransferRecord);
      const moving = later.flatMap((record) => (record.event === "bytes" ? Object.keys(record.bytes) : []));
      return new Set(moving).size === transfers;
    });
    expect(events().filter((line) => line.includes('"event":"end"'))).toEqual([]);
    await load.stop();
    expect((await stream.stop()).lost).toEqual([]);
  });

  it("that asks for nothing new says so", async () => {
    expect((await sluice.run(["reload"])).stdout).toBe("nothing has changed\n");
  });

  it("by SIGHUP does the same and says so in the log", async () => {
    sluice.write(variant(reloads + 1));
    const [first] = (await statusOf(sluice)).uplinks;
    sluice.signal("SIGHUP");
    await until("it has been read", () => logOf(sluice).some(({ msg }) => msg === "the configuration was read again"));
    expect((await statusOf(sluice)).uplinks[0]!.weight).not.toBe(first!.weight);
  });

  it("of a bad file changes nothing and says why: the command with exit code 2, SIGHUP in the log", async () => {
    const before = await statusOf(sluice);
    sluice.write({ ...variant(0), uplinks: [{ name: "isp1", interface: "wan0", weight: -1 }] });
    const { status, stdout, stderr } = await sluice.run(["reload"], { mayFail: true });
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/sluice.yaml:\d+:\d+: uplinks\[0\].weight: is too small \(got -1; expected a whole number/);
    expect(stderr).toMatch(/\nsluice: not reloaded: everything is as it was\n$/);
    sluice.signal("SIGHUP");
    await until("it is in the log", () =>
      logOf(sluice).some(({ level, msg }) => level === "error" && /^not reloaded: .*weight: is too small/.test(msg)),
    );
    const after = await statusOf(sluice);
    expect(after.uplinks.map(({ name, weight, state }) => [name, weight, state])).toEqual(
      before.uplinks.map(({ name, weight, state }) => [name, weight, state]),
    );
  });

  it("of an uplink that goes says what keeps it: a forward of every uplink", async () => {
    sluice.write({ ...variant(0), uplinks: [{ name: "isp1", interface: "wan0" }] });
    expect((await sluice.run(["reload"], { mayFail: true })).stderr).toMatch(
      /^forwards: cannot change while sluice runs; restart it for that, or name the uplinks of those that are for all/,
    );
  });

  it("leaves a daemon that ends as it should", async () => {
    expect(await sluice.stop()).toBe(0);
  });
});
