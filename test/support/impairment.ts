/**
 * Makes a provider of the lab worse while traffic runs: loss, delay, black holes, both families, both directions.
 *
 *     await impair(lab, "isp1", { delayMs: 800, lossRatio: 0.1 });
 *     await impair(lab, "isp2", { drop: "beyond" });
 *     await impair(lab, "isp1", {});                            // all is well again
 *
 * Drops are rules in the provider's namespace. Delay, of TCP, UDP and ICMP, is a detour through programs/delay.ts, which
 * packets take only while there is a delay:
 *
 *     subscriber ──► ip rule ──► sluice-delay (TUN) ──► delay.ts ──► sluice-delay ──► main table ──► core
 *
 * Rates are the lab's own verb: `lab.rate("isp1", "20mbit")`.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import type { DelaySettings } from "./programs/delay.ts";
import { program } from "./programs.ts";
import { gatewayAddress, type Isp } from "./topology.ts";

export interface Impairment {
  /**
   * "beyond": the gateway answers, and nothing comes through it. "all": every IP packet vanishes, ARP and neighbour
   * discovery go on. "dead": not even those.
   */
  drop?: "beyond" | "all" | "dead" | null;
  /** The share of round trips that are lost, 0 to 1. */
  lossRatio?: number;
  /** What comes on top of a round trip, also one to the gateway's IPv4 address. 0 to 10,000. */
  delayMs?: number;
  /** The same for what goes to or comes from a prefix, instead of `delayMs`. The first that fits counts. */
  delayTo?: readonly { prefix: string; delayMs: number }[];
}

/** Replaces what was wrong with a provider before; what is not named is well. Throws with what nft or ip said. */
export async function impair(lab: Lab, isp: Isp, impairment: Impairment): Promise<void> {
  const { drop = null, lossRatio = 0, delayMs = 0, delayTo = [] } = impairment;
  if (!(lossRatio >= 0 && lossRatio <= 1)) throw new RangeError(`lossRatio: expected 0 to 1, not ${lossRatio}`);
  for (const ms of [delayMs, ...delayTo.map((rule) => rule.delayMs)]) {
    if (!(ms >= 0 && ms <= 10_000)) throw new RangeError(`delayMs: expected 0 to 10,000, not ${ms}`);
  }
  await lab.exec(isp, ["nft", "-f", "-"], { input: `${cleared}\n${rulesFor(drop, lossRatio)}` });
  const rules = [
    ...delayTo.map((rule) => ({ to: rule.prefix, roundTripMs: rule.delayMs })),
    ...(delayMs > 0 ? [{ roundTripMs: delayMs }] : []),
  ];
  await setDelay(lab, isp, { rules, own: [gatewayAddress[isp]] });
}

// "add, delete" is nft's way to delete what may not exist.
const cleared = ["inet", "netdev"]
  .flatMap((family) => ["add", "delete"].map((verb) => `${verb} table ${family} impairment`))
  .join("\n");

const lines = '{ "subscriber", "core" }';
const neighbourDiscovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";

function rulesFor(drop: Impairment["drop"], lossRatio: number): string {
  const chains: string[] = [];
  const chain = (name: string, hook: string, ...rules: string[]) =>
    chains.push(`chain ${name} { type filter hook ${hook} priority -305;`, ...rules.map((rule) => `  ${rule}`), "}");
  if (drop === "beyond") chain("beyond", "forward", "drop");
  if (drop === "all") {
    chain("all_in", "prerouting", neighbourDiscovery, `iifname ${lines} drop`);
    chain("all_out", "output", neighbourDiscovery, `oifname ${lines} drop`);
  }
  if (lossRatio > 0) {
    // Both ways must go well for a round trip to do so. What is delayed comes in twice, the second time from the TUN.
    const oneWay = 1 - Math.sqrt(1 - lossRatio);
    const lose = `numgen random mod 100000 < ${Math.round(oneWay * 100_000)} drop`;
    chain("loss_in", "prerouting", `iifname ${lines} ${lose}`);
    chain("loss_out", "output", `oifname ${lines} ${lose}`);
  }
  const table = `table inet impairment {\n${chains.join("\n")}\n}`;
  if (drop !== "dead") return table;
  return `${table}\ntable netdev impairment {\n chain dead { type filter hook ingress devices = ${lines} priority 0; drop; }\n}`;
}

const device = "sluice-delay";
/** The route table of what is to be delayed. */
const table = 77;
const programs = new WeakMap<Lab, Map<Isp, DelayProgram>>();

interface DelayProgram {
  running: Running;
  settingsFile: string;
  timesSet: number;
}

async function setDelay(lab: Lab, isp: Isp, settings: DelaySettings): Promise<void> {
  const ofLab = programs.get(lab) ?? new Map<Isp, DelayProgram>();
  programs.set(lab, ofLab);
  const isDelayed = settings.rules.length > 0;
  let delay = ofLab.get(isp);
  if (delay === undefined && !isDelayed) return;
  if (delay === undefined) {
    delay = await startDelay(lab, isp, settings);
    ofLab.set(isp, delay);
  } else {
    writeFileSync(delay.settingsFile, JSON.stringify(settings));
    delay.running.signal("SIGHUP");
    await delay.running.waitFor(new RegExp(`settings ${++delay.timesSet}\\n`));
  }
  await lab.exec(isp, ["sh", "-c", isDelayed ? detour : noDetour]);
}

async function startDelay(lab: Lab, isp: Isp, settings: DelaySettings): Promise<DelayProgram> {
  const settingsFile = join(lab.directory, `delay-${isp}.json`);
  writeFileSync(settingsFile, JSON.stringify(settings));
  const running = lab.spawn(isp, program("delay", device, settingsFile));
  await running.waitFor(/ready/);
  await lab.exec(isp, ["sh", "-ec", prepareDevice]);
  return { running, settingsFile, timesSet: 0 };
}

/** The local table moves behind our rules, so that what goes to the gateway itself is late too. */
const prepareDevice = `
  ip link set ${device} addrgenmode none mtu 65521 txqueuelen 10000 up
  ip route add default dev ${device} table ${table}
  # Only a lab with IPv6 takes this one.
  ip -6 route add default dev ${device} table ${table} 2>/dev/null || true
  ip rule add pref 200 lookup local
  ip rule del pref 0`;

/**
 * Packets of both sides, by the interface they come from, and by protocol: the kernel asks the rules about ARP too, and
 * would not answer when they led elsewhere. IPv6 finds its neighbours by ICMP, so its local table stays first.
 */
const rules = ["subscriber", "core"].flatMap((from) => [
  ...["tcp", "udp", "icmp"].map((protocol) => `rule add pref 100 iif ${from} ipproto ${protocol} lookup ${table}`),
  `-6 rule add pref 100 iif ${from} to 2000::/3 lookup ${table}`,
]);
const noDetour = rules
  .map((rule) => `ip ${rule.replace("add", "del")} 2>/dev/null`)
  .join("; ")
  .concat("; true");
const detour = `${noDetour}; ${rules.map((rule) => `ip ${rule}`).join(" && ")}`;
