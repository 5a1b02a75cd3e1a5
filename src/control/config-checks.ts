/** What a schema cannot say: how the parts of a configuration must fit each other. */

import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import {
  contains,
  formatDurationMs,
  isHostAddress,
  type PortRange,
  parseDurationMs,
  parseIpv4,
  parseNetwork,
  parsePortRange,
} from "./config-values.ts";

const shortestTimeoutMs = 100;
/** A timer in the data plane is a 32-bit number of milliseconds. */
const longestTimeoutMs = 24 * 86_400_000;
/** Below this, a worker whose hosts are busy has to reuse ports that remotes still remember. */
const comfortablePortsPerWorker = 1024;

/** The least that the RFCs allow, and where they say so. */
const timeoutFloors = {
  tcpEstablished: { floorMs: 7_440_000, source: "RFC 5382 REQ-5" },
  tcpTransitory: { floorMs: 240_000, source: "RFC 5382 REQ-5" },
  udp: { floorMs: 120_000, source: "RFC 4787 REQ-5" },
  icmp: { floorMs: 60_000, source: "RFC 5508 REQ-2" },
} as const;

export function checkMeaning(reader: ConfigReader, workers: number): void {
  checkTun(reader);
  checkSteering(reader);
  checkUplinks(reader);
  checkNatPorts(reader, workers);
  checkForwards(reader);
  checkTimeouts(reader);
}

function checkTun(reader: ConfigReader): void {
  const path = ["tun", "address"];
  const network = parseNetwork(reader.text(path) ?? "");
  if (network === undefined) return;
  const { address, prefixLength } = network;
  if (!isHostAddress(address)) {
    reader.error(path, "is not an address that a machine can have", "a private address, such as 10.255.255.1/30");
    return;
  }
  const blockSize = 2 ** (32 - prefixLength);
  const hostPart = address % blockSize;
  // A /31 (RFC 3021) and a /32 have neither a network nor a broadcast address.
  if (prefixLength <= 30 && (hostPart === 0 || hostPart === blockSize - 1)) {
    reader.error(
      path,
      `is the ${hostPart === 0 ? "network" : "broadcast"} address of its subnet`,
      "a host's address in it",
    );
  }
}

function checkSteering(reader: ConfigReader): void {
  const interfaces = reader.entries(["steer", "interfaces"]);
  for (const path of interfaces) {
    const name = reader.text(path);
    if (name === "lo")
      reader.error(path, "this machine's own traffic is not steered by its loopback interface", "steer.local: true");
    if (name !== undefined && name === reader.text(["tun", "name"]))
      reader.error(path, "is the TUN itself", "an interface of the inside network");
  }
  if (interfaces.length === 0 && reader.get(["steer", "local"]) === false) {
    reader.warning(
      ["steer"],
      "nothing is steered into the TUN, so no traffic is balanced",
      "steer.interfaces or steer.local: true",
    );
  }
}

function checkUplinks(reader: ConfigReader): void {
  const uplinks = reader.entries(["uplinks"]);
  const steered = new Set(reader.entries(["steer", "interfaces"]).map((path) => reader.text(path)));
  const tunName = reader.text(["tun", "name"]);
  reportRepeats(reader, uplinks, "name");
  reportRepeats(reader, uplinks, "interface");
  for (const uplink of uplinks) {
    const path = [...uplink, "interface"];
    const device = reader.text(path);
    if (device === undefined) continue;
    if (device === "lo") reader.error(path, "the loopback interface leads nowhere", "an interface towards a provider");
    if (device === tunName) reader.error(path, "is the TUN itself", "an interface towards a provider");
    if (steered.has(device))
      reader.error(
        path,
        "is also in steer.interfaces",
        "an interface on one side only: traffic comes from the steered ones and leaves by the uplinks",
      );
  }
  for (const uplink of uplinks) checkUplinkAddresses(reader, uplink);
}

function reportRepeats(reader: ConfigReader, uplinks: ConfigPath[], key: "name" | "interface"): void {
  const first = new Map<string, ConfigPath>();
  for (const uplink of uplinks) {
    const path = [...uplink, key];
    const value = reader.text(path);
    if (value === undefined) continue;
    const earlier = first.get(value);
    if (earlier === undefined) first.set(value, path);
    else reader.error(path, `is also the ${key} of uplinks[${earlier[1]}]`, `every uplink to have its own`);
  }
}

