/** Whether a probe can find out anything: targets of the right form, that are somewhere beyond the uplink, and times that fit each other. */

import { parseAddress6 } from "../wire/ipv6.ts";
import type { ConfigPath } from "./config-problem.ts";
import { checkDuration } from "./config-range.ts";
import type { ConfigReader } from "./config-reader.ts";
import {
  canonical6,
  contains,
  formatDurationMs,
  isHostAddress,
  isHostAddress6,
  isIpv6,
  parseDurationMs,
  parseIpv4,
  parseNetwork,
} from "./config-values.ts";
import { isDnsName } from "./probes/dns.ts";
import { pageOf } from "./probes/http.ts";
import { endpointOf } from "./probes/tcp.ts";

const shortestIntervalMs = 50;
const longestIntervalMs = 3_600_000;
const shortestTimeoutMs = 10;
/** So many rounds may wait for answers at a time, and then some. */
const mostIntervalsOfTimeout = 60;

const addressForm = "an address such as 192.0.2.10 or 2001:db8::10";
/** Why a name will not do, of whatever form the target is. */
const noNames = "names would have to be looked up, and by which uplink?";

export function checkProbe(reader: ConfigReader, uplink: ConfigPath): void {
  const probe = [...uplink, "probe"];
  if (reader.get(probe) === undefined) return;
  const type = reader.text([...probe, "type"]) ?? "";
  const targets = reader.entries([...probe, "targets"]);
  if (targets.length === 0 && (type === "tcp" || type === "http"))
    reader.error([...probe, "type"], "needs targets: the gateway has no port or page to ask for", "targets");
  for (const target of targets) checkTarget(reader, uplink, type, target);
  const quorum = reader.get([...probe, "quorum"]);
  if (typeof quorum === "number" && quorum > Math.max(targets.length, 1))
    reader.error(
      [...probe, "quorum"],
      `is more than there are targets (${Math.max(targets.length, 1)})`,
      "as many at most",
    );
  const query = reader.text([...probe, "query"]);
  if (query !== undefined && !isDnsName(query))
    reader.error([...probe, "query"], "is not a name in the DNS", "a domain name such as example.org");
  checkTimes(reader, probe);
  checkThresholds(reader, probe);
}

function checkTarget(reader: ConfigReader, uplink: ConfigPath, type: string, path: ConfigPath): void {
  const text = reader.text(path);
  if (text === undefined) return;
  const address = addressOf(type, text);
  if (address === undefined) {
    reader.error(path, ...formProblem(type, text));
    return;
  }
  const problem = isIpv6(address) ? deadZone6(reader, uplink, type, address) : deadZone(reader, uplink, address);
  if (problem !== undefined) reader.error(path, problem, "an address beyond this uplink");
}

/** The address in a target; undefined when it is not of its type's form. */
function addressOf(type: string, text: string): string | undefined {
  const address = type === "tcp" ? endpointOf(text)?.address : type === "http" ? pageOf(text)?.address : text;
  if (address === undefined) return undefined;
  return parseIpv4(address) !== undefined || parseAddress6(address) !== null ? address : undefined;
}

function formProblem(type: string, text: string): [string, string] {
  if (type === "http") {
    const expected = "a URL with an address, such as http://192.0.2.10/ or http://[2001:db8::10]:8080/well";
    if (/^https:/i.test(text)) return ["is not spoken by a probe: the certificate would need a name", expected];
    return [pageOf(text) === null ? "is not valid" : `has a name in place of an address: ${noNames}`, expected];
  }
  if (type === "tcp") {
    const expected = "an address and port such as 192.0.2.10:443 or [2001:db8::10]:443";
    return [endpointOf(text) === null ? "is not valid" : `is not an address: ${noNames}`, expected];
  }
  return [isDnsName(text) && /[a-z]/i.test(text) ? `is not an address: ${noNames}` : "is not valid", addressForm];
}

