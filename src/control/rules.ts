/**
 * The configured rules, made ready for the workers: the table that tells a new flow's rule, and the groups of uplinks that
 * rules send flows to.
 *
 * Equal sets of uplinks with equal strictness are one group. Group 0 is the balance over all: of flows that no rule
 * matches, and of those that a rule left to the kernel and that came here all the same.
 */

import type { Config, GroupConfig, RuleConfig, UplinkConfig } from "./config-types.ts";

/** A set of uplinks that rules send flows to. */
export interface RuleGroup {
  /** 1 to 31: the place of its lookup table and mask. */
  readonly group: number;
  /** For people: the group's own name, or its uplinks'. */
  readonly name: string;
  readonly members: readonly { readonly name: string; readonly weight: number }[];
  /** Rather no uplink than another. */
  readonly strict: boolean;
}

export interface CompiledRules {
  /** As tables/rule-table.ts lays it out; null: no rules. */
  readonly table: SharedArrayBuffer | null;
  /** Those of the rules, from number 1 on, each at its number less one. */
  readonly groups: readonly RuleGroup[];
  /** All domain names that rules have, each once. */
  readonly domains: readonly string[];
}

/**
 * Compiles the rules of a configuration that has been checked. `networksOf` gives the networks behind an interface, as ADDRESS or
 * ADDRESS/LENGTH, of `lo` the machine's own addresses: compile again when they change.
 */
export function compileRules(config: Config, _networksOf: (interfaceName: string) => readonly string[]): CompiledRules {
  const groups = new GroupNumbers(config);
  for (const rule of config.rules) groups.of(rule);
  const domains = [...new Set(config.rules.flatMap(({ match }) => match.domain))];
  return { table: null, groups: groups.list, domains };
}

/** Gives every set of uplinks its number. */
class GroupNumbers {
  readonly list: RuleGroup[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #uplinks: readonly UplinkConfig[];
  readonly #groups: readonly GroupConfig[];

  constructor({ uplinks, groups }: Config) {
    this.#uplinks = uplinks;
    this.#groups = groups;
  }

  of({ use, strict, bypass }: RuleConfig): number {
    if (bypass) return 0;
    const key = groupKey(use, strict);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const group = this.list.length + 1;
    this.list.push({ group, name: use.join("+"), members: this.#membersOf(use), strict });
    this.#numbers.set(key, group);
    return group;
  }

  /** A group's own weights, or those that the uplinks are configured with. */
  #membersOf(use: readonly string[]): RuleGroup["members"] {
    const group = this.#groups.find(({ name }) => name === use[0]);
    if (group !== undefined) return group.uplinks;
    return this.#uplinks.filter(({ name }) => use.includes(name)).map(({ name, weight }) => ({ name, weight }));
  }
}

/** What two rules have in common that share a group. */
export function groupKey(use: readonly string[], strict: boolean): string {
  return JSON.stringify([[...use].sort(), strict]);
}
