/**
 * What sluice needs from a machine, checked by trying it: privileges, programs, kernel features,
 * settings. `sluice doctor` prints the list, `sluice up` refuses to start without the needed part.
 */

import { readdirSync, readFileSync } from "node:fs";
import { DeviceError, type DeviceProblem } from "../io/device-error.ts";
import { CommandError, run } from "./command.ts";
import { readLocalPortRange } from "./config-system.ts";
import type { Config } from "./config-types.ts";
import { type NativeProbe, nativeProbe } from "./native-probe.ts";
import { checkIpv6Settings } from "./requirements-ipv6.ts";

export interface Requirement {
  name: string;
  ok: boolean;
  /** False: sluice runs without it, and `fix` is advice. */
  needed: boolean;
  /** What was found. */
  detail: string;
  /** What to do about it; empty when ok. */
  fix: string;
}

export class RequirementsError extends Error {
  readonly missing: readonly Requirement[];

  constructor(missing: readonly Requirement[]) {
    super(missing.map(formatRequirement).join("\n"));
    this.name = "RequirementsError";
    this.missing = missing;
  }
}

export function formatRequirement(item: Requirement): string {
  return item.ok ? `${item.name}: ${item.detail}` : `${item.name}: ${item.detail}; ${item.fix}`;
}

/** Throws RequirementsError when something needed is missing; returns the advice on the rest. */
export async function requireAll(config: Config): Promise<Requirement[]> {
  const failed = (await checkRequirements(config)).filter((item) => !item.ok);
  const missing = failed.filter((item) => item.needed);
  if (missing.length > 0) throw new RequirementsError(missing);
  return failed;
}

/** Every requirement in the order in which one would put them right. Without a configuration, those that depend on one are left out. */
export async function checkRequirements(config?: Config, probe: NativeProbe = nativeProbe): Promise<Requirement[]> {
  // Without a configuration, ask for what `workers: auto` takes on most machines.
  const workers = config?.workers ?? 2;
  const items = [
    checkCapabilities(workers),
    await checkProgram("ip", ["-V"], "iproute2"),
    await checkProgram("nft", ["--version"], "nftables"),
  ];
  if (items[2]!.ok) items.push(await checkNftables());
  items.push(...checkNative(probe, workers));
  if (config !== undefined) items.push(...checkSettings(config), ...(await checkOffloads(config)));
  items.push(checkOptionalPackage("raw-socket"), checkOptionalPackage("cap"));
  return items;
}

function found(name: string, detail: string): Requirement {
  return { name, ok: true, needed: true, detail, fix: "" };
}

function missing(name: string, detail: string, fix: string): Requirement {
  return { name, ok: false, needed: true, detail, fix };
}

function advice(name: string, detail: string, fix: string): Requirement {
  return { name, ok: false, needed: false, detail, fix };
}

/** Bits of the capability sets (linux/capability.h). */
const capabilityBits = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21, CAP_BPF: 39 } as const;

function checkCapabilities(workers: number): Requirement {
  const name = "privileges";
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  const held = BigInt(`0x${line?.[1] ?? "0"}`);
  const has = (capability: keyof typeof capabilityBits) => ((held >> BigInt(capabilityBits[capability])) & 1n) === 1n;
  const lacking: string[] = (["CAP_NET_ADMIN", "CAP_NET_RAW"] as const).filter((capability) => !has(capability));
  // Several workers are steered by an eBPF program; CAP_SYS_ADMIN contains CAP_BPF (capabilities(7)).
  if (workers > 1 && !has("CAP_BPF") && !has("CAP_SYS_ADMIN")) lacking.push("CAP_BPF");
  if (lacking.length === 0) return found(name, process.getuid!() === 0 ? "root" : "the capabilities are there");
  return missing(
    name,
    `${lacking.join(", ")} missing`,
    "run as root, or as a service with these AmbientCapabilities (share/sluice.service)",
  );
}

async function checkProgram(program: string, versionArguments: string[], debianPackage: string): Promise<Requirement> {
  try {
    return found(program, (await run(program, versionArguments)).trim());
  } catch {
    return missing(program, "the program cannot be run", `apt-get install ${debianPackage}`);
  }
}

/** A dry run in the kernel (-c): the hook that keeps the router's own stack quiet, and tables that vanish with their owner. */
async function checkNftables(): Promise<Requirement> {
  const name = "nftables ingress";
  const table =
    "table netdev sluice_doctor { flags owner; chain ingress { type filter hook ingress device lo priority 0; policy accept; }; }";
  try {
    await run("nft", ["-c", table]);
    return found(name, "netdev ingress hook and owned tables");
  } catch (error) {
    const why =
      error instanceof CommandError ? error.message.split("\n").find((part) => part.includes("Error")) : undefined;
    return missing(
      name,
      why ?? "not possible",
      "needs CAP_NET_ADMIN and a kernel of 5.12 or later with CONFIG_NFT and CONFIG_NETFILTER_INGRESS",
    );
  }
}