/** Why nothing that this uplink leads to answers at an address. */
function deadZone(reader: ConfigReader, uplink: ConfigPath, text: string): string | undefined {
  const address = parseIpv4(text)!;
  if (!isHostAddress(address)) return "is not the address of another machine";
  const tun = parseNetwork(reader.text(["tun", "address"]) ?? "");
  if (tun !== undefined && contains(tun, address)) return "lies in the TUN's own subnet";
  return ownerProblem(reader, uplink, (other) => parseIpv4(reader.text([...other, "address"]) ?? "") === address);
}

function deadZone6(reader: ConfigReader, uplink: ConfigPath, type: string, text: string): string | undefined {
  if (reader.get([...uplink, "ipv6"]) === false) return "cannot be asked: the uplink's ipv6 is false";
  const words = parseAddress6(text)!;
  // A gateway as a rule; others than it need a port, which a router seldom has open.
  const isNeighbour = words[0]! >>> 22 === 0x3fa && (type === "icmp" || type === "arp");
  if (!isNeighbour && !isHostAddress6(words)) return "is not an address that can be asked from afar";
  const own = canonical6(text);
  return ownerProblem(reader, uplink, (other) => {
    const address = reader.text([...other, "ipv6", "address"]);
    return address !== undefined && canonical6(address) === own;
  });
}

function ownerProblem(
  reader: ConfigReader,
  uplink: ConfigPath,
  has: (uplink: ConfigPath) => boolean,
): string | undefined {
  const owner = reader.entries(["uplinks"]).find(has);
  if (owner === undefined) return undefined;
  return owner[1] === uplink[1] ? "is the uplink's own address" : `is the address of uplinks[${owner[1]}]`;
}

function checkTimes(reader: ConfigReader, probe: ConfigPath): void {
  const intervalMs = checkDuration(reader, [...probe, "interval"], shortestIntervalMs, longestIntervalMs);
  if (intervalMs === undefined) return;
  const longestMs = mostIntervalsOfTimeout * intervalMs;
  const path = [...probe, "timeout"];
  const timeoutMs = parseDurationMs(reader.text(path) ?? "");
  if (timeoutMs === undefined) return;
  if (timeoutMs > longestMs)
    reader.error(
      path,
      `is longer than ${mostIntervalsOfTimeout} intervals`,
      `at most ${formatDurationMs(longestMs)}, or a longer interval`,
    );
  else if (timeoutMs < shortestTimeoutMs)
    reader.error(path, "is too short", `at least ${formatDurationMs(shortestTimeoutMs)}`);
}

/** Thresholds that nothing can exceed are mistakes, but harmless ones. */
function checkThresholds(reader: ConfigReader, probe: ConfigPath): void {
  const timeoutMs = parseDurationMs(reader.text([...probe, "timeout"]) ?? "");
  for (const section of [probe, [...probe, "degraded"]]) {
    if (reader.get([...section, "loss"]) === 1)
      reader.warning([...section, "loss"], "cannot be exceeded: no more than everything is lost", "a share below 1");
    for (const key of ["latency", "jitter"]) {
      const limitMs = parseDurationMs(reader.text([...section, key]) ?? "");
      if (limitMs !== undefined && timeoutMs !== undefined && limitMs >= timeoutMs)
        reader.warning(
          [...section, key],
          `cannot be exceeded: answers count within the timeout of ${formatDurationMs(timeoutMs)}`,
          "less, or a longer timeout",
        );
    }
  }
  for (const key of ["loss", "latency", "jitter"]) {
    const [down, degraded] = [amount(reader, [...probe, key]), amount(reader, [...probe, "degraded", key])];
    if (down !== undefined && degraded !== undefined && degraded >= down)
      reader.warning(
        [...probe, "degraded", key],
        `is not reached: the line is down above ${String(reader.get([...probe, key]))}`,
        "less than that",
      );
  }
}

function amount(reader: ConfigReader, path: ConfigPath): number | undefined {
  const value = reader.get(path);
  if (typeof value === "number") return value;
  return typeof value === "string" ? parseDurationMs(value) : undefined;
}
