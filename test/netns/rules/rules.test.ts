/**
 * What hosts of the LAN notice of rules: one destination by one provider, one that rather fails than take another, one that
 * is left to the router's own kernel. The topology is the lab's (scripts/lab).
 */

import { expect, it } from "vitest";
import { countBy, describeForwarding } from "../../support/forwarding.ts";
import { type Lab, server, server2, uplinkAddress } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { visit, visits } from "../../support/visit.ts";

const ofServer2 = { destination: [server2] };

describeForwarding("rules", { lab: { name: "rules" }, prepare }, (scene) => {
  const isps = async (to: string, count: number) =>
    countBy(await visits(scene.lab, "client1", to, count), ({ address }) => address);
  const order = (...words: string[]) => scene.sluice.run(["uplink", ...words]);

  it("send what matches by their uplink, and by another while that is out", async () => {
    await scene.restart({ rules: [{ match: ofServer2, use: ["isp2"] }] });
    expect(await isps(server2, 20)).toEqual({ [uplinkAddress.isp2]: 20 });
    expect(Object.keys(await isps(server, 40)).sort()).toEqual([uplinkAddress.isp1, uplinkAddress.isp2].sort());
    await order("disable", "isp2");
    expect(await isps(server2, 5)).toEqual({ [uplinkAddress.isp1]: 5 });
    await order("enable", "isp2");
    expect(await isps(server2, 5)).toEqual({ [uplinkAddress.isp2]: 5 });
  });

  it("that are strict let it fail at once while their uplink is out, by an error that says so", async () => {
    await scene.restart({ rules: [{ match: ofServer2, use: ["isp2"], strict: true }] });
    await order("disable", "isp2");
    // Not 28, which would be a time-out.
    await expect(visit(scene.lab, "client1", server2)).rejects.toThrow(/exit status 7/);
    const ping = scene.lab.exec("client1", ["ping", "-c", "1", "-W", "5", server2]);
    await expect(ping).rejects.toThrow(/Destination Net Unreachable/);
    expect(await scene.drops("no-uplink")).toBeGreaterThan(0);
    expect(await isps(server, 5)).toEqual({ [uplinkAddress.isp1]: 5 });
    await order("enable", "isp2");
    expect(await isps(server2, 5)).toEqual({ [uplinkAddress.isp2]: 5 });
  });

  it("by domain hold for an address from the answer on that the client got", async () => {
    await scene.restart({
      rules: [{ match: { domain: ["example.org"], protocol: "tcp" }, use: ["isp2"], strict: true }],
    });
    expect(Object.keys(await isps(server2, 40)).sort()).toEqual([uplinkAddress.isp1, uplinkAddress.isp2].sort());
    const { stdout } = await scene.lab.exec("client1", ["dig", "+short", `@${server}`, "www.example.org"]);
    expect(stdout.trim()).toBe(server2);
    expect(await isps(server2, 20)).toEqual({ [uplinkAddress.isp2]: 20 });
    expect(Object.keys(await isps(server, 40)).sort()).toEqual([uplinkAddress.isp1, uplinkAddress.isp2].sort());
  });

  it.each([
    ["by destination", [{ match: ofServer2, bypass: true }]],
    [
      "by more, behind a rule that uses an uplink for some of it",
      [
        { match: { ...ofServer2, protocol: "tcp", destinationPort: [8080] }, use: ["isp2"] },
        { match: { ...ofServer2, protocol: "tcp" }, bypass: true },
      ],
    ],
  ])("leave what they bypass to the kernel, %s", async (_, rules) => {
    await scene.restart({ rules });
    await scene.lab.masquerade("on");
    const before = (await scene.status()).flows.opened;
    expect((await visits(scene.lab, "client1", server2, 10)).length).toBe(10);
    expect((await scene.status()).flows.opened, "flows by sluice").toBe(before);
    await visits(scene.lab, "client1", server, 10);
    expect((await scene.status()).flows.opened).toBe(before + 10);
    if (rules.length > 1) {
      expect(await visit(scene.lab, "client1", `${server2}:8080`)).toMatchObject({ address: uplinkAddress.isp2 });
      expect((await scene.status()).flows.opened).toBe(before + 11);
    }
    await scene.lab.masquerade("off");
  });
});

async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "server", "web-server", "8080");
  const quiet = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="];
  const bound = [`--listen-address=${server}`, "--bind-interfaces", "--user=root"];
  const names = lab.spawn("server", [
    "dnsmasq",
    ...quiet,
    ...bound,
    "--log-facility=-",
    `--address=/example.org/${server2}`,
  ]);
  await names.waitFor(/started/);
}
