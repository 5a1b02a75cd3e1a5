/**
 * The drop of the translator's IPv6 ports in a real router (scripts/lab draws the topology): the server knocks at the
 * router's own address, and what the router's stack says or does is counted by the kernel.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parsePrefix6 } from "../../../src/control/config-values.ts";
import { delegatedPrefix, type Host, type Lab, openLab, uplinkAddress6 } from "../../support/lab.ts";
import { plainUplink } from "../../support/plain-uplink.ts";
import { Control, controlConfig } from "../control/control.ts";

const translatedPort = 20_000;
const ordinaryPort = 40_000;
const inPrefix = "2001:db8:101::99";

let lab: Lab;
let control: Control;

beforeAll(async () => {
  lab = await openLab({ name: "firewall6", ipv6: true });
  const prefix = parsePrefix6(delegatedPrefix.isp1)!;
  const uplinks = [
    { name: "isp1", interface: "wan0", ...plainUplink, ipv6: { prefix } },
    { name: "isp2", interface: "wan1", ...plainUplink },
  ];
  const forward = { protocols: ["tcp" as const], firstPort: 8080, lastPort: 8080, toPort: 80 };
  const forwards = [
    { ...forward, uplinks: ["isp1"], to: "fd00:10::2" },
    { ...forward, uplinks: ["isp2"], to: "192.168.10.2" },
  ];
  control = await Control.start(lab, controlConfig({ uplinks, forwards }));
});
afterAll(async () => {
  await control?.stop();
  await lab.close();
});

async function knock(kind: "TCP" | "UDP", address: string, port: number, from: Host = "server", bytes = 1) {
  const target = `${kind}6:[${address}]:${port}${kind === "TCP" ? ",connect-timeout=0.5" : ""}`;
  await lab.exec(from, ["socat", "-u", "-b", "65000", "-", target], { input: "x".repeat(bytes), mayFail: true });
}

/** What the router's counters gained while something happened. */
async function gained(names: readonly string[], during: () => Promise<unknown>): Promise<number[]> {
  const read = async () => {
    const { stdout } = await lab.exec("router", ["nstat", "-asz", ...names]);
    return names.map((name) => Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(stdout)![1]));
  };
  const before = await read();
  await during();
  return (await read()).map((value, i) => value - before[i]!);
}

describe("the drop of the translator's IPv6 ports", () => {
  const answers = ["TcpOutRsts", "Icmp6OutDestUnreachs"];
  const { isp1, isp2 } = uplinkAddress6;

  it.each([
    ["UDP", isp1, translatedPort, [0, 0]],
    ["TCP", isp1, translatedPort, [0, 0]],
    ["TCP", isp2, 16_384, [0, 0]],
    ["UDP", isp2, 32_767, [0, 0]],
    ["TCP", isp1, 8080, [0, 0]],
    ["UDP", isp1, 8080, [0, 1]],
    ["TCP", isp2, 8080, [1, 0]],
    ["TCP", isp1, ordinaryPort, [1, 0]],
    ["UDP", isp2, 32_768, [0, 1]],
  ] as const)("leaves the stack what is its own: %s to %s port %i", async (kind, address, port, expected) => {
    expect(await gained(answers, () => knock(kind, address, port))).toEqual(expected);
  });

  it("keeps the stack silent towards the LAN as well", async () => {
    expect(await gained(answers, () => knock("TCP", isp1, translatedPort, "client1"))).toEqual([0, 0]);
    expect(await gained(answers, () => knock("UDP", isp2, translatedPort, "client1"))).toEqual([0, 0]);
    expect(await gained(answers, () => knock("TCP", isp1, ordinaryPort, "client1"))).toEqual([1, 0]);
  });

  it("keeps fragments of translated datagrams out of the kernel's queue, and lets it reassemble its own", async () => {
    const reassembly = ["Ip6ReasmReqds", "Ip6ReasmOKs"];
    const send = (port: number) => knock("UDP", isp1, port, "server", 8000);
    expect(await gained(reassembly, () => send(translatedPort))).toEqual([0, 0]);
    expect(await gained(reassembly, () => send(ordinaryPort))).toEqual([6, 1]);
  });

  it("keeps the kernel from forwarding what is for an uplink's prefix, and from answering it", async () => {
    const names = [...answers, "Ip6OutForwDatagrams", "Ip6OutNoRoutes"];
    expect(await gained(names, () => knock("TCP", inPrefix, 22))).toEqual([0, 0, 0, 0]);
    expect(await gained(names, () => knock("UDP", inPrefix, 53))).toEqual([0, 0, 0, 0]);
  });

  it("keeps what the stack says about a protocol that it does not know from the provider", async () => {
    const send = () => lab.exec("server", ["sh", "-c", `echo hello | socat -u - IP6-SENDTO:[${isp1}]:47`]);
    // It is said, and dropped on its way out.
    expect(await gained(["Icmp6OutParmProblems"], send)).toEqual([1]);
    const { stdout } = await lab.exec("server", ["nstat", "-asz", "Icmp6InParmProblems"]);
    expect(stdout).toMatch(/Icmp6InParmProblems +0 /);
  });
});
