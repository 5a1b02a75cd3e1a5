/**
 * What the other commands say about a running sluice: the shapes that INTERFACE.md fixes and figures that add
 * up to what was sent. How they are printed is tested in test/unit/cli. The topology is the lab's (scripts/lab).
 */

import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { client1, type Lab, openLab, server, uplinkAddress } from "../../support/lab.ts";
import type { Sluice } from "../../support/sluice.ts";
import type { Isp } from "../../support/topology.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { connectTimes, Stream, serve } from "./load.ts";

const command = fileURLToPath(new URL("../../../bin/sluice", import.meta.url));
const number = expect.any(Number);
const text = expect.any(String);

describe.each([1, 2])("of a daemon with %i workers", (workers) => {
  let lab: Lab;
  let sluice: Sluice;
  const connections = 40;
  const pings = 5;

  beforeAll(async () => {
    lab = await openLab({ name: "commands" });
    await serve(lab);
    sluice = await startSluice(lab, smallConfig(lab, { workers }));
    await connectTimes(lab, connections);
    await lab.exec("client1", ["ping", "-c", String(pings), "-i", "0.01", "-s", "100", server]);
  });
  afterAll(() => lab.close());

  it("status --json has every key of its shape, and counts what went through", async () => {
    const status = await sluice.status();
    const uplink = (index: number) => ({
      name: lab.isps[index],
      interface: `wan${index}`,
      address: uplinkAddress[lab.isps[index]!],
      gateway: text,
      weight: 1,
      targetRatio: 0.5,
      tier: 1,
      state: "up",
      reason: "",
      ipv6: { address: null, gateway: null, state: "down", reason: "no address" },
      rttMs: null,
      lossRatio: null,
      jitterMs: null,
      degraded: false,
      flows: number,
      openFlows: number,
      txBytes: number,
      rxBytes: number,
      txPackets: number,
      rxPackets: number,
    });
    expect(status).toEqual({
      version: text,
      uptimeSeconds: number,
      workers,
      io: "shim",
      uplinks: [uplink(0), uplink(1)],
      flows: { active: connections + 1, tcp: connections, udp: 0, icmp: 1, other: 0, opened: connections + 1 },
      drops: expect.any(Object),
    });
    const sum = (key: "flows" | "txPackets" | "rxPackets" | "txBytes") =>
      status.uplinks.reduce((total, row) => total + row[key], 0);
    expect(sum("flows")).toBe(connections + 1);
    // SYN, ACK, FIN at the least.
    expect(sum("txPackets")).toBeGreaterThanOrEqual(connections * 3 + pings);
    expect(sum("txBytes")).toBeGreaterThanOrEqual(sum("txPackets") * 40);
    expect(status.drops).toEqual({});
  });

  it("flows --json has every key of its shape, and the figures of a flow that is known", async () => {
    const flows = await sluice.flows();
    expect(flows).toHaveLength(connections + 1);
    const ping = flows.find((flow) => flow.protocol === "icmp")!;
    expect(ping).toEqual({
      protocol: "icmp",
      source: client1,
      sourcePort: number,
      destination: server,
      destinationPort: number,
      uplink: text,
      mappedAddress: uplinkAddress[ping.uplink as Isp],
      mappedPort: number,
      state: text,
      ageSeconds: number,
      idleSeconds: number,
      txBytes: pings * 128,
      rxBytes: pings * 128,
      txPackets: pings,
      rxPackets: pings,
    });
    for (const flow of flows) {
      expect(flow.mappedAddress).toBe(uplinkAddress[flow.uplink as Isp]);
      expect(flow.mappedPort).toBeGreaterThanOrEqual(16_384);
      expect(flow.mappedPort).toBeLessThanOrEqual(32_767);
    }
  });

  it("flows takes --uplink and --limit, and is a table without --json", async () => {
    const status = await sluice.status();
    for (const { name, flows } of status.uplinks) {
      const listed = await sluice.flows("--uplink", name);
      expect(listed.map((flow) => flow.uplink)).toEqual(Array(flows).fill(name));
    }
    expect(await sluice.flows("--limit", "7")).toHaveLength(7);
    expect(await sluice.flows("--limit", "1", "--uplink", "isp2")).toMatchObject([{ uplink: "isp2" }]);
    const table = (await sluice.run(["flows"])).stdout;
    expect(table.match(/198\.51\.100\.2|203\.0\.113\.2/g)!.length).toBeGreaterThanOrEqual(connections);
    const refused = await sluice.run(["flows", "--uplink", "isp9"], { mayFail: true });
    expect([refused.status, refused.stderr]).toEqual([
      2,
      'sluice: there is no uplink named "isp9"; there are isp1, isp2\n',
    ]);
  });

  it("status shows a live flow's uplink on a terminal in colours, and without in a pipe or with NO_COLOR", async () => {
    const stream = new Stream(lab);
    await stream.ready();
    const words = `${command} status --socket ${sluice.socket}`;
    const onTerminal = async (env: Record<string, string>) =>
      (
        await lab.exec("router", ["env", "-u", "CI", "script", "-qec", words, "/dev/null"], {
          env: { TERM: "xterm", ...env },
        })
      ).stdout;
    expect(await onTerminal({ NO_COLOR: "" })).toContain("\x1b[");
    const plain = await onTerminal({ NO_COLOR: "1" });
    expect(plain).not.toContain("\x1b[");
    expect(plain).toMatch(/^UPLINK +STATE[\s\S]*^isp1 +up[\s\S]*^isp2 +up/m);
    expect((await sluice.run(["status"])).stdout).not.toContain("\x1b[");
    await stream.stop();
  });

  it("check and doctor find nothing to complain about while it runs", async () => {
    const check = await sluice.run(["check", "-c", sluice.configFile]);
    expect([check.stdout, check.stderr]).toEqual([`${sluice.configFile}: no problems\n`, ""]);
    const doctor = await lab.exec("router", [command, "doctor", "-c", sluice.configFile, "--json"]);
    const items = JSON.parse(doctor.stdout) as {
      name: string;
      ok: boolean;
      needed: boolean;
      detail: string;
      fix: string;
    }[];
    expect(items.filter((item) => !item.ok && item.needed)).toEqual([]);
    expect(items.map((item) => item.name)).toEqual(
      expect.arrayContaining([
        "privileges",
        "ip",
        "nft",
        "native shim",
        "TUN",
        "packet sockets",
        "net.ipv4.ip_forward",
      ]),
    );
    expect((await lab.exec("router", [command, "version"])).stdout).toMatch(/^sluice \d+\.\d+\.\d+/);
  });
});
