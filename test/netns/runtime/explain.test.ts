/**
 * What `sluice explain` says a connection would get, it gets: asked before it is opened, in the lab's topology (scripts/lab), with
 * a rule for one of the server's addresses.
 */

import { expect, it } from "vitest";
import { requestJson } from "../../../src/control/client.ts";
import type { ExplainReport } from "../../../src/control/report.ts";
import { describeForwarding } from "../../support/forwarding.ts";
import { hold } from "../../support/holder.ts";
import { client1, type Isp, type Lab, server, server2, uplinkAddress } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { visit } from "../../support/visit.ts";

const prepare = async (lab: Lab) => {
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "server", "echo-server", "7");
};
const config = { rules: [{ match: { destination: [server2], protocol: "tcp" }, use: ["isp2"], strict: true }] };

describeForwarding("an explanation", { lab: { name: "explain" }, config, prepare }, (scene) => {
  const explain = (source: string, destination: string) => {
    const query = new URLSearchParams({ source, destination });
    return requestJson<ExplainReport>(scene.sluice.socket, `/explain?${query}`);
  };
  /** The client does not use a port again so soon. */
  const firstPort = () => 30_000 + 1000 * scene.workers;
  const ispOf = (address: string) =>
    (Object.keys(uplinkAddress) as Isp[]).find((isp) => uplinkAddress[isp] === address);

  it("foretells the uplink of each connection, and opens none", async () => {
    const told: Record<string, number> = {};
    for (let port = firstPort(); port < firstPort() + 30; port++) {
      const { uplink, existing, decidedBy } = await explain(`${client1}:${port}`, `${server}:80`);
      expect([existing, decidedBy]).toEqual([null, "table"]);
      const { address } = await visit(scene.lab, "client1", server, "--local-port", String(port));
      expect(ispOf(address)).toBe(uplink);
      told[uplink!] = (told[uplink!] ?? 0) + 1;
    }
    expect(Object.keys(told).sort()).toEqual(["isp1", "isp2"]);
    const before = (await scene.status()).flows.opened;
    for (let port = 35_000; port < 35_050; port++) await explain(`${client1}:${port}`, `${server}:80`);
    expect((await scene.status()).flows.opened).toBe(before);
  });

  it("names the rule, by number and by what it says", async () => {
    const { rule, uplink } = await explain(`${client1}:${firstPort() + 50}`, `${server2}:80`);
    expect(rule).toMatchObject({ number: 0, strict: true, bypass: false });
    expect(uplink).toBe("isp2");
    const { address } = await visit(scene.lab, "client1", server2, "--local-port", String(firstPort() + 50));
    expect(ispOf(address)).toBe("isp2");
    const { stdout } = await scene.sluice.run(["explain", client1, `${server2}:80`]);
    expect(stdout).toMatch(/^takes isp2: /m);
    expect(stdout).toMatch(/^rule +rules\[0\]: .*192\.0\.2\.11.*strict$/m);
  });

  it("tells of a connection that exists, and that it keeps its uplink when the others are out", async () => {
    const holder = await hold(scene.lab, "client1", "tcp", 8);
    await holder.untilAnswered(8);
    const flow = (await scene.flows()).find(
      ({ uplink, destinationPort }) => uplink === "isp1" && destinationPort === 7,
    )!;
    await scene.sluice.run(["uplink", "drain", "isp1"]);
    const report = await explain(`${client1}:${flow.sourcePort}`, `${server}:7`);
    expect(report).toMatchObject({
      existing: { uplink: "isp1", mappedPort: flow.mappedPort },
      uplink: "isp1",
      decidedBy: "flow",
    });
    expect(report.candidates.find(({ name }) => name === "isp1")).toMatchObject({ state: "draining", shareRatio: 0 });
    expect((await explain(`${client1}:50000`, `${server}:7`)).uplink).toBe("isp2");
    await scene.sluice.run(["uplink", "enable", "isp1"]);
    await holder.stop();
  });
});
