/** Ports: the translator's own, and those that are forwarded. No port may have two meanings on one uplink. */

import { parseAddress6 } from "../wire/ipv6.ts";
import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import {
  canonical6,
  contains,
  isHostAddress,
  isHostAddress6,
  isIpv6,
  type PortRange,
  parseIpv4,
  parseNetwork,
  parsePortRange,
  splitTarget,
} from "./config-values.ts";

/** Below this, a worker whose hosts are busy has to reuse ports that remotes still remember. */
const comfortablePortsPerWorker = 1024;

export function checkNatPorts(reader: ConfigReader, workers: number): void {
  const path = ["nat", "ports"];
  const range = parsePortRange(reader.text(path) ?? "");
  if (range === undefined) return;
  if (!checkPortRange(reader, path, range, 1024)) return;
  const perWorker = Math.floor((range.last - range.first + 1) / workers);
  if (perWorker < 1) reader.error(path, `is too small for ${workers} workers`, "at least one port for each");
  else if (perWorker < comfortablePortsPerWorker) {
    reader.warning(
      path,
      `leaves ${perWorker} ports to each of ${workers} workers`,
      `at least ${comfortablePortsPerWorker} for each`,
    );
  }
}

export function checkForwards(reader: ConfigReader): void {
  const seen: { path: ConfigPath; range: PortRange }[] = [];
  for (const path of reader.entries(["forwards"])) {
    checkForwardUplinks(reader, path);
    const range = checkForwardedPorts(reader, [...path, "port"]);
    checkTarget(reader, [...path, "to"], range);
    if (range === undefined) continue;
    const rival = seen.find(
      (other) =>
        sharePorts(other.range, range) &&
        shareFamily(reader, other.path, path) &&
        shareProtocol(reader, other.path, path) &&
        shareUplink(reader, other.path, path),
    );
    if (rival !== undefined)
      reader.error(
        [...path, "port"],
        `overlaps the port of forwards[${rival.path[1]}]`,
        "one forward for a port, protocol and uplink",
      );
    seen.push({ path, range });
  }
}

/** The range, when it is sound in itself. */
function checkForwardedPorts(reader: ConfigReader, path: ConfigPath): PortRange | undefined {
  const value = reader.get(path);
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const range = parsePortRange(value);
  // A single number out of range is the schema's to report.
  if (range === undefined || (typeof value === "number" && (value < 1 || value > 65_535))) return undefined;
  if (!checkPortRange(reader, path, range, 1)) return undefined;
  const nat = parsePortRange(reader.text(["nat", "ports"]) ?? "");
  if (nat !== undefined && sharePorts(nat, range))
    reader.error(path, `overlaps nat.ports (${reader.text(["nat", "ports"])})`, "a port outside it");
  return range;
}

function checkForwardUplinks(reader: ConfigReader, forward: ConfigPath): void {
  const path = [...forward, "uplink"];
  const names = reader.entries(["uplinks"]).map((uplink) => reader.text([...uplink, "name"]));
  for (const entry of typeof reader.get(path) === "string" ? [path] : reader.entries(path)) {
    const name = reader.text(entry);
    if (name !== undefined && !names.includes(name))
      reader.error(
        entry,
        "is the name of no uplink",
        `one of ${names.filter((each) => each !== undefined).join(", ")}`,
      );
  }
}

/** Where a forward leads: ADDRESS:PORT, or ADDRESS:PORT-PORT with as many ports as are forwarded. */
function checkTarget(reader: ConfigReader, path: ConfigPath, forwarded: PortRange | undefined): void {
  const target = splitTarget(reader.text(path) ?? "");
  const ports = parsePortRange(target?.ports ?? "");
  // Of another form, which the schema reports.
  if (target === undefined || ports === undefined) return;
  if (isIpv6(target.address)) checkAddress6(reader, path, target.address);
  else checkAddress(reader, path, target.address);
  if (!checkPortRange(reader, path, ports, 1) || forwarded === undefined) return;
  const count = forwarded.last - forwarded.first + 1;
  if (ports.first + count - 1 > 65_535)
    reader.error(path, "leads beyond the last port", `a first port up to ${65_536 - count}`);
  else if (ports.last !== ports.first && ports.last - ports.first + 1 !== count)
    reader.error(
      path,
      `has another number of ports than the ${count} of port`,
      `${ports.first}-${ports.first + count - 1}`,
    );
}

function checkAddress(reader: ConfigReader, path: ConfigPath, text: string): void {
  const address = parseIpv4(text);
  if (address === undefined || !isHostAddress(address))
    reader.error(path, "does not lead to an address that a machine inside can have", "such as 192.168.10.2:80");
  // The TUN's own address is this machine itself.
  const tun = parseNetwork(reader.text(["tun", "address"]) ?? "");
  if (tun !== undefined && address !== undefined && address !== tun.address && contains(tun, address))
    reader.error(path, `lies in the TUN's own subnet ${reader.text(["tun", "address"])}`, "an inside address");
  const uplink = reader.entries(["uplinks"]).find((entry) => reader.text([...entry, "address"]) === text);
  if (uplink !== undefined)
    reader.error(path, `leads to the address of uplinks[${uplink[1]}]`, "this machine's inside address, or no forward");
}

function checkAddress6(reader: ConfigReader, path: ConfigPath, text: string): void {
  const words = parseAddress6(text);
  if (words === null || !isHostAddress6(words))
    reader.error(path, "does not lead to an address that a machine inside can have", "such as [fd00::2]:80");
  const uplink = reader
    .entries(["uplinks"])
    .find((entry) => canonical6(reader.text([...entry, "ipv6", "address"]) ?? "") === canonical6(text));
  if (uplink !== undefined)
    reader.error(path, `leads to the address of uplinks[${uplink[1]}]`, "this machine's inside address, or no forward");
}

/** True when the range is sound. */
function checkPortRange(reader: ConfigReader, path: ConfigPath, range: PortRange, lowest: number): boolean {
  if (range.last > 65_535) reader.error(path, "goes beyond the last port", `ports from ${lowest} to 65535`);
  else if (range.first > range.last)
    reader.error(path, "is reversed", `the lower port first: ${range.last}-${range.first}`);
  else if (range.first < lowest) reader.error(path, "begins too low", `ports from ${lowest} to 65535`);
  else return true;
  return false;
}

function sharePorts(a: PortRange, b: PortRange): boolean {
  return a.first <= b.last && b.first <= a.last;
}

function shareFamily(reader: ConfigReader, a: ConfigPath, b: ConfigPath): boolean {
  const [first, second] = [a, b].map((path) => reader.text([...path, "to"])?.startsWith("["));
  return first === second;
}

function shareProtocol(reader: ConfigReader, a: ConfigPath, b: ConfigPath): boolean {
  const first = reader.text([...a, "protocol"]);
  const second = reader.text([...b, "protocol"]);
  return first === second || first === "both" || second === "both";
}

/** A forward that names no uplink listens on all of them. */
function shareUplink(reader: ConfigReader, a: ConfigPath, b: ConfigPath): boolean {
  const first = reader.get([...a, "uplink"]);
  const second = reader.get([...b, "uplink"]);
  if (first === undefined || second === undefined) return true;
  return [first].flat().some((name) => [second].flat().includes(name));
}
