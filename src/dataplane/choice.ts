/**
 * Which uplink a new flow gets, of either family: what it sticks to, or what is nearest to its destination, or what the table of its
 * group says. Weights, tiers and liveness are all in the table and the mask that the control plane publishes; only
 * what it cannot know in time is looked at here: an uplink that is gone since, or that the caller has reason to avoid.
 */
import { RuleTable } from "../tables/rule-table.ts";
import { lookupSize, maxUplinks, noUplink } from "../tables/shared-state.ts";
import { protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { balanceHash, nextHash, stickyHash } from "./classify.ts";
import type { FlowMemory } from "./flow-memory.ts";
import { type FlowPolicy, stickyBy } from "./flow-policy.ts";

/** How often the table is asked again for another uplink than the one it named. */
const tableTries = 8;
/** The table has an uplink, but none that can be used at this moment. */
export const notReady = -1;

export interface ChoiceOptions {
  memory: FlowMemory;
  policy: FlowPolicy;
  /** The secret of the hashes that choose an uplink. */
  balanceKey0: number;
  balanceKey1: number;
}

export class UplinkChoice {
  readonly #memory: FlowMemory;
  readonly #key0: number;
  readonly #key1: number;
  #policy: FlowPolicy;
  #rules: RuleTable | null;

  constructor({ memory, policy, balanceKey0, balanceKey1 }: ChoiceOptions) {
    this.#memory = memory;
    this.#key0 = balanceKey0;
    this.#key1 = balanceKey1;
    this.#policy = policy;
    this.#rules = rulesOf(policy);
  }

  /** Chooses by another policy from now on. */
  follow(policy: FlowPolicy): void {
    if (policy.rules !== this.#policy.rules) this.#rules = rulesOf(policy);
    this.#policy = policy;
  }

  get hasRules(): boolean {
    return this.#rules !== null;
  }

  /** Whether destinations are known by their names. */
  get hasDomains(): boolean {
    return this.#rules?.hasDomains === true;
  }

  get wantsNearest(): boolean {
    return this.#policy.nearest;
  }

  /** The group of an IPv4 flow. `destinationHash`: its `addressHash`, where there are domains. */
  groupOf(
    source: number,
    destination: number,
    destinationHash: number,
    ports: number,
    protocol: number,
    dscp: number,
    nowS: number,
  ): number {
    const rules = this.#rules;
    if (rules === null) return 0;
    const domain = this.#domainOf(destinationHash, nowS);
    const from = portOf(ports, protocol, 16);
    const to = portOf(ports, protocol, 0);
    const rule = rules.match(source, destination, domain, protocol, from, to, dscp);
    return rule < 0 ? 0 : rules.group(rule);
  }

  /** `groupOf` for IPv6: the addresses stand in `view`. */
  groupOf6(
    view: DataView,
    sourceAt: number,
    destinationAt: number,
    destinationHash: number,
    ports: number,
    protocol: number,
    dscp: number,
    nowS: number,
  ): number {
    const rules = this.#rules;
    if (rules === null) return 0;
    const domain = this.#domainOf(destinationHash, nowS);
    const from = portOf(ports, protocol, 16);
    const to = portOf(ports, protocol, 0);
    const rule = rules.match6(view, sourceAt, destinationAt, domain, protocol, from, to, dscp);
    return rule < 0 ? 0 : rules.group(rule);
  }

  /**
   * An uplink, `noUplink`, or `notReady`. `mask`: the uplinks that may have flows of the group; `able`: those that can send now and are
   * not to be avoided. `from`, `to`: the addresses, or a hash of longer ones; `network`: the destination's `networkHash`, where the
   * nearest is wanted.
   */
  choose(
    lookup: Uint8Array,
    group: number,
    mask: number,
    able: number,
    from: number,
    to: number,
    network: number,
    ports: number,
    protocol: number,
    nowS: number,
  ): number {
    const { balanceKey, nearest, explore } = this.#policy;
    const usable = mask & able;
    if (this.#policy.stickyBy !== stickyBy.nothing) {
      const stuck = this.#memory.sticky.get(this.#stickyHash(group, from, to), nowS);
      if (isIn(usable, stuck)) return stuck;
    }
    const hash = balanceHash(balanceKey, this.#key0, this.#key1, from, to, ports, protocol);
    // A rule's group has weights that were chosen for it; nearness is a way to balance over all.
    if (nearest && group === 0 && hash >>> 16 >= explore) {
      const near = this.#memory.nearest.get(network, nowS);
      if (isIn(usable, near)) return near;
    }
    return fromTable(lookup, hash, able, usable);
  }

  /** Takes note of where a flow went. */
  remember(group: number, from: number, to: number, uplink: number, nowS: number): void {
    if (this.#policy.stickyBy === stickyBy.nothing) return;
    this.#memory.sticky.set(this.#stickyHash(group, from, to), uplink, nowS + this.#policy.stickySeconds);
  }

  /** The number of the domain that led to a destination, or -1. */
  #domainOf(destinationHash: number, nowS: number): number {
    return this.hasDomains ? this.#memory.domains.get(destinationHash, nowS) : -1;
  }

  #stickyHash(group: number, from: number, to: number): number {
    const other = this.#policy.stickyBy === stickyBy.source ? 0 : to;
    return stickyHash(this.#key0, this.#key1, from, other, group);
  }
}

/** The uplinks that can send now, but for one; a mask. */
export function ableUplinks(line: { isReady(uplink: number): boolean }, avoid: number): number {
  let able = 0;
  for (let uplink = 0; uplink < maxUplinks; uplink++) if (uplink !== avoid && line.isReady(uplink)) able |= 1 << uplink;
  return able;
}

/** What rules are asked with for a port in a row's `ports`, whose lower half is the destination's; -1: there are none. */
function portOf(ports: number, protocol: number, shift: number): number {
  return protocol === protocolTcp || protocol === protocolUdp ? (ports >>> shift) & 0xffff : -1;
}

/** Whether a mask has an uplink; -1 is none. */
export function isIn(mask: number, uplink: number): boolean {
  return uplink >= 0 && ((mask >>> uplink) & 1) === 1;
}

/** The table's uplink; if it can't be had, another of the table, in its proportions as far as a few tries go; if none, any that is usable. */
function fromTable(lookup: Uint8Array, hash: number, able: number, usable: number): number {
  let place = hash;
  let uplink = lookup[place & (lookupSize - 1)]!;
  if (uplink === noUplink || isIn(able, uplink)) return uplink;
  if (able === 0) return notReady;
  for (let tries = 0; tries < tableTries; tries++) {
    place = nextHash(place);
    uplink = lookup[place & (lookupSize - 1)]!;
    if (uplink !== noUplink && isIn(able, uplink)) return uplink;
  }
  if (usable === 0) return notReady;
  // Begins anywhere, so that not all go to the first.
  let which = place & 31;
  while (!isIn(usable, which)) which = (which + 1) & 31;
  return which;
}

function rulesOf({ rules }: FlowPolicy): RuleTable | null {
  return rules === null ? null : new RuleTable(rules);
}
