/**
 * Tells the workers how the uplinks are, and which of them new flows get.
 *
 * What went down is told at once. What came up, on another address or as another interface, is told when the
 * drop guards it: a reply to an unguarded address would find the router's own stack, which would answer with
 * RST for a port that is the translator's.
 */

import type { SharedState } from "../tables/shared-state.ts";
import type { Config } from "./config-types.ts";
import type { Firewall } from "./firewall.ts";
import { publishUplinks } from "./publish-uplinks.ts";
import { buildLookup, lowestTier } from "./scheduler.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

export interface UplinkPublisherOptions {
  config: Config;
  shared: SharedState;
  firewall: Firewall;
  /** Called after each publication: the workers wait for packets. */
  wake(): void;
  /** The drop could not be moved. */
  onFailure(reason: string): void;
}

export class UplinkPublisher {
  readonly #options: UplinkPublisherOptions;
  #latest: readonly UplinkSnapshot[];
  /** What the drop was last moved to. */
  #guarded: readonly UplinkSnapshot[];

  /** `guarded`: the state that the firewall was opened with. Nothing is told yet. */
  constructor(options: UplinkPublisherOptions, guarded: readonly UplinkSnapshot[]) {
    this.#options = options;
    this.#latest = guarded;
    this.#guarded = guarded;
  }

  /** Resolves when everything has been told; never rejects. */
  async update(current: readonly UplinkSnapshot[]): Promise<void> {
    this.#latest = current;
    this.#tell();
    try {
      await this.#options.firewall.refresh(this.#options.config, current);
    } catch (error) {
      this.#options.onFailure((error as Error).message);
      return;
    }
    this.#guarded = current;
    this.#tell();
  }

  #tell(): void {
    const { config, shared, wake } = this.#options;
    const snapshots = this.#latest.map((uplink, index) => onlyGuarded(uplink, this.#guarded[index]!));
    publishUplinks(snapshots, shared);
    const candidates = config.uplinks.map(({ name, weight, tier }, index) => ({ index, name, weight, tier }));
    const live = candidates.filter(({ index }) => snapshots[index]!.state === "up");
    const live6 = candidates.filter(({ index }) => snapshots[index]!.ipv6.state === "up");
    buildLookup(shared.lookups[0]!, lowestTier(live));
    buildLookup(shared.lookups6[0]!, lowestTier(live6));
    wake();
  }
}

/** Each family is down while the drop does not guard its address. */
function onlyGuarded(uplink: UplinkSnapshot, guarded: UplinkSnapshot): UplinkSnapshot {
  const sameInterface = uplink.ifindex === guarded.ifindex;
  const isGuarded = sameInterface && uplink.address === guarded.address;
  const isGuarded6 = sameInterface && uplink.ipv6.address === guarded.ipv6.address;
  return {
    ...uplink,
    ...(isGuarded ? {} : { state: "down" }),
    ipv6: isGuarded6 ? uplink.ipv6 : { ...uplink.ipv6, state: "down" },
  };
}
