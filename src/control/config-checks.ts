/** What a schema cannot say: how the parts of a configuration must fit each other. */

import { checkIpv6 } from "./config-ipv6.ts";
import { checkForwards, checkNatPorts } from "./config-ports.ts";
import type { ConfigPath } from "./config-problem.ts";
import { checkDuration } from "./config-range.ts";
import type { ConfigReader } from "./config-reader.ts";
import { checkRules } from "./config-rule-checks.ts";
import { checkUplinkUse } from "./config-uplink-checks.ts";
import { contains, formatDurationMs, isHostAddress, parseIpv4, parseNetwork } from "./config-values.ts";

const shortestTimeoutMs = 100;
/** A timer in the data plane is a 32-bit number of milliseconds. */
const longestTimeoutMs = 24 * 86_400_000;

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
  checkUplinkUse(reader);
  checkIpv6(reader);
  checkNatPorts(reader, workers);
  checkForwards(reader);
  checkRules(reader);
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

function checkTimeouts(reader: ConfigReader): void {
  for (const [key, { floorMs, source }] of Object.entries(timeoutFloors)) {
    const path = ["nat", "timeouts", key];
    const timeoutMs = checkDuration(reader, path, shortestTimeoutMs, longestTimeoutMs);
    if (timeoutMs !== undefined && timeoutMs < floorMs)
      reader.warning(path, `is shorter than ${source} allows`, `at least ${formatDurationMs(floorMs)}`);
  }
}
