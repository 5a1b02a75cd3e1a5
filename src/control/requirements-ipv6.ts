/** Settings of the kernel that IPv6 on the uplinks wants: advice, asked only where an uplink has an address. */

import { readFileSync } from "node:fs";
import type { Config } from "./config-types.ts";
import type { Requirement } from "./requirements.ts";

export function checkIpv6Settings(config: Config): Requirement[] {
  const addressed = devicesWithGlobalAddress();
  const uplinks = config.uplinks.filter((uplink) => uplink.ipv6 !== null && addressed.has(uplink.interface));
  if (uplinks.length === 0 || config.steer.interfaces.length === 0) return [];
  const name = "net.ipv6.conf.all.forwarding";
  if (readSetting("all", "forwarding") !== "1") {
    const detail = "0: no IPv6 from steer.interfaces is forwarded";
    return [advice(name, detail, `sysctl -w ${name}=1, and in /etc/sysctl.d/ for good`)];
  }
  // A machine that forwards takes router advertisements only where it is told to (ip-sysctl.rst, accept_ra).
  const deaf = uplinks.filter(
    ({ interface: device, ipv6 }) => ipv6!.gateway === undefined && readSetting(device, "accept_ra") === "1",
  );
  return [
    { name, ok: true, needed: true, detail: "1", fix: "" },
    ...deaf.map(({ interface: device }) =>
      advice(
        `net.ipv6.conf.${device}.accept_ra`,
        "1: router advertisements are ignored while this machine forwards",
        `sysctl -w net.ipv6.conf.${device}.accept_ra=2, unless something else configures ${device}`,
      ),
    ),
  ];
}

/** /proc/net/if_inet6: address, index, prefix length, scope (00: global), flags, device. */
function devicesWithGlobalAddress(): Set<string> {
  const rows = read("/proc/net/if_inet6")
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return new Set(rows.filter((row) => row[3] === "00").map((row) => row[5]!));
}

function readSetting(device: string, name: string): string {
  return read(`/proc/sys/net/ipv6/conf/${device}/${name}`).trim();
}

/** Empty where the kernel has no IPv6. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function advice(name: string, detail: string, fix: string): Requirement {
  return { name, ok: false, needed: false, detail, fix };
}
