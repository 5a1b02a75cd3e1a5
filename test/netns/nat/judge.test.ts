/**
 * tshark judges every header and checksum on both sides of the router, in the lab's topology (scripts/lab) with all
 * offloads off, over a mix of all that sluice translates. Once more with the router's GRO on: then sluice gets and sends
 * super-packets, and what the judge sees has been cut and summed by the kernel on their authority.
 */

import { expect, it } from "vitest";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { Judge } from "../../support/judge.ts";
import { client1, client2, type Lab, server, server2, uplinkAddress } from "../../support/lab.ts";
import { ask, startMirrors } from "../../support/mirror.ts";
import { startProgram } from "../../support/programs.ts";
import { download, expectedSha256, upload } from "../../support/transfer.ts";
import { visit } from "../../support/visit.ts";

const config = {
  forwards: [
    { protocol: "tcp", port: 8080, to: `${client1}:80` },
    { protocol: "both", port: 7000, to: `${client2}:7` },
  ],
};
const links = [
  ["client1", "lan"],
  ["client2", "lan"],
  ["isp1", "subscriber"],
  ["isp2", "subscriber"],
] as const;
const mirrors = [`${server}:7`, `${server2}:7`];
const both = ["isp1", "isp2"] as const;
const bytes = 1_000_000;

async function prepare(lab: Lab): Promise<void> {
  await lab.offload("off");
  await startProgram(lab, "server", "web-server", "80");
  await startProgram(lab, "client1", "web-server", "80");
  await startMirrors(lab, "server", ...mirrors);
  await startMirrors(lab, "client2", "7");
}

describeForwarding("to an independent judge", { lab: { name: "judge" }, config, prepare }, (scene) => {
  it("every packet on either side is sound", async () => {
    const judge = new Judge(scene.lab, links);
    await judge.ready();
    await mix(scene);
    await scene.lab.gro("on");
    await transfers(scene);
    await scene.lab.gro("off");
    const judgements = await judge.stop();
    for (const [link, { packets, right, faults }] of Object.entries(judgements)) {
      expect(faults, link).toEqual([]);
      expect(right.ip, link).toBe(packets);
      for (const protocol of ["tcp", "udp", "icmp"]) expect(right[protocol], `${link} ${protocol}`).toBeGreaterThan(5);
    }
    expect(judgements["client1 lan"]!.packets).toBeGreaterThan(1000);
  });

  it("a packet with a wrong checksum is found by the judge, and forwarded as wrong as it came", async () => {
    const judge = new Judge(scene.lab, links);
    await judge.ready();
    await scene.lab.exec("client1", ["hping3", "-q", "-2", "-b", "-c", "3", "-i", "u1000", "-p", "9", server], {
      mayFail: true,
    });
    const judgements = await judge.stop();
    const found = (link: string) => judgements[link]!.faults.length;
    expect([found("client1 lan"), found("isp1 subscriber") + found("isp2 subscriber"), found("client2 lan")]).toEqual([
      3, 3, 0,
    ]);
  });
});

/** TCP both ways, datagrams whole and in fragments, pings, errors about all of them, forwards, hairpins, and the router's own. */
async function mix(scene: Scene): Promise<void> {
  const { lab } = scene;
  await transfers(scene);
  for (const host of ["client1", "client2", "router"] as const) {
    const ping = (size: number) =>
      lab.exec(host, ["ping", "-c", "10", "-i", "0.01", "-W", "5", "-s", String(size), server]);
    const words = Array.from({ length: 4 }, () => ask(lab, host, "udp", "0.0.0.0:0", mirrors));
    const trace = ["-n", "-q", "3", "-N", "16", "-m", "6", server];
    await Promise.all([
      ...[56, 3000, 20_000].map(ping),
      ...words,
      visit(lab, host, server),
      lab.exec(host, ["traceroute", ...trace]),
      lab.exec(host, ["dig", "+tries=1", "+time=5", `@${server}`, "a.test"], { mayFail: true }),
    ]);
  }
  // Not from the router, whose stack resets what this program has begun behind its back: the sniffer cannot tell that from a leak.
  await lab.exec("client1", ["traceroute", "-T", "-p", "80", "-n", "-q", "3", "-m", "6", server]);
  for (const isp of both) {
    await visit(lab, "server", `${uplinkAddress[isp]}:8080`);
    await visit(lab, "client2", `${uplinkAddress[isp]}:8080`);
    for (const protocol of ["tcp", "udp"] as const) {
      await ask(lab, "server", protocol, "0.0.0.0:0", [`${uplinkAddress[isp]}:7000`]);
      await ask(lab, "client1", protocol, "0.0.0.0:0", [`${uplinkAddress[isp]}:7000`]);
    }
  }
}

async function transfers({ lab }: Scene): Promise<void> {
  const sum = expectedSha256(bytes);
  for (const isp of both) {
    expect(await Promise.all([download(lab, isp, bytes), upload(lab, isp, bytes)])).toEqual([sum, sum]);
  }
}
