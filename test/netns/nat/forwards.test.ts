/**
 * Ports of the uplinks that lead inside, in the lab's topology (scripts/lab): to hosts on the LAN and to the
 * router itself, by TCP and UDP, single and in ranges, on both uplinks at once. Mirrors stand where the
 * forwards lead and tell the visitor what they see of it.
 *
 *   server ─ isp1 | isp2 ─ 203.0.113.2 | 198.51.100.2 router ─ client1 .2, client2 .3
 */

import { expect, it } from "vitest";
import { countBy, describeForwarding, type Scene } from "../../support/forwarding.ts";
import {
  client1,
  client2,
  type Host,
  type Isp,
  type Lab,
  routerLan,
  server,
  uplinkAddress,
} from "../../support/lab.ts";
import { addressOf, ask, startMirrors } from "../../support/mirror.ts";
import { startProgram } from "../../support/programs.ts";
import { visit } from "../../support/visit.ts";

const isps: Isp[] = ["isp1", "isp2"];
const uplinks = isps.map((isp) => uplinkAddress[isp]);
/** The server is many visitors: it has all of these addresses. */
const visitors = Array.from({ length: 8 }, (_, i) => `192.0.2.${20 + i}`);

const forwards = [
  { uplink: isps, protocol: "tcp", port: 8080, to: `${client1}:80` },
  { uplink: isps, protocol: "udp", port: 8080, to: `${client2}:7` },
  { protocol: "both", port: "37000-37009", to: `${client2}:7000-7009` },
  { protocol: "both", port: 2222, to: `${routerLan}:22` },
  { uplink: "isp2", protocol: "tcp", port: 25, to: `${client1}:25` },
];

async function startServers(lab: Lab): Promise<void> {
  await startProgram(lab, "client1", "web-server", "80");
  await startProgram(lab, "router", "web-server", "80");
  await startMirrors(lab, "client1", "25");
  await startMirrors(lab, "client2", "7", ...Array.from({ length: 10 }, (_, i) => String(7000 + i)));
  await startMirrors(lab, "router", `${routerLan}:22`);
  await startMirrors(lab, "server", "7");
}

const options = { lab: { name: "forwards" }, config: { forwards }, prepare: startServers };