function checkNative(probe: NativeProbe, workers: number): Requirement[] {
  const shim = attempt("native shim", "built", () => probe.load());
  if (!shim.ok) return [shim];
  const plural = workers > 1 ? `, steered to ${workers} workers` : "";
  return [
    shim,
    attempt("TUN", `queues with vnet headers${plural}`, () => probe.openTun(workers)),
    attempt("packet sockets", `vnet headers${plural}`, () => probe.openPacketSockets(workers)),
  ];
}

function attempt(name: string, detail: string, action: () => void): Requirement {
  try {
    action();
    return found(name, detail);
  } catch (error) {
    const fix = error instanceof DeviceError ? deviceFixes[error.problem] : "run 'npm ci' where sluice is installed";
    const cause = error instanceof DeviceError ? error.cause : error;
    return missing(name, firstLine(cause), fix);
  }
}

const deviceFixes: Record<DeviceProblem, string> = {
  "no-tun-driver": "modprobe tun; in a container, pass the device in (--device /dev/net/tun)",
  "no-permission": "run as root, or with the capabilities above and access to /dev/net/tun",
  "name-in-use": "another program is creating devices at this moment; try again",
  "no-vnet-headers": "a kernel with CONFIG_TUN, Linux 4.8 or newer (6.2 for UDP segmentation), is needed",
  "no-interface": "bring the loopback interface back",
  "no-steering": "set workers: 1, or use a kernel with CONFIG_BPF_SYSCALL, Linux 4.16 or newer",
  other: "report this with the output of 'sluice doctor'",
};

function checkSettings(config: Config): Requirement[] {
  const items: Requirement[] = [];
  if (config.steer.interfaces.length > 0) {
    const forwards = readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim() === "1";
    const name = "net.ipv4.ip_forward";
    items.push(
      forwards
        ? found(name, "1")
        : advice(
            name,
            "0: nothing from steer.interfaces is forwarded",
            "sysctl -w net.ipv4.ip_forward=1, and in /etc/sysctl.d/ for good",
          ),
    );
  }
  items.push(...checkIpv6Settings(config), checkLocalPortRange(config), checkListeners(config));
  return items;
}

function checkLocalPortRange(config: Config): Requirement {
  const name = "net.ipv4.ip_local_port_range";
  const range = readLocalPortRange();
  const { firstPort, lastPort } = config.nat;
  const detail =
    range === undefined ? "cannot be read" : `${range.first}-${range.last}, nat.ports ${firstPort}-${lastPort}`;
  if (range === undefined || range.first > lastPort || range.last < firstPort) return found(name, detail);
  return advice(
    name,
    `${detail}: they overlap`,
    "choose nat.ports outside it, so that connections of this machine keep their ports",
  );
}

/** A service that listens within nat.ports would hear nothing from the uplinks any more. */
function checkListeners(config: Config): Requirement {
  const name = "listeners in nat.ports";
  const { firstPort, lastPort } = config.nat;
  const taken = [...new Set(listeningPorts())].filter((entry) => {
    const port = Number(entry.split("/")[0]);
    return port >= firstPort && port <= lastPort;
  });
  if (taken.length === 0) return found(name, "none");
  const shown = taken.slice(0, 8).join(", ") + (taken.length > 8 ? ` and ${taken.length - 8} more` : "");
  return advice(
    name,
    `${shown}: unreachable through the uplinks while sluice runs`,
    "choose other nat.ports, or move these services",
  );
}

/** "8080/tcp" of every listening TCP and unconnected UDP socket (proc(5): local port in hex, state 0A and 07). */
function listeningPorts(): string[] {
  const listening = { tcp: "0A", tcp6: "0A", udp: "07", udp6: "07" };
  return Object.entries(listening).flatMap(([file, state]) => {
    const rows = readTable(`/proc/net/${file}`).map((line) => line.trim().split(/\s+/));
    return rows
      .filter((row) => row[3] === state)
      .map((row) => `${Number.parseInt(row[1]!.split(":").at(-1)!, 16)}/${file.slice(0, 3)}`);
  });
}

/** Rows below the heading; none when the kernel has no such table (IPv6 switched off). */
function readTable(file: string): string[] {
  try {
    return readFileSync(file, "utf8").trim().split("\n").slice(1);
  } catch {
    return [];
  }
}

/** GRO joins packets on arrival, and packets per system call are what throughput is made of. */
async function checkOffloads(config: Config): Promise<Requirement[]> {
  const present = new Set(readdirSync("/sys/class/net"));
  const names = [...config.steer.interfaces, ...config.uplinks.map((uplink) => uplink.interface)].filter((device) =>
    present.has(device),
  );
  return Promise.all(
    names.map(async (device) => {
      const name = `GRO on ${device}`;
      try {
        const on = /^generic-receive-offload: on/m.test(await run("ethtool", ["-k", device]));
        return on ? found(name, "on") : advice(name, "off: throughput suffers", `ethtool -K ${device} gro on`);
      } catch {
        return found(name, "unknown: ethtool is not installed");
      }
    }),
  );
}

/** For the `packages` back end only. */
function checkOptionalPackage(name: string): Requirement {
  try {
    import.meta.resolve(name);
    return found(`package ${name}`, "installed");
  } catch {
    return found(`package ${name}`, "not installed; only io: packages needs it");
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
}
