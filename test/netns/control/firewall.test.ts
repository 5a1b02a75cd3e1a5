/**
 * The drop of the translator's ports in a real router (scripts/lab draws the topology): the server knocks
 * at the router's own address, and what the router's stack says is counted by the kernel.
 */

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../../src/control/config-types.ts";
import { type Host, type Lab, openLab, server, uplinkAddress } from "../../support/lab.ts";
import { Control, controlConfig, until } from "./control.ts";

const translatedPort = 20_000;
const ordinaryPort = 40_000;

let lab: Lab;
let control: Control | undefined;

beforeAll(async () => {
  lab = await openLab({ name: "firewall" });
});
afterEach(async () => {
  await control?.process.stop();
  control = undefined;
});
afterAll(() => lab.close());

async function start(more: Partial<Config> = {}): Promise<Control> {
  control = await Control.start(lab, controlConfig(more));
  return control;
}

interface Knock {
  bytes?: number;
  address?: string;
  from?: Host;
}

async function knock(kind: "TCP" | "UDP", port: number, more: Knock = {}): Promise<void> {
  const { bytes = 1, address = uplinkAddress.isp1, from = "server" } = more;
  const target = `${kind}:${address}:${port}${kind === "TCP" ? ",connect-timeout=0.5" : ""}`;
  const size = ["-b", "65000"];
  await lab.exec(from, ["socat", "-u", ...size, "-", target], { input: "x".repeat(bytes), mayFail: true });
}

/** How much a host's stack has counted under each name since the lab began. */
async function counted(host: Host, names: readonly string[]): Promise<number[]> {
  const { stdout } = await lab.exec(host, ["nstat", "-asz", ...names]);
  return names.map((name) => Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(stdout)![1]));
}

/** What the counters gained while something happened. */
async function gained(names: readonly string[], during: () => Promise<void>, host: Host = "router"): Promise<number[]> {
  const before = await counted(host, names);
  await during();
  const after = await counted(host, names);
  return after.map((value, index) => value - before[index]!);
}

