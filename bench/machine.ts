/** The machine and the commit that figures belong to. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readCpuSeconds } from "./meter.ts";

export interface Machine {
  processor: string;
  processors: number;
  memoryGiB: number;
  system: string;
  kernel: string;
  node: string;
  /** BBR spaces its packets by timer, so one stream is a third of what it is with Reno: it decides the TCP figures as much as the router does. */
  congestionControl: string;
  /** "unknown" outside a git checkout; "+" at its end: with changes that are not committed. */
  commit: string;
  /** Cores that were busy in the second before the run: others' work is noise. */
  busyBefore: number;
}

export async function describeMachine(): Promise<Machine> {
  return {
    processor: cpus()[0]!.model.trim(),
    processors: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: /PRETTY_NAME="(.*)"/.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "Linux",
    kernel: release(),
    node: process.version,
    congestionControl: readFileSync("/proc/sys/net/ipv4/tcp_congestion_control", "utf8").trim(),
    commit: commit(),
    busyBefore: await busyCores(),
  };
}

async function busyCores(): Promise<number> {
  const [began, cpuSeconds] = [performance.now(), readCpuSeconds()];
  await sleep(1000);
  return (readCpuSeconds() - cpuSeconds) / ((performance.now() - began) / 1000);
}

function commit(): string {
  const git = (...words: string[]) =>
    execFileSync("git", words, {
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    // Only what is measured: documents may change.
    const changed = git("status", "--porcelain", "--", "src", "native-shim", "bench", "package-lock.json");
    return git("rev-parse", "--short=12", "HEAD") + (changed === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}
