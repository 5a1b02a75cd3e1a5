/**
 * The tools that network people have, through the router and against it, in the lab's topology (scripts/lab): mtr,
 * nmap and dig from the LAN see the network as it is, and nmap from outside sees nothing of the translator.
 */

import { expect, it } from "vitest";
import { describeForwarding } from "../../support/forwarding.ts";
import {
  client1,
  client2,
  gatewayAddress,
  type Host,
  type Lab,
  routerLan,
  server,
  uplinkAddress,
} from "../../support/lab.ts";
import { startMirrors } from "../../support/mirror.ts";
import { startProgram } from "../../support/programs.ts";

/** So few that a scan would run out of them if it kept what it took. */
const ports = 256;
const firstPort = 20_000;
const range = `${firstPort}-${firstPort + ports - 1}`;
const config = {
  nat: { ports: range },
  forwards: [
    { protocol: "tcp", port: 2222, to: `${client1}:22` },
    { protocol: "both", port: 5353, to: `${client2}:53` },
  ],
};

async function prepare(lab: Lab): Promise<void> {
  await startProgram(lab, "server", "web-server", "80");
  // As much of a daemon as nmap asks for.
  const greeting = "SYSTEM:echo SSH-2.0-OpenSSH_9.2p1; sleep 1";
  await lab.spawn("client1", ["socat", "-d", "-d", "TCP-LISTEN:22,fork,reuseaddr", greeting]).waitFor(/listening/);
  await startMirrors(lab, "server", "7", "443", "993");
  const name = [
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--pid-file=",
    "--user=root",
  ];
  for (const host of ["server", "client2"] as const) {
    const records = ["--log-facility=-", `--address=/example.test/192.0.2.53`, `--txt-record=where.test,${host}`];
    await lab.spawn(host, ["dnsmasq", ...name, ...records]).waitFor(/started/);
  }
}

/** Without names and without asking first whether the host is there. It asks again where a busy machine keeps it waiting. */
const nmap = ["nmap", "-n", "-Pn", "--min-rate", "1000"];
/** For what is silent, where patience would only last. */
const impatient = ["--max-retries", "1", "--initial-rtt-timeout", "50ms", "--max-rtt-timeout", "100ms"];

describeForwarding("to tools", { lab: { name: "tools" }, config, prepare }, (scene) => {
  it("mtr by ICMP, UDP and TCP shows router, provider and server, and no loss", async () => {
    const mtr = ["mtr", "--json", "-n", "-c", "5", "-i", "0.1", "-G", "1"];
    const by = (...options: string[]) => scene.lab.exec("client1", [...mtr, ...options, server]);
    for (const { stdout } of await Promise.all([by(), by("--udp"), by("--tcp", "--port", "80")])) {
      const { hubs } = (JSON.parse(stdout) as { report: { hubs: { host: string; "Loss%": number }[] } }).report;
      expect(hubs.map((hub) => hub["Loss%"])).toEqual([0, 0, 0]);
      expect([hubs[0]!.host, hubs[2]!.host]).toEqual([routerLan, server]);
      expect([gatewayAddress.isp1, gatewayAddress.isp2]).toContain(hubs[1]!.host);
    }
  });

  it.each([
    ["SYNs", "-sS", "filtered"],
    ["ACKs", "-sA", "filtered"],
    ["datagrams", "-sU", "open|filtered"],
  ])("nmap from outside sees by %s none of the translator's ports, while they are in use", async (_, scan, silent) => {
    const talk = scene.lab.spawn("client1", ["bash", "-c", `exec 3<>/dev/tcp/${server}/7; exec sleep 60`]);
    const { mappedAddress, mappedPort } = await scene.flow({ destinationPort: 7, state: "established" });
    expect(mappedPort).toBeGreaterThanOrEqual(firstPort);
    const { opened } = (await scene.status()).flows;
    const { stdout } = await scene.lab.exec("server", [...nmap, ...impatient, scan, "-p", range, mappedAddress]);
    expect(stdout).toContain(`All ${ports} scanned ports on ${mappedAddress} are in ignored states`);
    expect(stdout).toContain(`Not shown: ${ports} ${silent} `);
    expect((await scene.status()).flows.opened).toBe(opened);
    await talk.stop();
  });

  it("nmap from outside finds the service behind a forwarded port, and what the router itself refuses", async () => {
    const scan = [...nmap, "-sT", "-sV", "-p", "22,2222", uplinkAddress.isp2];
    const { stdout } = await scene.lab.exec("server", scan);
    expect(stdout).toMatch(/2222\/tcp +open +ssh +OpenSSH 9\.2p1/);
    expect(stdout).toMatch(/22\/tcp +closed/);
  });

  it.each([
    ["SYNs", "-sS"],
    ["connections", "-sT"],
  ])(
    "nmap from the LAN finds by %s what is open among a thousand ports, and takes no port from others",
    async (_, scan) => {
      const { stdout } = await scene.lab.exec("client1", [...nmap, scan, "-p", "1-1000", server]);
      expect(Array.from(stdout.matchAll(/^(\d+)\/tcp +open/gm), ([, port]) => Number(port))).toEqual([
        7, 53, 80, 443, 993,
      ]);
      expect(stdout).toMatch(/Not shown: 995 closed/);
      const taken = (await scene.flows()).filter((flow) => flow.protocol === "tcp" && flow.mappedPort >= firstPort);
      expect(new Set(taken.map((flow) => `${flow.mappedAddress} ${flow.mappedPort}`)).size).toBeLessThanOrEqual(
        2 * ports,
      );
      const seen = await scene.lab.exec("client2", ["curl", "-sS", "--max-time", "5", `http://${server}/address`]);
      expect(seen.stdout).toMatch(/^\d/);
      expect((await scene.status()).drops["no-port"] ?? 0).toBe(0);
    },
  );

  it("nmap from the LAN knows closed UDP ports by the errors about them, and the service on an open one", async () => {
    const { stdout } = await scene.lab.exec("client1", [
      ...nmap,
      "-sU",
      "-sV",
      "--version-light",
      "-p",
      "53,1000-1009",
      server,
    ]);
    expect(stdout).toMatch(/53\/udp +open +domain/);
    expect(stdout.match(/^10\d\d\/udp +closed/gm)).toHaveLength(10);
  });

  it("dig asks the server, and from outside the name server behind a forwarded port, by UDP and by TCP", async () => {
    for (const how of [[], ["+tcp"]]) {
      const ask = async (host: Host, ...whom: string[]) => {
        const dig = ["dig", ...how, "+short", "+tries=1", "+time=5", "-t", "txt", "where.test"];
        return (await scene.lab.exec(host, [...dig, ...whom])).stdout.trim();
      };
      for (const host of ["client1", "client2", "router"] as const) {
        expect(await ask(host, `@${server}`)).toBe('"server"');
      }
      for (const host of ["server", "client1"] as const) {
        for (const address of [uplinkAddress.isp1, uplinkAddress.isp2]) {
          expect(await ask(host, "-p", "5353", `@${address}`)).toBe('"client2"');
        }
      }
    }
  });
});
