/**
 * What the kernel must know of the rules that leave traffic to it: before steered traffic goes to the TUN, rules that send what is
 * bypassed on behind them, and what an earlier rule uses an uplink for to the TUN all the same, in the order of the file.
 *
 * Where nothing earlier is in the way and only destinations are asked for, a `throw` route in the steering table
 * does the same; there may be as many as you like.
 */
import { formatAddress6, parseAddress6 } from "../wire/ipv6.ts";
import type { RuleConfig, RuleMatch } from "./config-types.ts";
import { formatIpv4, isIpv6, network6, type PortRange, parseIpv4, parsePrefix6 } from "./config-values.ts";
import { type Family, familyOf } from "./iproute.ts";
import { overlapOf } from "./rule-shadows.ts";
import { protocolNumbers } from "./rules.ts";

/** The kernel walks its rules for every route that it looks up. */
export const mostBypassRules = 512;

export interface BypassRule {
  readonly from?: string;
  readonly to?: string;
  readonly iif?: string;
  readonly protocol?: number;
  readonly sourcePort?: PortRange;
  readonly destinationPort?: PortRange;
  /** Else it goes to the TUN. */
  readonly isBypass: boolean;
}

export interface BypassPlan {
  /** Destinations that the steering table throws back. */
  readonly thrown: readonly string[];
  readonly rules: readonly BypassRule[];
}

/** Made once for a list of rules, since it is asked for whenever a link changes. */
const plans: Readonly<Record<Family, WeakMap<readonly RuleConfig[], BypassPlan>>> = {
  "-4": new WeakMap(),
  "-6": new WeakMap(),
};

export function planBypass({ rules }: { readonly rules: readonly RuleConfig[] }, family: Family): BypassPlan {
  const known = plans[family].get(rules);
  if (known !== undefined) return known;
  const plan = makePlan(rules, family);
  plans[family].set(rules, plan);
  return plan;
}

function makePlan(rules: readonly RuleConfig[], family: Family): BypassPlan {
  const last = rules.findLastIndex(({ bypass }) => bypass);
  if (last < 0) return { thrown: [], rules: [] };
  const overlaps = overlapOf(rules);
  const earlierUse = (number: number) =>
    rules.slice(0, number).flatMap((rule, earlier) => (!rule.bypass && overlaps(earlier, number) ? [earlier] : []));
  const thrown = new Set<string>();
  const wanted = new Set<number>();
  for (const [number, rule] of rules.entries()) {
    if (!rule.bypass) continue;
    const inTheWay = earlierUse(number);
    if (inTheWay.length === 0 && asksOnlyForDestinations(rule.match)) {
      for (const destination of networksOf(rule.match.destination, family)) thrown.add(destination);
      continue;
    }
    for (const each of [...inTheWay, number]) wanted.add(each);
  }
  const all = [...wanted].sort((a, b) => a - b).flatMap((number) => kernelRules(rules[number]!, family));
  // Of two that are equal the first decides.
  const seen = new Set<string>();
  const isNew = ({ isBypass: _, ...selector }: BypassRule) => {
    const key = JSON.stringify(selector);
    return !seen.has(key) && seen.add(key) !== undefined;
  };
  return { thrown: [...thrown], rules: all.filter(isNew) };
}

/**
 * Pairs of a rule that uses an uplink and a later bypass of some of the same, of which the kernel can't be told: for the DSCP, or
 * for names. A bypass of networks is let pass behind names, of which few have an address there: those are bypassed.
 */
export function untellable(rules: readonly RuleConfig[]): { use: number; bypass: number }[] {
  if (!rules.some(({ bypass }) => bypass)) return [];
  const overlaps = overlapOf(rules);
  return rules.flatMap((rule, use) => {
    const { dscp, domain, destination } = rule.match;
    if (rule.bypass || (dscp.length === 0 && domain.length === 0)) return [];
    const isByName = domain.length > 0 && (dscp.length === 0 || destination.length === 0);
    const isHarmless = (later: RuleMatch) => isByName && later.destination.length > 0;
    const bypass = rules.findIndex(
      (later, number) => number > use && later.bypass && !isHarmless(later.match) && overlaps(use, number),
    );
    return bypass < 0 ? [] : [{ use, bypass }];
  });
}

function asksOnlyForDestinations({ destination, ...rest }: RuleMatch): boolean {
  // The default would be the TUN's own route.
  const isDefault = destination.length === 0 || destination.some((network) => network.endsWith("/0"));
  return !isDefault && Object.values(rest).every((value) => value === null || value.length === 0);
}

/** One for every combination of what a rule lists. */
function kernelRules({ match, bypass }: RuleConfig, family: Family): BypassRule[] {
  const anyOf = <T>(list: readonly T[]): readonly (T | undefined)[] => (list.length === 0 ? [undefined] : list);
  const addresses = (list: readonly string[]): readonly (string | undefined)[] => {
    if (list.length === 0) return [undefined];
    const own = networksOf(list, family);
    return own.some((network) => network.endsWith("/0")) ? [undefined] : own;
  };
  // A rule by names alone has no destinations that the kernel could tell.
  const destinations = match.destination.length === 0 && match.domain.length > 0 ? [] : addresses(match.destination);
  const found: BypassRule[] = [];
  for (const from of addresses(match.source))
    for (const to of destinations)
      for (const protocol of anyOf(protocolsOf(match, family)))
        for (const sourcePort of anyOf(match.sourcePort))
          for (const destinationPort of anyOf(match.destinationPort))
            for (const iif of anyOf(match.interface))
              found.push({
                ...(from !== undefined && { from }),
                ...(to !== undefined && { to }),
                ...(iif !== undefined && { iif }),
                ...(protocol !== undefined && { protocol }),
                ...(sourcePort !== undefined && { sourcePort }),
                ...(destinationPort !== undefined && { destinationPort }),
                isBypass: bypass,
              });
  return found;
}

function protocolsOf({ protocol, sourcePort, destinationPort }: RuleMatch, family: Family): number[] {
  if (protocol === "icmp") return [family === "-6" ? 58 : protocolNumbers.icmp];
  if (protocol !== null) return [protocolNumbers[protocol]];
  return sourcePort.length + destinationPort.length === 0 ? [] : [protocolNumbers.tcp, protocolNumbers.udp];
}

/** Those of a family, as `ip` writes them. */
function networksOf(networks: readonly string[], family: Family): string[] {
  return [...new Set(networks.filter((network) => familyOf(network) === family).map(canonical))];
}

function canonical(network: string): string {
  const [address, length] = network.split("/") as [string, string?];
  if (isIpv6(address)) {
    if (length === undefined || length === "128") return formatAddress6(parseAddress6(address)!);
    return `${formatAddress6(network6(parsePrefix6(network)!).words)}/${Number(length)}`;
  }
  if (length === undefined || length === "32") return address;
  const block = 2 ** (32 - Number(length));
  return `${formatIpv4(Math.floor(parseIpv4(address)! / block) * block)}/${Number(length)}`;
}
