/**
 * Prefix translation (RFC 6296): every host inside has an address of its own in each uplink's prefix, and filtering
 * lets the outside in.
 *
 *   fd00:10::2 ─ router ─ isp1 ─ 2001:db8:101:....::2 ─ server
 *                       └ isp2 ─ 2001:db8:102:....::2 ─┘
 */

import { expect, it } from "vitest";
import { parseAddress6 } from "../../../src/wire/ipv6.ts";
import { describeForwarding, type Scene } from "../../support/forwarding.ts";
import { iperfTo, startIperf } from "../../support/iperf.ts";
import { client1v6, client2v6, delegatedPrefix, type Lab, server6, uplinkAddress6 } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { type Visit, visit } from "../../support/visit.ts";

const web = `[${server6}]`;
const config = {
  uplinks: (["isp1", "isp2"] as const).map((name, i) => ({
    name,
    interface: `wan${i}`,
    ipv6: { prefix: delegatedPrefix[name] },
  })),
  nat: { insidePrefix: "fd00:10::/48", filtering: "endpoint-independent" },
};

describeForwarding(
  "prefix translation",
  { lab: { name: "nptv6", ipv6: true }, config, prepare, sniff: { prefixes: true } },
  (scene) => {
    it("gives each host one address in each uplink's prefix, checksum-neutral, and keeps its ports", async () => {
      for (const [host, address] of [
        ["client1", client1v6],
        ["client2", client2v6],
      ] as const) {
        const seen = await visits(scene, host);
        expect([...new Set(seen.map((each) => each.address))].sort()).toEqual([
          expect.stringMatching(/^2001:db8:101:.*::\d$/),
          expect.stringMatching(/^2001:db8:102:.*::\d$/),
        ]);
        for (const each of seen) {
          expect(sumOf(each.address)).toBe(sumOf(address));
          expect(each.port).toBe(each.ownPort);
        }
      }
    });

    it.each(["isp1", "isp2"] as const)("lets the server reach a host by its address of %s", async (isp) => {
      const outside = await outsideAddress(scene, isp);
      const inside = await visit(scene.lab, "server", `[${outside}]`);
      expect(inside.address).toBe(server6);
      await scene.lab.exec("server", ["ping", "-c", "2", "-i", "0.2", "-W", "5", outside]);
      const flow = await scene.flow({ sourcePort: 80, destinationPort: inside.ownPort });
      expect(flow).toMatchObject({ source: client1v6, mappedAddress: outside, mappedPort: 80, uplink: isp });
    });

    it.each(["isp1", "isp2"] as const)("lets one host reach another by its address of %s", async (isp) => {
      const seen = await visit(scene.lab, "client2", `[${await outsideAddress(scene, isp)}]`);
      expect(seen.address).toMatch(/^2001:db8:10[12]:.*::3$/);
    });

    it.each([
      ["to the server", []],
      ["from the server", ["-R"]],
    ])("carries TCP %s", async (_, options) => {
      const sum = await iperfTo(scene.lab, "client1", server6, 5201, "-n", "100M", "-P", "4", ...options);
      expect(sum.bytes).toBeGreaterThan(10 * 2 ** 20);
    });

    it("carries echoes of 2,700 bytes in fragments, both ways", async () => {
      const ping = (target: string) => ["ping", "-c", "2", "-i", "0.2", "-W", "5", "-s", "2700", target];
      await scene.lab.exec("client1", ping(server6));
      await scene.lab.exec("server", ping(await outsideAddress(scene, "isp1")));
    });

    it("is one hop to traceroute", async () => {
      const { stdout } = await scene.lab.exec("client1", ["traceroute", "-6", "-n", "-w", "5", "-q", "1", server6]);
      expect(stdout.trim().split("\n").slice(1)).toHaveLength(3);
    });

    it("masquerades the router's own connections", async () => {
      for (const { address } of await visits(scene, "router"))
        expect([uplinkAddress6.isp1, uplinkAddress6.isp2]).toContain(address);
    });
  },
);

async function prepare(lab: Lab): Promise<void> {
  await startIperf(lab, [5201]);
  for (const host of ["server", "client1"] as const) await startProgram(lab, host, "web-server", "80", "::");
}

/** So many that all miss an uplink once in eight million times. */
function visits({ lab }: Scene, host: "client1" | "client2" | "router"): Promise<Visit[]> {
  return Promise.all(Array.from({ length: 24 }, () => visit(lab, host, web)));
}

/** What the server sees of client1 when it comes by this uplink. */
async function outsideAddress(scene: Scene, isp: "isp1" | "isp2"): Promise<string> {
  const start = delegatedPrefix[isp].replace("::/48", ":");
  const seen = await visits(scene, "client1");
  return seen.find(({ address }) => address.startsWith(start))!.address;
}

/** The ones' complement sum of an address's sixteen-bit words, which the translation keeps. */
function sumOf(address: string): number {
  const sum = parseAddress6(address)!.reduce((total, word) => total + (word >>> 16) + (word & 0xffff), 0);
  return sum % 0xffff;
}
