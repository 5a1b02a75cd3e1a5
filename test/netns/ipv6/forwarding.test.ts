/** IPv6 through the router, as IPv4: in the lab's topology (scripts/lab, --ipv6), shared among two uplinks. */

import { beforeEach, expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import { iperfTo, startIperf } from "../../support/iperf.ts";
import { client1v6, type Lab, routerLan6, server6, uplinkAddress6 } from "../../support/lab.ts";
import { startProgram } from "../../support/programs.ts";
import { visit } from "../../support/visit.ts";

const web = `[${server6}]`;
const providers = ["2001:db8:1::1", "2001:db8:2::1"];
/** iperf3 does not wait for what is still under way when the sender ends. */
const wantedBytes = 10 * 2 ** 20;
/** At this rate nothing is lost, unless the machine is busy elsewhere: then iperf3's own sockets overflow. */
const mostLost = 0.5;

describeForwarding("IPv6", { lab: { name: "ipv6", ipv6: true }, prepare }, (scene) => {
  it.each(["client1", "router"] as const)("answers pings of %s, which cost as many hops as there are", async (host) => {
    const { stdout } = await scene.lab.exec(host, ["ping", "-c", "3", "-i", "0.2", "-w", "10", server6]);
    expect(stdout).toContain(`ttl=${host === "router" ? 63 : 62} `);
    expect(stdout).toContain(" 3 received");
  });

  it("shares connections among the uplinks, each from that uplink's address, and lists them as text", async () => {
    const seen = await Promise.all(Array.from({ length: 20 }, () => visit(scene.lab, "client1", web)));
    expect(new Set(seen.map(({ address }) => address))).toEqual(new Set([uplinkAddress6.isp1, uplinkAddress6.isp2]));
    const last = seen.at(-1)!;
    const flow = await scene.flow({ protocol: "tcp", sourcePort: last.ownPort });
    expect(flow).toMatchObject({ source: client1v6, destination: server6, destinationPort: 80 });
    expect(flow).toMatchObject({ mappedAddress: last.address, mappedPort: last.port });
    const table = await scene.sluice.run(["flows"]);
    expect(table.stdout).toContain(`[${client1v6}]:${last.ownPort}`);
  });

  it.each([
    ["to the server", []],
    ["from the server", ["-R"]],
    ["both ways in four streams", ["-P", "4", "--bidir"]],
  ])("carries TCP %s", async (_, options) => {
    const sum = await iperfTo(scene.lab, "client1", server6, 5201, "-n", "100M", ...options);
    expect(sum.bytes).toBeGreaterThan(wantedBytes);
  });

  it.each([
    ["to the server", []],
    ["from the server", ["-R"]],
  ])("carries UDP %s", async (_, options) => {
    const udp = ["-u", "-b", "20M", "-t", "1", "-l", "1200"];
    const sum = await iperfTo(scene.lab, "client1", server6, 5201, ...udp, ...options);
    expect(sum.lost_packets! / sum.packets!).toBeLessThan(mostLost);
  });

  it("carries the router's own connections from an uplink's address", async () => {
    const seen = await Promise.all(Array.from({ length: 10 }, () => visit(scene.lab, "router", web)));
    for (const { address } of seen) expect(Object.values(uplinkAddress6)).toContain(address);
  });

  it.each([
    ["UDP", []],
    ["ICMP", ["-I"]],
    ["TCP", ["-T"]],
  ])("is one hop to traceroute by %s", async (_, options) => {
    const { stdout } = await scene.lab.exec("client1", [
      "traceroute",
      "-6",
      "-n",
      "-w",
      "5",
      "-q",
      "1",
      ...options,
      server6,
    ]);
    const hops = stdout
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/)[1]);
    expect(hops).toEqual([routerLan6, expect.toSatisfy((hop: string) => providers.includes(hop)), server6]);
  });
});

describeForwarding(
  "IPv6 over paths of other sizes",
  { lab: { name: "ipv6-path", ipv6: true, pathMtu: { isp1: 1400, isp2: 1300 } }, prepare },
  (scene) => {
    // A host remembers a path's MTU by its destination.
    beforeEach(() => scene.lab.exec("client1", ["ip", "-6", "route", "flush", "cache"]));

    it("has its path MTU found by tracepath", async () => {
      const found = await Promise.all(
        Array.from({ length: 16 }, async (_, i) => {
          const target = `2001:db8:ff::${20 + i}`;
          const { stdout } = await scene.lab.exec("client1", ["tracepath", "-6", "-n", "-m", "5", target]);
          expect(stdout).toMatch(/hops 3 back 3/);
          return /Resume: pmtu (\d+)/.exec(stdout)![1];
        }),
      );
      expect(new Set(found)).toEqual(new Set(["1400", "1300"]));
    });

    it.each([
      ["to the server", []],
      ["from the server", ["-R"]],
    ])("carries TCP %s", async (_, options) => {
      const sum = await iperfTo(scene.lab, "client1", server6, 5201, "-n", "100M", "-P", "4", ...options);
      expect(sum.bytes).toBeGreaterThan(wantedBytes);
    });
  },
);

describeForwarding(
  "IPv6 over uplinks that are narrower than the LAN",
  { lab: { name: "ipv6-mtu", ipv6: true, mtu: { isp1: 1400, isp2: 1300 } }, prepare },
  (scene) => {
    // A host remembers a path's MTU by its destination.
    beforeEach(() => scene.lab.exec("client1", ["ip", "-6", "route", "flush", "cache"]));

    it("is told to the sender: by the kernel what fits no uplink, by sluice what does not fit the flow's", async () => {
      const told = await Promise.all(
        Array.from({ length: 16 }, async (_, i) => {
          const ping = ["ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1302", `2001:db8:ff::${20 + i}`];
          const { stdout } = await scene.lab.exec("client1", ping, { mayFail: true });
          return / 1 received/.test(stdout) ? "answered" : /mtu=(\d+)/i.exec(stdout)?.[1];
        }),
      );
      expect(new Set(told)).toEqual(new Set(["answered", "1300"]));
    });

    it("carries TCP both ways", async () => {
      for (const options of [[], ["-R"]]) {
        const sum = await iperfTo(scene.lab, "client1", server6, 5201, "-n", "100M", "-P", "4", ...options);
        expect(sum.bytes).toBeGreaterThan(wantedBytes);
      }
    });
  },
);

describeForwarding(
  "a machine with IPv6 on one uplink only",
  {
    lab: { name: "ipv6-one", ipv6: true },
    config: {
      uplinks: [
        { name: "isp1", interface: "wan0", ipv6: false },
        { name: "isp2", interface: "wan1" },
      ],
    },
    prepare,
  },
  (scene) => {
    it("sends all IPv6 there, and IPv4 by both", async () => {
      const seen = await Promise.all(Array.from({ length: 20 }, () => visit(scene.lab, "client1", web)));
      expect(new Set(seen.map(({ address }) => address))).toEqual(new Set([uplinkAddress6.isp2]));
      const status = await scene.status();
      expect(status.uplinks.map(({ ipv6 }) => ipv6.state)).toEqual(["down", "up"]);
      expect(status.uplinks.map(({ state }) => state)).toEqual(["up", "up"]);
    });
  },
);

/** Servers on the server. */
async function prepare(lab: Lab): Promise<void> {
  await startIperf(lab, [5201]);
  await startProgram(lab, "server", "web-server", "80", "::");
}