function checkUplinkAddresses(reader: ConfigReader, uplink: ConfigPath): void {
  const tun = parseNetwork(reader.text(["tun", "address"]) ?? "");
  for (const key of ["address", "gateway"] as const) {
    const path = [...uplink, key];
    const address = parseIpv4(reader.text(path) ?? "");
    if (address === undefined) continue;
    if (!isHostAddress(address)) reader.error(path, "is not an address that a machine can have", "a unicast address");
    if (tun !== undefined && contains(tun, address))
      reader.error(path, `lies in the TUN's own subnet ${reader.text(["tun", "address"])}`, "another tun.address");
  }
  const gateway = reader.text([...uplink, "gateway"]);
  if (gateway !== undefined && gateway === reader.text([...uplink, "address"])) {
    reader.error([...uplink, "gateway"], "is the uplink's own address", "the provider's router");
  }
}

function checkNatPorts(reader: ConfigReader, workers: number): void {
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

/** True when the range is sound. */
function checkPortRange(reader: ConfigReader, path: ConfigPath, range: PortRange, lowest: number): boolean {
  if (range.last > 65_535) reader.error(path, "goes beyond the last port", `ports from ${lowest} to 65535`);
  else if (range.first > range.last)
    reader.error(path, "is reversed", `the lower port first: ${range.last}-${range.first}`);
  else if (range.first < lowest) reader.error(path, "begins too low", `ports from ${lowest} to 65535`);
  else return true;
  return false;
}

function checkForwards(reader: ConfigReader): void {
  const seen: { path: ConfigPath; range: PortRange; protocol: string | undefined }[] = [];
  const nat = parsePortRange(reader.text(["nat", "ports"]) ?? "");
  for (const forward of reader.entries(["forwards"])) {
    const path = [...forward, "port"];
    const value = reader.get(path);
    if (typeof value !== "string" && typeof value !== "number") continue;
    const range = parsePortRange(value);
    // A single number out of range is the schema's to report.
    if (range === undefined || (typeof value === "number" && (value < 1 || value > 65_535))) continue;
    if (!checkPortRange(reader, path, range, 1)) continue;
    if (nat !== undefined && sharePorts(nat, range))
      reader.error(path, `overlaps nat.ports (${reader.text(["nat", "ports"])})`, "a port outside it");
    const protocol = reader.text([...forward, "protocol"]);
    const rival = seen.find(
      (other) =>
        other.protocol === protocol && sharePorts(other.range, range) && shareUplink(reader, other.path, forward),
    );
    if (rival !== undefined)
      reader.error(
        path,
        `overlaps the port of forwards[${rival.path[1]}]`,
        "one forward for a port, protocol and uplink",
      );
    seen.push({ path: forward, range, protocol });
  }
}

function sharePorts(a: PortRange, b: PortRange): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** A forward that names no uplink listens on all of them. */
function shareUplink(reader: ConfigReader, a: ConfigPath, b: ConfigPath): boolean {
  const first = reader.get([...a, "uplink"]);
  const second = reader.get([...b, "uplink"]);
  if (first === undefined || second === undefined) return true;
  return [first].flat().some((name) => [second].flat().includes(name));
}

function checkTimeouts(reader: ConfigReader): void {
  for (const [key, { floorMs, source }] of Object.entries(timeoutFloors)) {
    const path = ["nat", "timeouts", key];
    const timeoutMs = parseDurationMs(reader.text(path) ?? "");
    if (timeoutMs === undefined) continue;
    if (timeoutMs < shortestTimeoutMs || timeoutMs > longestTimeoutMs) {
      reader.error(
        path,
        "is out of range",
        `a duration from ${formatDurationMs(shortestTimeoutMs)} to ${formatDurationMs(longestTimeoutMs)}`,
      );
    } else if (timeoutMs < floorMs) {
      reader.warning(path, `is shorter than ${source} allows`, `at least ${formatDurationMs(floorMs)}`);
    }
  }
}
