/**
 * Who gets the new flows of each group of uplinks: what the lookup tables and masks are made from. Pure; the shares are
 * the policy's (policies.ts), the groups the rules' (rules.ts).
 */

import type { Config } from "./config-types.ts";
import type { Share } from "./policies.ts";
import type { RuleGroup } from "./rules.ts";
import type { Candidate } from "./scheduler.ts";
import { isVacant } from "./uplink-seats.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";
import { isAlive, type Standing } from "./uplink-standing.ts";

export interface PlanInput {
  /** Its uplinks by place, as all lists here. */
  readonly config: Config;
  readonly standings: readonly Standing[];
  readonly shares: readonly Share[];
  /** Those of the rules, from number 1 on. */
  readonly groups: readonly RuleGroup[];
}

/** A group's share of one family. */
export interface GroupPlan {
  readonly candidates: readonly Candidate[];
  /** Bit n: uplink n may go on with a host, a source or a destination that it has already. */
  readonly mask: number;
}

export interface Plan {
  /** By group's number. */
  readonly ipv4: readonly GroupPlan[];
  readonly ipv6: readonly GroupPlan[];
  /** By place: gets flows only because better ones are away. */
  readonly standsIn: readonly boolean[];
}

export function planGroups(input: PlanInput, snapshots: readonly UplinkSnapshot[]): Plan {
  const { config } = input;
  return {
    ipv4: planFamily(input, (place) => snapshots[place]!.state === "up"),
    ipv6: planFamily(input, (place) => snapshots[place]!.ipv6.state === "up"),
    standsIn: config.uplinks.map((_, place) => standsIn(config, place)),
  };
}

function planFamily(input: PlanInput, isLinked: (place: number) => boolean): GroupPlan[] {
  const { standings } = input;
  const { uplinks } = input.config;
  const usable = uplinks.map(
    (_, place) => isAlive(standings[place]!) && standings[place]!.weight > 0 && isLinked(place),
  );
  const balance = planBalance(input, usable);
  const plans = [balance];
  for (const { group, members, hasOwnWeights, strict } of input.groups) {
    const candidates = members.flatMap(({ name, weight }) => {
      const index = uplinks.findIndex((uplink) => uplink.name === name);
      if (usable[index] !== true) return [];
      return [{ index, name, weight: hasOwnWeights ? weight : standings[index]!.weight }];
    });
    const own = { candidates, mask: maskOf(candidates) };
    plans[group] = candidates.length === 0 && !strict ? balance : own;
  }
  return plans;
}

/** Group 0: all uplinks, by the policy. */
function planBalance({ config, standings, shares }: PlanInput, usable: readonly boolean[]): GroupPlan {
  const { uplinks } = config;
  let candidates: Candidate[] = shares
    .filter(({ slot }) => usable[slot])
    .map(({ slot, name, weight }) => ({ index: slot, name, weight }));
  // The policy's choice lacks this family: whoever has it.
  if (candidates.length === 0) {
    candidates = uplinks.flatMap(({ name }, index) =>
      usable[index] ? [{ index, name, weight: standings[index]!.weight }] : [],
    );
  }
  // A host that came to a backup stays there, unless the better ones want it back.
  const keep = candidates.every(({ index }) => uplinks[index]!.failback === "keep");
  const others = keep ? usable.reduce((mask, yes, place) => (yes ? mask | (1 << place) : mask), 0) : 0;
  return { candidates, mask: maskOf(candidates) | others };
}

function maskOf(candidates: readonly Candidate[]): number {
  return candidates.reduce((mask, { index }) => mask | (1 << index), 0);
}

/** Whether there is an uplink that would come before it, were it well. */
function standsIn(config: Config, place: number): boolean {
  return config.uplinks.some((_, other) => comesBefore(config, other, place));
}

/** Whether one uplink gets flows rather than another, both being well. */
export function comesBefore({ uplinks, balance }: Config, place: number, other: number): boolean {
  const [one, another] = [uplinks[place]!, uplinks[other]!];
  if (isVacant(one) || isVacant(another)) return false;
  return (
    one.tier < another.tier || (balance.policy === "failover" && one.tier === another.tier && one.order < another.order)
  );
}