/** The server tells the router that a datagram of ours, from this port to the server's port 9, needs an MTU of 1000. */
async function sendFragNeeded(port: number): Promise<void> {
  const text = [
    "03040000000003e8", // destination unreachable, fragmentation needed, checksum to come, MTU 1000
    "450005780000400040110000cb007102c000020a", // 203.0.113.2 > 192.0.2.10, UDP, 1400 bytes, don't fragment
    `${port.toString(16).padStart(4, "0")}000905640000`,
  ];
  const message = Buffer.from(text.join(""), "hex");
  let sum = 0;
  for (let at = 0; at < message.length; at += 2) sum += message.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  message.writeUInt16BE(~sum & 0xffff, 2);
  const octal = Array.from(message, (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  await lab.exec("server", ["sh", "-c", `printf '${octal}' | socat -u - IP4-SENDTO:${uplinkAddress.isp1}:1`]);
}

async function tables(): Promise<string> {
  return (await lab.exec("router", ["nft", "list", "tables"])).stdout.trim();
}

describe("the firewall", () => {
  const answers = ["TcpOutRsts", "IcmpOutDestUnreachs"];

  it("keeps the router's stack silent on translated ports, and lets it answer on others", async () => {
    await start();
    const knockBoth = async (port: number) => {
      await knock("TCP", port);
      await knock("UDP", port);
    };
    expect(await gained(answers, () => knockBoth(translatedPort))).toEqual([0, 0]);
    expect(await gained(answers, () => knockBoth(16_384))).toEqual([0, 0]);
    expect(await gained(answers, () => knockBoth(32_767))).toEqual([0, 0]);
    expect(await gained(answers, () => knockBoth(ordinaryPort))).toEqual([1, 1]);
    expect(await gained(answers, () => knockBoth(32_768))).toEqual([1, 1]);
  });

  it("keeps fragments of translated datagrams out of the kernel's queue, and lets it reassemble its own", async () => {
    await start();
    const reassembly = ["IpReasmReqds", "IpReasmOKs"];
    expect(await gained(reassembly, () => knock("UDP", translatedPort, { bytes: 8000 }))).toEqual([0, 0]);
    expect(await gained(reassembly, () => knock("UDP", ordinaryPort, { bytes: 8000 }))).toEqual([6, 1]);
  });

  it("keeps the stack silent on forwarded ports, each on its uplinks and for its protocol only", async () => {
    const to = { to: "192.168.10.2", toPort: 80 };
    await start({
      forwards: [
        { ...to, uplinks: ["isp1"], protocols: ["tcp"], firstPort: 8080, lastPort: 8080 },
        { ...to, uplinks: ["isp1", "isp2"], protocols: ["udp"], firstPort: 7000, lastPort: 7009 },
        { ...to, uplinks: ["isp2"], protocols: ["tcp", "udp"], firstPort: 9000, lastPort: 9000 },
      ],
    });
    const silent = [0, 0];
    const refused = { TCP: [1, 0], UDP: [0, 1] };
    const isp2 = uplinkAddress.isp2;
    for (const [kind, port, address, expected] of [
      ["TCP", 8080, uplinkAddress.isp1, silent],
      ["UDP", 8080, uplinkAddress.isp1, refused.UDP],
      ["TCP", 8080, isp2, refused.TCP],
      ["TCP", 8081, uplinkAddress.isp1, refused.TCP],
      ["UDP", 7000, uplinkAddress.isp1, silent],
      ["UDP", 7009, isp2, silent],
      ["UDP", 7010, isp2, refused.UDP],
      ["TCP", 7005, uplinkAddress.isp1, refused.TCP],
      ["TCP", 9000, isp2, silent],
      ["UDP", 9000, isp2, silent],
      ["UDP", 9000, uplinkAddress.isp1, refused.UDP],
      ["UDP", translatedPort, isp2, silent],
    ] as const) {
      const answered = await gained(answers, () => knock(kind, port, { address }));
      expect(answered, `${kind} to port ${port} of ${address}`).toEqual(expected);
    }
  });

  it("keeps the stack silent towards the LAN on the ports of all uplinks, and lets it answer there on others", async () => {
    const forward = { protocols: ["tcp" as const], firstPort: 8080, lastPort: 8080, to: "192.168.10.2", toPort: 80 };
    await start({ forwards: [{ ...forward, uplinks: ["isp2"] }] });
    const from = "client1";
    for (const address of [uplinkAddress.isp1, uplinkAddress.isp2]) {
      for (const kind of ["TCP", "UDP"] as const) {
        expect(await gained(answers, () => knock(kind, translatedPort, { address, from }))).toEqual([0, 0]);
      }
      const answered = await gained(answers, () => knock("TCP", ordinaryPort, { address, from }));
      expect(answered, `an ordinary port of ${address}`).toEqual([1, 0]);
    }
    expect(await gained(answers, () => knock("TCP", 8080, { address: uplinkAddress.isp2, from }))).toEqual([0, 0]);
    expect(await gained(answers, () => knock("TCP", 8080, { address: uplinkAddress.isp1, from }))).toEqual([1, 0]);
  });

  it("lets nothing out that says protocol unreachable, and lets out what says port unreachable", async () => {
    const heard = (during: () => Promise<void>) => gained(["IcmpInDestUnreachs"], during, "server");
    const send = async (protocol: number) => {
      const target = `IP4-SENDTO:${uplinkAddress.isp1}:${protocol}`;
      await lab.exec("server", ["socat", "-u", "-", target], { input: "x".repeat(20) });
      await lab.exec("server", ["ping", "-c", "1", "-W", "2", uplinkAddress.isp1]);
    };
    // A number that nothing in the kernel listens to; what the ping is answered after has had time to arrive.
    expect(await heard(() => send(253)), "without sluice").toEqual([1]);
    await start();
    expect(await heard(() => send(253))).toEqual([0]);
    expect(await heard(() => knock("UDP", ordinaryPort))).toEqual([1]);
  });

  it("needs no help with ICMP: a frag-needed without a socket leaves the kernel's path MTU alone", async () => {
    await start();
    const pathMtu = async () =>
      (await lab.exec("router", ["ip", "route", "get", server, "from", uplinkAddress.isp1])).stdout;
    await sendFragNeeded(translatedPort);
    expect(await pathMtu()).not.toContain("mtu");
    const socket = ["socat", "-u", "PIPE", `UDP:${server}:9,bind=${uplinkAddress.isp1}:${ordinaryPort}`];
    const holder = lab.spawn("router", socket);
    await until(
      async () => (await lab.exec("router", ["ss", "-Hun", "sport", `= :${ordinaryPort}`])).stdout !== "",
      () => "the socket",
    );
    await sendFragNeeded(ordinaryPort);
    expect(await pathMtu()).toContain("mtu 1000");
    await holder.stop();
    await lab.exec("router", ["ip", "route", "flush", "cache"]);
  });

  it("leaves other addresses of the interface to the stack", async () => {
    await start();
    await lab.exec("router", ["ip", "address", "add", "203.0.113.9/32", "dev", "wan0"]);
    const target = `UDP:203.0.113.9:${translatedPort}`;
    const unreachable = await gained(["IcmpOutDestUnreachs"], async () => {
      await lab.exec("isp1", ["socat", "-u", "-", target], { input: "x", mayFail: true });
    });
    expect(unreachable).toEqual([1]);
    await lab.exec("router", ["ip", "address", "del", "203.0.113.9/32", "dev", "wan0"]);
  });

  it("vanishes with a killed process", async () => {
    const killed = await start();
    expect(await tables()).toBe("table netdev sluice_sluice0");
    await killed.kill();
    await until(
      async () => (await tables()) === "",
      () => "the table to vanish",
    );
  });

  it("tells when nft ends", async () => {
    const { process } = await start();
    const children = (await lab.exec("router", ["ps", "-o", "pid=,args=", "--ppid", String(process.pid)])).stdout;
    const nft = /^\s*(\d+) nft -i/m.exec(children)![1]!;
    await lab.exec("router", ["kill", "-9", nft]);
    await process.waitFor(/"lost"/);
    expect(control!.events("lost")).toEqual([expect.stringContaining("ended by SIGKILL")]);
  });

  it("guards an interface that is deleted and made again, and a new address", async () => {
    const { process } = await start();
    const ready = control!.events("uplinks").length;
    const chains = async () => (await lab.exec("router", ["nft", "list", "table", "netdev", "sluice_sluice0"])).stdout;
    await lab.exec("router", ["ip", "link", "del", "wan1"]);
    await until(
      () => control!.uplink("isp2").reason === "interface missing",
      () => process.output,
    );
    expect(await chains()).not.toContain("wan1");
    await lab.exec("router", [
      "ip",
      "link",
      "add",
      "wan1",
      "type",
      "veth",
      "peer",
      "name",
      "subscriber",
      "netns",
      lab.namespace("isp2"),
    ]);
    await lab.exec("router", ["ip", "address", "add", "198.51.100.99/24", "dev", "wan1"]);
    await lab.exec("router", ["ip", "link", "set", "wan1", "up"]);
    await until(
      async () => (await chains()).includes("198.51.100.99"),
      () => `the new chain after ${ready}: ${process.output}`,
    );
    expect(await chains()).toMatch(/device "wan1"/);
    expect(control!.events("error")).toEqual([]);
    await lab.exec("isp2", ["ip", "address", "add", "198.51.100.1/24", "dev", "subscriber"]);
    await lab.exec("isp2", ["ip", "link", "set", "subscriber", "up"]);
    const target = `UDP:198.51.100.99:${translatedPort}`;
    const unreachable = await gained(["IcmpOutDestUnreachs"], async () => {
      await lab.exec("isp2", ["socat", "-u", "-", target], { input: "x", mayFail: true });
    });
    expect(unreachable).toEqual([0]);
  });

  it("says what nft said when it refuses, and sets nothing", async () => {
    const config = controlConfig();
    const refused = new Control(lab, { ...config, nat: { ...config.nat, firstPort: 70_000, lastPort: 70_001 } }, [
      "firewall",
    ]);
    control = refused;
    expect(await refused.process.exited).toBe(1);
    expect(refused.events("failed")).toEqual([{ name: "Error", message: expect.stringContaining("nft -i: ") }]);
    expect(await tables()).toBe("");
  });
});
