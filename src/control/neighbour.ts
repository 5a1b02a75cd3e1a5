/**
 * The gateway's MAC address, from the kernel's neighbour table.
 *
 * sluice sends through packet sockets, so the kernel sees no traffic that would keep the entry fresh.
 * A *managed* entry (NTF_EXT_MANAGED, Linux 5.16) is probed by the kernel all the time, which makes
 * its state the dead-gateway signal too. Nothing is cached here: a gateway that changes its MAC is
 * followed by the kernel.
 */

import { run, runJson } from "./command.ts";
import { familyOf } from "./iproute.ts";

export interface Neighbour {
  /** Null while the kernel does not know it. */
  readonly mac: string | null;
  readonly condition: "known" | "resolving" | "failed";
  /** Probed by the kernel all the time, or fixed by the administrator: nothing to do for us. */
  readonly lasting: boolean;
}

/** An entry that sluice made managed. */
export interface ManagedNeighbour {
  readonly interface: string;
  readonly gateway: string;
}

interface NeighbourRow {
  dst: string;
  lladdr?: string;
  managed?: null;
  state?: string[];
}

const absent: Neighbour = { mac: null, condition: "resolving", lasting: false };

/** The kernel's entry for a gateway; an absent one is `resolving` and not lasting. */
export async function readNeighbour(device: string, gateway: string): Promise<Neighbour> {
  const row = await readRow(device, gateway);
  if (row === undefined) return absent;
  const states = row.state ?? [];
  const lasting = row.managed !== undefined || states.includes("PERMANENT") || states.includes("NOARP");
  if (states.includes("FAILED")) return { mac: null, condition: "failed", lasting };
  // STALE, DELAY and PROBE keep the address that worked last: the kernel would send to it as well.
  if (row.lladdr !== undefined && !states.includes("INCOMPLETE"))
    return { mac: row.lladdr, condition: "known", lasting };
  return { mac: null, condition: "resolving", lasting };
}

/** Has the kernel probe a gateway from now on; an address it knows already stays. */
export async function manageNeighbour(neighbour: ManagedNeighbour): Promise<void> {
  await run("ip", ["neigh", "replace", neighbour.gateway, "dev", neighbour.interface, "managed"]);
}

/** Makes the entry an ordinary one again, which ages like any other. An entry or interface that is gone is fine. */
export async function unmanageNeighbour(neighbour: ManagedNeighbour): Promise<void> {
  const row = await readRow(neighbour.interface, neighbour.gateway);
  if (row === undefined || row.managed === undefined) return;
  const entry = [neighbour.gateway, "dev", neighbour.interface];
  if (row.lladdr === undefined) await run("ip", ["neigh", "del", ...entry]);
  else await run("ip", ["neigh", "replace", ...entry, "lladdr", row.lladdr, "nud", "stale"]);
}

async function readRow(device: string, gateway: string): Promise<NeighbourRow | undefined> {
  try {
    const rows = await runJson<NeighbourRow[]>(
      "ip",
      [familyOf(gateway), "-json", "neigh", "show", gateway, "dev", device],
      [],
    );
    return rows.find((row) => row.dst === gateway);
  } catch (error) {
    if (error instanceof Error && error.message.includes("Cannot find device")) return undefined;
    throw error;
  }
}