describeForwarding("a forwarded port", options, (scene) => {
  it.each([
    ["tcp", "a host on the LAN", 37_000],
    ["udp", "a host on the LAN", 37_000],
    ["udp", "another host than the TCP port of that number", 8080],
    ["tcp", "the router itself", 2222],
    ["udp", "the router itself", 2222],
  ] as const)(
    "leads by %s to %s, on both uplinks at once, and nobody's address is hidden",
    async (protocol, _, port) => {
      const doors = uplinks.map((address) => `${address}:${port}`);
      const answers = await Promise.all(
        visitors.map((visitor) => askEach(scene, "server", protocol, `${visitor}:0`, doors)),
      );
      expect(answers.map((seen) => seen.map(addressOf))).toEqual(visitors.map((visitor) => [visitor, visitor]));
    },
  );

  it.each(["tcp", "udp"] as const)("is one of a range by %s: each leads to its own port inside", async (protocol) => {
    const ports = Array.from({ length: 10 }, (_, i) => i);
    const doors = ports.map((i) => `${uplinks[i % 2]}:${37_000 + i}`);
    const seen = await ask(scene.lab, "server", protocol, `${server}:0`, doors);
    expect(seen.map(addressOf)).toEqual(ports.map(() => server));
    const flows = (await scene.flows()).filter((flow) => flow.protocol === protocol && flow.destination === server);
    for (const i of ports) {
      const inside = { source: client2, sourcePort: 7000 + i };
      expect(flows).toContainEqual(expect.objectContaining({ ...inside, mappedPort: 37_000 + i, uplink: isps[i % 2] }));
    }
  });

  it.each(isps)("answers through %s, by which the question came, whatever the balance would say", async (isp) => {
    const before = await packetsOf(scene);
    for (const visitor of visitors) {
      const { ownAddress, address } = await visit(
        scene.lab,
        "server",
        `${uplinkAddress[isp]}:8080`,
        "--interface",
        visitor,
      );
      expect([ownAddress, address]).toEqual([visitor, visitor]);
    }
    const after = await packetsOf(scene);
    for (const each of isps) {
      const [sent, received] = after[each]!.map((packets, direction) => packets - before[each]![direction]!);
      if (each === isp) expect([sent! >= 2 * visitors.length, received! >= 2 * visitors.length]).toEqual([true, true]);
      else expect([sent, received]).toEqual([0, 0]);
    }
    expect(await scene.lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  });

  it("brings a megabyte out by each uplink at the same time", async () => {
    const fetch = (isp: Isp) =>
      scene.lab.exec("server", [
        "bash",
        "-c",
        `curl -sf http://${uplinkAddress[isp]}:8080/via/${server}/1000000 | wc -c`,
      ]);
    const sizes = await Promise.all(isps.map(fetch));
    expect(sizes.map(({ stdout }) => stdout.trim())).toEqual(["1000000", "1000000"]);
  });

  it("is open on the uplinks that were named, and on no other", async () => {
    const doors = uplinks.map((address) => `${address}:25`);
    // On the first it is the router's own port 25, where nobody listens.
    expect((await ask(scene.lab, "server", "tcp", `${server}:0`, doors)).map(addressOf)).toEqual([
      "ECONNREFUSED",
      server,
    ]);
  });

  it.each(["tcp", "udp"] as const)(
    "is reached by %s from the LAN too, by a visitor with an outside address",
    async (protocol) => {
      const doors = uplinks.map((address) => `${address}:37005`);
      const seen = await askEach(scene, "client1", protocol, "0.0.0.0:0", doors);
      for (const address of seen.map(addressOf)) expect(uplinks).toContain(address);
    },
  );

  it("takes no port of a translated flow and no connection that the host behind it begins", async () => {
    const seen = await ask(scene.lab, "client2", "udp", `0.0.0.0:7100`, [`${server}:7`]);
    expect(Number(seen[0]!.split(":")[1])).toBeGreaterThanOrEqual(16_384);
    expect(Number(seen[0]!.split(":")[1])).toBeLessThanOrEqual(32_767);
  });
});

describeForwarding("a service of the router's own, beside forwarded ports", options, (scene) => {
  it("is reached on every uplink's address and answers by that uplink, and sluice has no part in it", async () => {
    const { opened } = (await scene.status()).flows;
    const fetch = (isp: Isp, visitor: string) => visit(scene.lab, "server", uplinkAddress[isp], "--interface", visitor);
    const visits = await Promise.all(isps.flatMap((isp) => visitors.map((visitor) => fetch(isp, visitor))));
    expect(countBy(visits, ({ address }) => address)).toEqual(Object.fromEntries(visitors.map((each) => [each, 2])));
    expect((await scene.status()).flows.opened).toBe(opened);
    expect(await scene.lab.spoofed()).toEqual({ isp1: 0, isp2: 0 });
  });
});

/** From a port for each: one visitor's port cannot come to one port inside by two uplinks at once, since the host there could not tell them apart. */
async function askEach(
  { lab }: Scene,
  host: Host,
  protocol: "tcp" | "udp",
  from: string,
  doors: readonly string[],
): Promise<(string | null)[]> {
  return (await Promise.all(doors.map((door) => ask(lab, host, protocol, from, [door])))).flat();
}

/** Packets that sluice sent and received by each uplink. */
async function packetsOf(scene: Scene): Promise<Record<string, number[]>> {
  const { uplinks } = await scene.status();
  return Object.fromEntries(uplinks.map(({ name, txPackets, rxPackets }) => [name, [txPackets, rxPackets]]));
}
