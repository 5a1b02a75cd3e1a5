/** Everything that sluice could leave on a machine, as lists of lines: compare two, or look at what one has more. */

import { readdirSync } from "node:fs";
import type { Lab } from "../../support/lab.ts";

export interface Machine {
  rules: string[];
  routes: string[];
  /** Of IPv6. */
  rules6: string[];
  routes6: string[];
  nft: string[];
  sysctls: string[];
  links: string[];
  managedNeighbours: string[];
  processes: string[];
  /** Journals of this network namespace, and sockets of the lab's daemons. */
  files: string[];
}

/** Timers of the bridge and its ports, and sysctls that count or measure. */
const volatileLink = / \w+_timer +[\d.]+/g;
const volatileSysctl = /nf_conntrack_count|fastopen_key|\.random\./;

export async function readMachine(lab: Lab): Promise<Machine> {
  const lines = async (...command: string[]) => {
    // sysctl complains about what only the root namespace may read.
    const { stdout } = await lab.exec("router", command, { mayFail: command[0] === "sysctl" });
    return stdout
      .split("\n")
      .map((line) => line.trimEnd())
      .filter((line) => line !== "");
  };
  const [rules, routes, rules6, routes6, nft, sysctls, links, neighbours, namespace, processes] = await Promise.all([
    lines("ip", "-d", "rule"),
    lines("ip", "-d", "-4", "route", "show", "table", "all"),
    lines("ip", "-d", "-6", "rule"),
    lines("ip", "-d", "-6", "route", "show", "table", "all"),
    lines("nft", "-s", "list", "ruleset"),
    lines("sysctl", "-a", "--pattern", "^net\\."),
    lines("ip", "-d", "addr"),
    lines("ip", "neigh"),
    lines("readlink", "/proc/self/ns/net"),
    lines(
      "sh",
      "-c",
      `for pid in $(ip netns pids ${lab.namespace("router")}); do tr '\\0' ' ' </proc/$pid/cmdline; echo; done 2>/dev/null`,
    ),
  ]);
  return {
    rules,
    routes: routes.sort(),
    rules6,
    routes6: routes6.sort(),
    nft,
    sysctls: sysctls.filter((line) => !volatileSysctl.test(line)),
    links: links.map((line) => line.replace(volatileLink, "")),
    managedNeighbours: neighbours
      .filter((line) => line.includes("managed"))
      .map((line) => line.replace(/ lladdr.*/, ""))
      .sort(),
    processes: processes.filter((line) => /sluice\.ts|^nft -i|monitor/.test(line)),
    files: filesOf(lab, namespace[0]!.replace(/\D/g, "")),
  };
}

/**
 * The same once the children of a killed daemon have noticed, and what the kernel takes away with the last of them, TUN
 * and nft table, is gone: a process that ends has no command line any more when it has not yet closed its files.
 */
export async function settledMachine(lab: Lab): Promise<Machine> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const machine = await readMachine(lab);
    const { processes, links, nft } = machine;
    const living = [...processes, ...links.filter(isOfProcess), ...nft.filter(isOfProcess)];
    if (living.length === 0 || Date.now() > deadline) return machine;
  }
}

/** Of a TUN or a table that its owner takes along. */
function isOfProcess(line: string): boolean {
  return /\bpersist off\b|\bflags owner\b/.test(line);
}

/** What `after` has and `before` has not, by list; a line that changed is in it too. */
export function leftOver(before: Machine, after: Machine): Partial<Machine> {
  const more = Object.keys(before).map((key) => {
    const list = key as keyof Machine;
    return [list, after[list].filter((line) => !before[list].includes(line))] as const;
  });
  return Object.fromEntries(more.filter(([, lines]) => lines.length > 0));
}

function filesOf(lab: Lab, namespace: string): string[] {
  const journals = list("/run/sluice").filter((name) => name.includes(`.${namespace}.`));
  const sockets = list(lab.directory).filter((name) => name.endsWith(".sock"));
  return [
    ...journals.map((name) => name.replace(namespace, "NETNS")),
    ...sockets.map((name) => name.replace(/.*\//, "")),
  ].sort();
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: "utf8" });
  } catch {
    return [];
  }
}
