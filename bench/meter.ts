/** What the machine does while traffic runs: processor time, and bytes on the uplinks. */
import { readFileSync } from "node:fs";
import type { Lab } from "../test/support/lab.ts";

/** USER_HZ, which /proc/stat counts in; Linux gives 100 on every architecture that Node runs on. */
const ticksPerSecond = 100;

export interface Reading {
  readonly atMs: number;
  /** All processors together, without idle and waiting. */
  readonly cpuSeconds: number;
  /** Both directions, by uplink. */
  readonly uplinkBytes: readonly number[];
}

export interface Usage {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** The smallest and the first uplink's share of the bytes. */
  readonly firstUplinkShare: number;
  readonly smallestShare: number;
}

export async function readMeter(lab: Lab): Promise<Reading> {
  const uplinkBytes = await readUplinks(lab);
  return { atMs: performance.now(), cpuSeconds: readCpuSeconds(), uplinkBytes };
}

export function usage(from: Reading, to: Reading): Usage {
  const bytes = to.uplinkBytes.map((value, uplink) => value - from.uplinkBytes[uplink]!);
  const total = bytes.reduce((sum, value) => sum + value, 0);
  return {
    seconds: (to.atMs - from.atMs) / 1000,
    cpuSeconds: to.cpuSeconds - from.cpuSeconds,
    firstUplinkShare: bytes[0]! / total,
    smallestShare: Math.min(...bytes) / total,
  };
}

/** Of all processors since boot, without idle and waiting. */
export function readCpuSeconds(): number {
  // cpu user nice system idle iowait irq softirq steal ...: steal is time that the machine did not get.
  const [, user, nice, system, , , irq, softirq] = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]!.split(/\s+/);
  const ticks = [user, nice, system, irq, softirq].reduce((sum, value) => sum + Number(value), 0);
  return ticks / ticksPerSecond;
}

async function readUplinks(lab: Lab): Promise<number[]> {
  const { stdout } = await lab.exec("router", ["ip", "-s", "-j", "link", "show", "type", "veth"]);
  const links = JSON.parse(stdout) as { ifname: string; stats64: { rx: { bytes: number }; tx: { bytes: number } } }[];
  return links
    .filter(({ ifname }) => ifname.startsWith("wan"))
    .sort((a, b) => a.ifname.localeCompare(b.ifname))
    .map(({ stats64 }) => stats64.rx.bytes + stats64.tx.bytes);
}
