/**
 * The configured rules, made ready for the workers: the table that tells a new flow's rule, and the groups of uplinks that
 * rules send flows to.
 *
 * Equal sets of uplinks with equal strictness are one group. Group 0 is the balance over all: of flows that no rule
 * matches, and of those that a rule left to the kernel and that came here all the same.
 */

import { type AddressRanges, type TableRule, type ValueRange, writeRuleTable } from "../tables/rule-table-writer.ts";
import { maxGroups } from "../tables/shared-state.ts";
import type { Config, GroupConfig, RuleConfig, RuleMatch, UplinkConfig } from "./config-types.ts";
import type { PortRange } from "./config-values.ts";
import { type DomainNumbers, numberDomains } from "./domain-numbers.ts";
import { addressRanges, intersection } from "./network-ranges.ts";

/** As IP has them; those of ICMPv6 count as ICMP. */
export const protocolNumbers = { icmp: 1, tcp: 6, udp: 17, gre: 47, esp: 50, sctp: 132 } as const;

/** A set of uplinks that rules send flows to. */
export interface RuleGroup {
  /** 1 to 31: the place of its lookup table and mask. */
  readonly group: number;
  /** What `groupKey` says of the set. */
  readonly key: string;
  /** For people: the group's own name, or its uplinks'. */
  readonly name: string;
  readonly members: readonly { readonly name: string; readonly weight: number }[];
  /** It is a named group, whose weights are the configuration's; else its members have their uplinks' weights of the moment. */
  readonly hasOwnWeights: boolean;
  /** Rather no uplink than another. */
  readonly strict: boolean;
}

export interface CompiledRules {
  /** As tables/rule-table.ts lays it out; null: no rules. */
  readonly table: SharedArrayBuffer | null;
  /** Those of the rules. */
  readonly groups: readonly RuleGroup[];
  /** All domain names that rules have, each once. */
  readonly domains: readonly string[];
  /** What the numbers of domains stand for. */
  readonly domainMeanings: DomainNumbers["meanings"];
}

const noRules: CompiledRules = { table: null, groups: [], domains: [], domainMeanings: new Map() };

/**
 * Compiles the rules of a configuration that has been checked. `networksOf` gives the networks behind an interface, as ADDRESS or
 * ADDRESS/LENGTH, of `lo` the machine's own addresses: compile again when they change. It stands in for the interface, since
 * what comes by the TUN no longer tells where it came in: a host that forges a neighbour's address passes for that neighbour.
 *
 * A set that is among the groups of `before`, the rules that the workers have, keeps its number, and no other set gets a number of
 * theirs: while some workers have the new rules and some the old, a number means one thing to all. So it is with domains.
 */
export function compileRules(
  config: Config,
  networksOf: (interfaceName: string) => readonly string[],
  before: CompiledRules = noRules,
): CompiledRules {
  const groups = new GroupNumbers(config, before.groups);
  const lists = config.rules.map(({ match }) => match.domain).filter(({ length }) => length > 0);
  const domains = numberDomains(lists, before.domainMeanings);
  const rules = config.rules.map((rule) => ({
    ...toTableMatch(rule.match, networksOf, domains),
    group: groups.of(rule),
  }));
  return {
    table: rules.length === 0 ? null : writeRuleTable(rules, domains.names),
    groups: groups.list,
    domains: domains.names.map(({ name }) => name),
    domainMeanings: domains.meanings,
  };
}

/** What a rule asks for, in numbers. */
export function toTableMatch(
  match: RuleMatch,
  networksOf: (interfaceName: string) => readonly string[],
  domains: DomainNumbers,
): Omit<TableRule, "group"> {
  const { protocol } = match;
  return {
    source: sourceOf(match, networksOf),
    destination: match.destination.length === 0 ? null : addressRanges(match.destination),
    domains: match.domain.length === 0 ? null : domains.of(match.domain),
    protocol: protocol === null ? null : protocolNumbers[protocol],
    sourcePort: portRanges(match.sourcePort),
    destinationPort: portRanges(match.destinationPort),
    dscp: match.dscp.length === 0 ? null : match.dscp,
  };
}

function sourceOf(
  { source, interface: interfaces }: RuleMatch,
  networksOf: (interfaceName: string) => readonly string[],
): AddressRanges | null {
  const sources = source.length === 0 ? null : addressRanges(source);
  if (interfaces.length === 0) return sources;
  const behind = addressRanges(interfaces.flatMap(networksOf));
  return sources === null ? behind : intersection(sources, behind);
}

function portRanges(ports: readonly PortRange[]): ValueRange[] | null {
  if (ports.length === 0) return null;
  return ports.map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) }));
}

/** Gives every set of uplinks its number. */
class GroupNumbers {
  readonly list: RuleGroup[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #before: readonly RuleGroup[];
  readonly #uplinks: readonly UplinkConfig[];
  readonly #groups: readonly GroupConfig[];

  constructor({ uplinks, groups }: Config, before: readonly RuleGroup[]) {
    this.#before = before;
    this.#uplinks = uplinks;
    this.#groups = groups;
  }

  of({ use, strict, bypass }: RuleConfig): number {
    if (bypass) return 0;
    const key = groupKey(use, strict);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const group = this.#before.find((other) => other.key === key)?.group ?? this.#unusedNumber();
    const named = this.#groups.find(({ name }) => name === use[0]);
    const members = named?.uplinks ?? this.#uplinksOf(use);
    this.list.push({ group, key, name: use.join("+"), members, hasOwnWeights: named !== undefined, strict });
    this.#numbers.set(key, group);
    return group;
  }

  /** One that no set has or had; when all are used up one that a set had which is gone. */
  #unusedNumber(): number {
    const isFree = (number: number, taken: readonly RuleGroup[]) => taken.every(({ group }) => group !== number);
    const numbers = Array.from({ length: maxGroups - 1 }, (_, i) => i + 1).filter((number) =>
      isFree(number, this.list),
    );
    return numbers.find((number) => isFree(number, this.#before)) ?? numbers[0]!;
  }

  #uplinksOf(use: readonly string[]): RuleGroup["members"] {
    return this.#uplinks.filter(({ name }) => use.includes(name)).map(({ name, weight }) => ({ name, weight }));
  }
}

/** What two rules have in common that share a group. */
export function groupKey(use: readonly string[], strict: boolean): string {
  return JSON.stringify([[...use].sort(), strict]);
}
