/**
 * The lab with its wires pulled out: the far ends of the router's LAN and uplinks lie in one namespace, client2's, where
 * one program (replay.ts) plays the client, both providers and the server, packet by packet. The router stays as it was: the
 * kernel's own translator, or sluice.
 *
 *     inside ── lan0 ─┐         ┌─ wan0 ── uplink0
 *                     ├─ router ┤
 *                     │         └─ wan1 ── uplink1
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { client1, gatewayAddress, type Lab, openLab } from "../../support/lab.ts";
import { until } from "../../support/until.ts";
import type { Plan, Replayed, Step } from "./plan.ts";

const far = [
  { host: "client1", device: "lan", name: "inside", near: "lan0", address: client1 },
  { host: "isp1", device: "subscriber", name: "uplink0", near: "wan0", address: gatewayAddress.isp1 },
  { host: "isp2", device: "subscriber", name: "uplink1", near: "wan1", address: gatewayAddress.isp2 },
] as const;

/** Drops what conntrack cannot place, as everybody's rules do who masquerades with care. */
const strict =
  "table ip strict { chain forward { type filter hook forward priority filter; ct state invalid counter drop; }; }";

export class Crossing {
  readonly lab: Lab;
  readonly #routerMacs: Plan["routerMacs"];

  constructor(lab: Lab, routerMacs: Plan["routerMacs"]) {
    this.lab = lab;
    this.#routerMacs = routerMacs;
  }

  /** The kernel translates, over both uplinks; `isStrict`: and drops what it takes for invalid. */
  async useKernel(isStrict: boolean): Promise<void> {
    await this.lab.masquerade("on");
    await this.lab.multipath("1:1");
    if (isStrict) await this.lab.exec("router", ["nft", strict]);
  }

  /** Sends the steps, each after what the one before has caused, and returns what came of them. */
  async replay(steps: readonly Step[]): Promise<Replayed> {
    const file = join(this.lab.directory, "plan.json");
    writeFileSync(file, JSON.stringify({ routerMacs: this.#routerMacs, steps } satisfies Plan));
    const program = fileURLToPath(new URL("replay.ts", import.meta.url));
    const { stdout } = await this.lab.exec("client2", [process.execPath, program, file], { timeoutMs: 60_000 });
    return JSON.parse(stdout) as Replayed;
  }
}

/** Builds a lab and pulls its wires out, in about two seconds. Close its `lab`. */
export async function openCrossing(name: string): Promise<Crossing> {
  const lab = await openLab({ name });
  try {
    // Segments stay what they are: no hop joins or splits them.
    await lab.offload("off");
    await lab.exec("client2", ["ip", "link", "set", "lan", "down"]);
    for (const end of far) await pullOut(lab, end);
    for (const end of far) await connect(lab, end);
    const [lan, ...uplinks] = await Promise.all(far.map(({ near }) => macOf(lab, "router", near)));
    return new Crossing(lab, { inside: lan!, uplinks });
  } catch (error) {
    await lab.close();
    throw error;
  }
}

type End = (typeof far)[number];

async function pullOut(lab: Lab, { host, device, name }: End): Promise<void> {
  const words = ["link", "set", device, "netns", lab.namespace("client2"), "name", name];
  await lab.exec(host, ["ip", ...words]);
  await lab.exec("client2", ["ip", "link", "set", name, "up"]);
}

/** Nobody answers ARP for the address any more: the router is told. */
async function connect(lab: Lab, { name, near, address }: End): Promise<void> {
  await until(`carrier on ${near}`, async () => {
    const { stdout } = await lab.exec("router", ["ip", "-j", "link", "show", near]);
    return (JSON.parse(stdout) as [{ operstate: string }])[0].operstate === "UP";
  });
  const mac = await macOf(lab, "client2", name);
  const words = ["neigh", "replace", address, "lladdr", mac, "dev", near, "nud", "permanent"];
  await lab.exec("router", ["ip", ...words]);
}

async function macOf(lab: Lab, host: "router" | "client2", device: string): Promise<string> {
  const { stdout } = await lab.exec(host, ["ip", "-j", "link", "show", device]);
  return (JSON.parse(stdout) as [{ address: string }])[0].address;
}
