/**
 * Tells the workers how the uplinks are, and which of them new flows get.
 *
 * What went down is told at once. What came up, on another address or as another interface, is told when the
 * drop guards it: a reply to an unguarded address would find the router's own stack, which would answer with
 * RST for a port that is the translator's.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { maxGroups, type SharedState } from "../tables/shared-state.ts";
import type { Firewall } from "./firewall.ts";
import { type GroupPlan, type PlanInput, planGroups } from "./group-plan.ts";
import { publishUplinks, type UplinkOrders } from "./publish-uplinks.ts";
import { buildLookup } from "./scheduler.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

export interface UplinkPublisherOptions {
  shared: SharedState;
  firewall: Firewall;
  /** Called after each publication: the workers wait for packets. */
  wake(): void;
  /** The drop could not be moved. */
  onFailure(reason: string): void;
  /** Between a failure of the drop and the try that counts. */
  secondTryMs?: number;
}

/** How many times the flows of each uplink have been cut off, by place. */
export interface Cuts {
  readonly all: number;
  readonly displaced: number;
}

/** What is told: the links as they are, and what was decided about them. */
export interface Publication {
  readonly snapshots: readonly UplinkSnapshot[];
  readonly plan: PlanInput;
  readonly cuts: readonly Cuts[];
}

const nobody: GroupPlan = { candidates: [], mask: 0 };

export class UplinkPublisher {
  readonly #options: UplinkPublisherOptions;
  /** What the drop was last moved to. */
  #guarded: readonly UplinkSnapshot[];
  #latest: Publication | undefined;
  /** What each lookup table was built from. */
  readonly #built = new Map<Uint8Array, string>();

  /** `guarded`: the state that the firewall was opened with. Nothing is told yet. */
  constructor(options: UplinkPublisherOptions, guarded: readonly UplinkSnapshot[]) {
    this.#options = options;
    this.#guarded = guarded;
  }

  /** Resolves when everything has been told; never rejects. */
  async update(publication: Publication): Promise<void> {
    this.#latest = publication;
    this.#tell();
    try {
      if (!(await this.#guard(publication))) return;
    } catch (error) {
      this.#options.onFailure((error as Error).message);
      return;
    }
    this.#guarded = publication.snapshots;
    this.#tell();
  }

  /**
   * Moves the drop; false when that has been overtaken. An interface that is gone again since it was read is refused: so a failure counts
   * when the links are known to be the same a second later, and it fails once more. Who is not guarded is down meanwhile.
   */
  async #guard({ snapshots, plan }: Publication): Promise<boolean> {
    const { firewall, secondTryMs = 1000 } = this.#options;
    try {
      await firewall.refresh(plan.config, snapshots);
    } catch {
      await sleep(secondTryMs, undefined, { ref: false });
      if (JSON.stringify(this.#latest!.snapshots) !== JSON.stringify(snapshots)) return false;
      await firewall.refresh(plan.config, snapshots);
    }
    return true;
  }

  #tell(): void {
    const { shared, wake } = this.#options;
    const { snapshots: latest, plan: input, cuts } = this.#latest!;
    const snapshots = latest.map((uplink, index) => onlyGuarded(uplink, this.#guarded[index]!));
    const { ipv4, ipv6, standsIn } = planGroups(input, snapshots);
    for (let group = 0; group < maxGroups; group++) {
      this.#tellGroup(shared.lookups[group]!, shared.masks, group, ipv4[group] ?? nobody);
      this.#tellGroup(shared.lookups6[group]!, shared.masks6, group, ipv6[group] ?? nobody);
    }
    // Last: who loses flows finds them another uplink already.
    const orders = cuts.map(
      ({ all, displaced }, index): UplinkOrders => ({
        standsIn: standsIn[index]!,
        cutAll: all,
        cutDisplaced: displaced,
      }),
    );
    publishUplinks(snapshots, orders, shared);
    wake();
  }

  #tellGroup(lookup: Uint8Array, masks: Int32Array, group: number, { candidates, mask }: GroupPlan): void {
    masks[group] = mask;
    const key = JSON.stringify(candidates);
    if (this.#built.get(lookup) === key) return;
    buildLookup(lookup, candidates);
    this.#built.set(lookup, key);
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
