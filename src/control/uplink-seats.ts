/**
 * Which place an uplink has: its number in tables, rows, counters and masks. It keeps it for as long as the daemon runs, so
 * that flows, which name their uplink by it, outlive a change of the configuration. Places without an uplink
 * are vacant; some are kept from the start on, since a worker's devices are counted when its memory is laid out.
 */

import { maxUplinks } from "../tables/shared-state.ts";
import type { Config, UplinkConfig } from "./config-types.ts";

/** How many uplinks a reload may add. */
const sparePlaces = 2;

/** Stands where no uplink is. Its interface is never there. */
const vacant: UplinkConfig = {
  name: "",
  interface: "",
  order: 0,
  ipv6: null,
  weight: 1,
  tier: 1,
  probe: null,
  passive: false,
  holdDownMs: 0,
  resetAfterMs: 0,
  failback: "keep",
  rate: null,
  cap: null,
  schedule: [],
};

export function isVacant({ name }: { readonly name: string }): boolean {
  return name === "";
}

/** The configuration with places to spare. */
export function withSpares(config: Config): Config {
  const places = Math.min(config.uplinks.length + sparePlaces, maxUplinks);
  const spares = new Array<UplinkConfig>(places - config.uplinks.length).fill(vacant);
  return { ...config, uplinks: [...config.uplinks, ...spares] };
}

/**
 * Another configuration with its uplinks in the places that they have in the current one, and new ones in vacant places.
 * Throws when there is no room.
 */
export function reseat(current: Config, next: Config): Config {
  const uplinks = current.uplinks.map(({ name }) => next.uplinks.find((uplink) => uplink.name === name) ?? vacant);
  const added = next.uplinks.filter(({ name }) => !current.uplinks.some((uplink) => uplink.name === name));
  for (const uplink of added) {
    const place = uplinks.findIndex(isVacant);
    if (place < 0)
      throw new Error(
        `there is no place left for uplink ${uplink.name}: a running daemon has ${uplinks.length}; restart it`,
      );
    uplinks[place] = uplink;
  }
  return { ...next, uplinks };
}
