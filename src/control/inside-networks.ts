/**
 * The networks that hosts inside may have their addresses from: what the kernel routes to the steered
 * interfaces, directly or by a router there, and where the machine's own traffic is steered, its own addresses. A
 * source from anywhere else is forged or misconfigured; its answers would never find it.
 */

import { type InsideNetwork, mostInsideNetworks, writeInsideNetworks } from "../tables/inside-networks.ts";
import type { SharedState } from "../tables/shared-state.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import type { Config } from "./config-types.ts";
import { parseIpv4 } from "./config-values.ts";
import { type Family, families, listReachable } from "./iproute.ts";
import { liesWithin } from "./network-ranges.ts";

const everything: Readonly<Record<Family, string>> = { "-4": "0.0.0.0/0", "-6": "::/0" };

/** As "192.168.10.0/24", sorted; none lies within another. */
export interface InsideRoutes {
  readonly networks: readonly string[];
  /** By steered interface, and of `lo` the machine's own addresses. */
  readonly behind: Readonly<Record<string, readonly string[]>>;
}

export async function readInsideNetworks({ steer }: Config): Promise<InsideRoutes> {
  const interfaces = steer.local ? ["lo", ...steer.interfaces] : steer.interfaces;
  const behind: Record<string, string[]> = Object.fromEntries(interfaces.map((name) => [name, []]));
  for (const family of families()) {
    for (const { destination, devices, isLocal } of await listReachable(family)) {
      const network = destination === "default" ? everything[family] : destination;
      for (const name of isLocal ? ["lo"] : devices) behind[name]?.push(network);
    }
  }
  for (const name of interfaces) behind[name] = widest(behind[name]!);
  return { networks: widest(Object.values(behind).flat()), behind };
}

/**
 * Tells the workers, unless they know. Returns false when there are too many networks of a family to tell them all
 * apart: then every source passes as one of them.
 */
export function publishInsideNetworks(networks: readonly string[], shared: SharedState): boolean {
  const parsed = networks.map(parseNetwork);
  const crowded = ([1, 4] as const).filter(
    (size) => parsed.filter(({ words }) => words.length === size).length > mostInsideNetworks,
  );
  const kept = parsed.filter(({ words }) => !crowded.some((size) => size === words.length));
  for (const size of crowded) kept.push({ words: new Array<number>(size).fill(0), prefixLength: 0 });
  const table = new Int32Array(shared.inside.length);
  writeInsideNetworks(table, kept);
  if (table.some((word, at) => word !== shared.inside[at])) shared.updateUplinks(() => shared.inside.set(table));
  return crowded.length === 0;
}

/** Without those that lie within another, in a fixed order. */
function widest(networks: readonly string[]): string[] {
  const byWidth = [...new Set(networks)].sort((a, b) => lengthOf(a) - lengthOf(b) || (a < b ? -1 : 1));
  const kept: string[] = [];
  for (const network of byWidth) if (!kept.some((wider) => liesWithin(network, wider))) kept.push(network);
  return kept.sort();
}

function lengthOf(network: string): number {
  return parseNetwork(network).prefixLength;
}

/** Of "192.0.2.0/24", or an address alone. */
function parseNetwork(text: string): InsideNetwork {
  const [address, length] = text.split("/") as [string, string | undefined];
  const words = address.includes(":") ? parseAddress6(address)! : [parseIpv4(address)! | 0];
  return { words, prefixLength: length === undefined ? words.length * 32 : Number(length) };
}
