/** Probe targets and hooks against this machine: a target must lie beyond its uplink, a program must be there. */

import { accessSync, constants, statSync } from "node:fs";
import { parseAddress6 } from "../wire/ipv6.ts";
import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import type { Config, ProbeConfig, UplinkConfig } from "./config-types.ts";
import { canonical6, contains, contains6, isIpv6, parseIpv4 } from "./config-values.ts";
import type { LinkRow } from "./iproute.ts";
import { pageOf } from "./probes/http.ts";
import { endpointOf } from "./probes/tcp.ts";

/** `uplink` has its interface, `link`. */
export function checkProbeTargets(
  reader: ConfigReader,
  path: ConfigPath,
  uplink: UplinkConfig,
  link: LinkRow,
  links: readonly LinkRow[],
  inside: readonly string[],
): void {
  const { probe } = uplink;
  if (probe === null) return;
  const isEthernet = link.link_type === "ether" && !link.flags.includes("NOARP");
  if (probe.type === "arp" && !isEthernet)
    reader.error([...path, "probe", "type"], `is not answered on ${link.ifname}, which is no Ethernet`, "icmp");
  const isPointToPoint = link.link_type !== "ether" || link.flags.includes("POINTOPOINT");
  if (probe.targets.length === 0 && isPointToPoint && uplink.gateway === undefined)
    reader.error([...path, "probe"], `has nobody to ask: ${link.ifname} is a point-to-point link`, "targets");
  for (const [index, target] of probe.targets.entries()) {
    const problem = nearProblem(addressOf(probe, target), links, inside);
    if (problem !== undefined)
      reader.error([...path, "probe", "targets", index], problem, "an address beyond this uplink");
  }
}

/** Why an address is not beyond any uplink. */
function nearProblem(address: string, links: readonly LinkRow[], inside: readonly string[]): string | undefined {
  for (const { ifname, addr_info } of links) {
    for (const { local, prefixlen } of addr_info) {
      if (local === address) return `is this machine's own address on ${ifname}`;
      if (inside.includes(ifname) && isWithin(address, local, prefixlen))
        return `lies in the network of ${ifname}, which is inside`;
    }
  }
  return undefined;
}

function isWithin(address: string, network: string, prefixLength: number): boolean {
  if (isIpv6(address) !== isIpv6(network)) return false;
  if (!isIpv6(address)) return contains({ address: parseIpv4(network)!, prefixLength }, parseIpv4(address)!);
  // Every link has this one.
  if (prefixLength === 64 && network.startsWith("fe80:")) return false;
  return contains6({ words: parseAddress6(network)!, length: prefixLength }, parseAddress6(address)!);
}

/** As the system writes it. */
function addressOf({ type }: ProbeConfig, target: string): string {
  const address = type === "tcp" ? endpointOf(target)!.address : type === "http" ? pageOf(target)!.address : target;
  return isIpv6(address) ? canonical6(address) : address;
}

/** Uplinks work without; and a program may be installed later. */
export function checkHooks(reader: ConfigReader, { hooks }: Config): void {
  const { timeoutMs: _, ...programs } = hooks;
  for (const [event, program] of Object.entries(programs)) {
    const problem = programProblem(program);
    if (problem !== undefined) reader.warning(["hooks", event], problem, "an executable file");
  }
}

function programProblem(program: string): string | undefined {
  try {
    if (!statSync(program).isFile()) return "is no file";
    accessSync(program, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file";
    return code === "EACCES" ? "is not executable" : `cannot be looked at: ${code}`;
  }
}
