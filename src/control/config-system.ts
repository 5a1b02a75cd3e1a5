/** What the configuration says against what this machine has: interfaces, addresses, gateways, ports. Reads only. */

import { readFileSync } from "node:fs";
import type { LoadedConfig } from "./config.ts";
import { ConfigError, type ConfigPath, type Problem } from "./config-problem.ts";
import { ConfigReader } from "./config-reader.ts";
import { checkHooks, checkProbeTargets } from "./config-system-use.ts";
import type { Config, UplinkConfig } from "./config-types.ts";
import { contains, formatIpv4, type Network, overlap, parseIpv4 } from "./config-values.ts";
import type { LinkRow } from "./iproute.ts";
import { nearest } from "./nearest.ts";
import { describeUplink, readSystem, type SystemState } from "./uplink-snapshot.ts";

/** The warnings of the file and the system together, in the file's order. Throws ConfigError with all of both when there is an error. */
export async function checkAgainstSystem(loaded: LoadedConfig, daemonRuns: boolean): Promise<Problem[]> {
  const problems = [...loaded.warnings, ...(await checkSystem(loaded, daemonRuns))].sort(
    (a, b) => a.line - b.line || a.column - b.column,
  );
  if (problems.some(({ severity }) => severity === "error")) throw new ConfigError(loaded.config.file, problems);
  return problems;
}

/**
 * Problems of the same shape, with the same places, as those of the file itself. `daemonRuns`: the
 * configuration's own daemon is up, so its TUN and the addresses on it are where they should be.
 * Throws CommandError when `ip` cannot be run.
 */
export async function checkSystem(loaded: LoadedConfig, daemonRuns: boolean): Promise<Problem[]> {
  const { config } = loaded;
  const reader = new ConfigReader(loaded.document);
  const { links: everyLink, ...routes } = await readSystem(config);
  const links = everyLink.filter((link) => !(daemonRuns && link.ifname === config.tun.name));
  checkTun(reader, config, links);
  for (const [index, name] of config.steer.interfaces.entries())
    checkExists(reader, ["steer", "interfaces", index], name, links);
  for (const [index, uplink] of config.uplinks.entries()) {
    // While it runs, an interface may be away for a moment, as that of a PPP connection is.
    const severity = daemonRuns ? "warning" : "error";
    const link = checkExists(reader, ["uplinks", index, "interface"], uplink.interface, links, severity);
    if (link === undefined) continue;
    checkUplink(reader, ["uplinks", index], uplink, link, { links, ...routes });
    checkProbeTargets(reader, ["uplinks", index], uplink, link, links, config.steer.interfaces);
  }
  checkHooks(reader, config);
  checkLocalPorts(reader, config);
  return reader.problems;
}

function checkTun(reader: ConfigReader, config: Config, links: readonly LinkRow[]): void {
  const { name, address, prefixLength } = config.tun;
  if (links.some((link) => link.ifname === name)) {
    reader.error(
      ["tun", "name"],
      "is the name of a device that exists already",
      "a free name; sluice creates the device",
    );
  }
  const subnet = { address: parseIpv4(address)!, prefixLength };
  for (const link of links) {
    const rival = networksOf(link).find((network) => overlap(network, subnet));
    if (rival === undefined) continue;
    const where = `${formatIpv4(rival.address)}/${rival.prefixLength} on ${link.ifname}`;
    reader.error(["tun", "address"], `collides with ${where}`, "a subnet that nothing else on this machine uses");
  }
}

function checkExists(
  reader: ConfigReader,
  path: ConfigPath,
  name: string,
  links: readonly LinkRow[],
  severity: "error" | "warning" = "error",
): LinkRow | undefined {
  const link = links.find((other) => other.ifname === name);
  if (link !== undefined) return link;
  const known = links.map((other) => other.ifname).filter((other) => other !== "lo");
  const suggestion = nearest(name, known);
  const hint = suggestion === undefined ? "" : `; did you mean ${suggestion}?`;
  reader[severity](
    path,
    `there is no such interface${hint}`,
    known.length === 0 ? "an interface of ip link" : `one of ${known.slice(0, 20).join(", ")}`,
  );
  return undefined;
}

/** An uplink that cannot send now may do so later (DHCP, PPP, a cable): this warns, since the others must be able to start. */
function checkUplink(
  reader: ConfigReader,
  path: ConfigPath,
  uplink: UplinkConfig,
  link: LinkRow,
  system: SystemState,
): void {
  const { state, reason, ipv6 } = describeUplink(uplink, system, null);
  if (state === "down") reader.warning([...path, "interface"], `the uplink is down at present: ${reason}`);
  // Who says nothing about IPv6 does not ask for it either.
  if (ipv6.state === "down" && Object.keys(uplink.ipv6 ?? {}).length > 0)
    reader.warning([...path, "ipv6"], `IPv6 on the uplink is down at present: ${ipv6.reason}`);
  const networks = networksOf(link);
  if (uplink.gateway === undefined || networks.length === 0 || link.flags.includes("POINTOPOINT")) return;
  const gateway = parseIpv4(uplink.gateway)!;
  if (networks.some((network) => contains(network, gateway))) return;
  const subnets = networks.map((network) => `${formatIpv4(network.address)}/${network.prefixLength}`).join(", ");
  reader.warning(
    [...path, "gateway"],
    `is outside ${uplink.interface}'s own network`,
    `an address in ${subnets}, unless the provider says otherwise`,
  );
}

/** IPv4 networks of an interface; on a point-to-point link the far end's address counts too. */
function networksOf(link: LinkRow): Network[] {
  return link.addr_info
    .filter((row) => row.family === "inet")
    .flatMap((row) =>
      [row.local, row.address].map((text) => ({ address: parseIpv4(text ?? ""), prefixLength: row.prefixlen })),
    )
    .filter((network): network is Network => network.address !== undefined);
}

function checkLocalPorts(reader: ConfigReader, config: Config): void {
  const range = readLocalPortRange();
  if (range === undefined || range.first > config.nat.lastPort || range.last < config.nat.firstPort) return;
  const why = "from which this machine's own connections take their ports";
  reader.warning(
    ["nat", "ports"],
    `overlaps net.ipv4.ip_local_port_range (${range.first}-${range.last}), ${why}`,
    "a range outside it",
  );
}

/** The ports that the kernel gives to this machine's own connections; undefined when the setting cannot be read. */
export function readLocalPortRange(): { first: number; last: number } | undefined {
  try {
    const [first, last] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
      .trim()
      .split(/\s+/)
      .map(Number);
    return { first: first!, last: last! };
  } catch {
    return undefined;
  }
}
