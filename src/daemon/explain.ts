/**
 * What a flow gets and why, step by step as the data plane takes them (dataplane/choice.ts), without opening it: by the same
 * table of rules, hashes, lookup tables and caches.
 */
import type { Config, RuleConfig, UplinkConfig } from "../control/config-types.ts";
import type { ExplainCandidate, ExplainQuery, ExplainReport, FlowReport } from "../control/report.ts";
import { type CompiledRules, protocolNumbers, type RuleGroup } from "../control/rules.ts";
import { isVacant } from "../control/uplink-seats.ts";
import type { Standing } from "../control/uplink-standing.ts";
import {
  addressHash,
  addressHash6,
  balanceHash,
  networkHash,
  networkHash6,
  stickyHash,
} from "../dataplane/classify.ts";
import type { FlowMemory } from "../dataplane/flow-memory.ts";
import { type FlowPolicy, stickyBy } from "../dataplane/flow-policy.ts";
import { RuleTable } from "../tables/rule-table.ts";
import { lookupSize, noUplink, type SharedState, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { ruleText } from "./rule-text.ts";
import { wordsOf } from "./tuple.ts";

export interface ExplainDeps {
  readonly config: Config;
  readonly rules: CompiledRules;
  readonly policy: FlowPolicy;
  /** By place. */
  readonly lines: readonly { readonly config: UplinkConfig; readonly standing: Standing }[];
  readonly shared: SharedState;
  readonly memory: FlowMemory;
  readonly secret: readonly [number, number];
  readonly nowS: number;
  /** The flow where it exists, and the place of the uplink that its source is mapped to, or -1. */
  find(query: ExplainQuery): Promise<{ flow: FlowReport | null; mappedUplink: number }>;
}

type Decision = Pick<ExplainReport, "decidedBy" | "uplink" | "why">;

export async function explain(query: ExplainQuery, deps: ExplainDeps): Promise<ExplainReport> {
  const { config, rules, lines } = deps;
  const flow = readFlow(query, deps);
  const found = flow.ports === null ? { flow: null, mappedUplink: -1 } : await deps.find(query);
  const { rule, notes } = ruleOf(flow, deps);
  const configured = rule < 0 ? null : config.rules[rule]!;
  const group = rule < 0 || deps.policy.rules === null ? 0 : new RuleTable(deps.policy.rules).group(rule);
  const hash = hashOf(flow, deps);
  const decision = decide(flow, group, configured, hash, found, deps);
  return {
    flow: query,
    existing: found.flow,
    rule: configured === null ? null : { number: rule, ...ruleText(configured) },
    group: { number: group, name: group === 0 ? "all uplinks" : groupNumbered(rules, group).name },
    key: config.balance.key,
    hash: hash === null ? null : (hash >>> 0).toString(16).padStart(8, "0"),
    policy: group === 0 ? config.balance.policy : "weights of the rule's uplinks",
    candidates: lines.flatMap((_, place) => candidateOf(place, group, flow, deps)),
    ...decision,
    notes,
  };
}

/** The query in the numbers of the data plane. */
interface Flow {
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly protocol: number;
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
  readonly hasPorts: boolean;
  /** As in a packet's row; null: not known. */
  readonly ports: number | null;
  /** What stands for the addresses in the balance. */
  readonly from: number;
  readonly to: number;
  readonly destinationHash: number;
  readonly networkHash: number;
}

function readFlow(query: ExplainQuery, { secret }: ExplainDeps): Flow {
  const [key0, key1] = secret;
  const protocol = (protocolNumbers as Record<string, number>)[query.protocol] ?? Number(query.protocol);
  const hasPorts = protocol === protocolNumbers.tcp || protocol === protocolNumbers.udp;
  const isPing = protocol === protocolNumbers.icmp;
  const { sourcePort, destinationPort } = query;
  const isKnown = (sourcePort !== null || (!hasPorts && !isPing)) && (destinationPort !== null || !hasPorts);
  const source = wordsOf(query.source);
  const destination = wordsOf(query.destination);
  const standIn = ([a, b, c, d]: readonly number[]) => (b === undefined ? a! : addressHash6(key0, key1, a!, b, c!, d!));
  const isIpv6 = destination.length > 1;
  return {
    source,
    destination,
    protocol,
    sourcePort,
    destinationPort,
    hasPorts,
    ports: isKnown ? ((sourcePort ?? 0) << 16) | (destinationPort ?? 0) : null,
    from: standIn(source),
    to: standIn(destination),
    destinationHash: isIpv6 ? standIn(destination) : addressHash(key0, key1, destination[0]!),
    networkHash: isIpv6
      ? networkHash6(key0, key1, destination[0]!, destination[1]!)
      : networkHash(key0, key1, destination[0]!),
  };
}

/** The first rule that matches, or -1; where a port was not given, one that asks for none, and the others in notes. */
function ruleOf(flow: Flow, { policy, config, memory, nowS }: ExplainDeps): { rule: number; notes: string[] } {
  if (policy.rules === null) return { rule: -1, notes: [] };
  const table = new RuleTable(policy.rules);
  const domain = table.hasDomains ? memory.domains.get(flow.destinationHash, nowS) : -1;
  const match = (sourcePort: number, destinationPort: number) => {
    const asked = [domain, flow.protocol, sourcePort, destinationPort, 0] as const;
    if (flow.source.length === 1) return table.match(flow.source[0]!, flow.destination[0]!, ...asked);
    const view = new DataView(new ArrayBuffer(32));
    for (const [i, word] of [...flow.source, ...flow.destination].entries()) view.setInt32(i * 4, word);
    return table.match6(view, 0, 16, ...asked);
  };
  const given = (port: number | null) => (flow.hasPorts ? (port ?? -1) : -1);
  const rule = match(given(flow.sourcePort), given(flow.destinationPort));
  const notes: string[] = [];
  if (flow.hasPorts && (flow.sourcePort === null || flow.destinationPort === null)) {
    const others = config.rules.flatMap(({ match: { sourcePort, destinationPort } }, number) => {
      const ports = [
        flow.sourcePort ?? sourcePort[0]?.first ?? -1,
        flow.destinationPort ?? destinationPort[0]?.first ?? -1,
      ];
      return number !== rule && match(ports[0]!, ports[1]!) === number ? [number] : [];
    });
    if (others.length > 0) notes.push(`By its ports, which were not given, it may match ${listed(others)} instead.`);
  }
  if (config.rules.some(({ match: { dscp } }) => dscp.length > 0)) notes.push("Rules ask for its DSCP: taken to be 0.");
  if (table.hasDomains && domain < 0)
    notes.push("Rules ask for domains: no DNS answer that led to this destination has passed lately.");
  return { rule, notes };
}

function listed(rules: readonly number[]): string {
  const names = rules.slice(0, 5).map((rule) => `rules[${rule}]`);
  return rules.length > 5 ? `${names.join(", ")} or ${rules.length - 5} more` : names.join(" or ");
}

/** Null: something that the key is made of was not given. */
function hashOf({ from, to, ports, protocol }: Flow, { config, policy, secret }: ExplainDeps): number | null {
  if (config.balance.key === "five-tuple" && ports === null) return null;
  return balanceHash(policy.balanceKey, secret[0], secret[1], from, to, ports ?? 0, protocol);
}

function decide(
  flow: Flow,
  group: number,
  rule: RuleConfig | null,
  hash: number | null,
  found: { flow: FlowReport | null; mappedUplink: number },
  deps: ExplainDeps,
): Decision {
  const { policy, memory, lines, nowS, config } = deps;
  if (found.flow !== null)
    return { decidedBy: "flow", uplink: found.flow.uplink, why: "the flow exists, and keeps its uplink for life" };
  if (rule?.bypass === true)
    return { decidedBy: "bypass", uplink: null, why: "the rule leaves it to the kernel's own routing" };
  const is6 = flow.source.length > 1;
  const mask = (is6 ? deps.shared.masks6 : deps.shared.masks)[group]!;
  const canHave = (place: number) => place >= 0 && ((mask >>> place) & 1) === 1 && isReady(place, is6, deps.shared);
  const name = (place: number) => lines[place]!.config.name;
  if (canHave(found.mappedUplink))
    return {
      decidedBy: "mapping",
      uplink: name(found.mappedUplink),
      why: "other flows of its source's port are there",
    };
  if (policy.stickyBy !== stickyBy.nothing) {
    const other = policy.stickyBy === stickyBy.source ? 0 : flow.to;
    const stuck = memory.sticky.get(stickyHash(deps.secret[0], deps.secret[1], flow.from, other, group), nowS);
    const whose = policy.stickyBy === stickyBy.source ? "its source" : "its source, to this destination,";
    if (canHave(stuck))
      return { decidedBy: "sticky", uplink: name(stuck), why: `${whose} has used it before and sticks to it` };
  }
  const explores = hash !== null && hash >>> 16 < policy.explore;
  if (policy.nearest && group === 0 && !explores) {
    const near = memory.nearest.get(flow.networkHash, nowS);
    const share = config.balance.exploreRatio > 0 && hash === null ? ", unless it explores" : "";
    if (canHave(near))
      return { decidedBy: "nearest", uplink: name(near), why: `it is nearest to the destination${share}` };
  }
  return ofTable(flow, group, rule, hash, policy.nearest && group === 0 && explores, deps);
}

function ofTable(
  flow: Flow,
  group: number,
  rule: RuleConfig | null,
  hash: number | null,
  explores: boolean,
  { shared, lines }: ExplainDeps,
): Decision {
  const is6 = flow.source.length > 1;
  const lookup = (is6 ? shared.lookups6 : shared.lookups)[group]!;
  const places = new Set(lookup);
  if (places.has(noUplink)) {
    const why = rule?.strict === true ? "the rule is strict, and none of its uplinks is there" : "no uplink is there";
    return { decidedBy: "none", uplink: null, why };
  }
  const only = places.size === 1 ? [...places][0]! : null;
  const place = only ?? (hash === null ? null : lookup[hash & (lookupSize - 1)]!);
  if (place === null)
    return { decidedBy: "table", uplink: null, why: "its hash chooses, and depends on ports that were not given" };
  const { name } = lines[place]!.config;
  if (!isReady(place, is6, shared))
    return { decidedBy: "table", uplink: null, why: `its hash chooses ${name}, which can't send at this moment` };
  const how = only !== null ? "it is the only one" : explores ? "its hash chooses, as it explores" : "its hash chooses";
  return { decidedBy: "table", uplink: name, why: how };
}

function candidateOf(place: number, group: number, flow: Flow, deps: ExplainDeps): ExplainCandidate[] {
  const { lines, rules, shared } = deps;
  const { config: uplink, standing } = lines[place]!;
  if (isVacant(uplink)) return [];
  const is6 = flow.source.length > 1;
  const lookup = (is6 ? shared.lookups6 : shared.lookups)[group]!;
  const own = group === 0 ? null : groupNumbered(rules, group);
  const member = own?.members.find(({ name }) => name === uplink.name);
  const isMoments = own === null || (member !== undefined && !own.hasOwnWeights);
  const weight = isMoments ? standing.weight : (member?.weight ?? 0);
  let slots = 0;
  for (const each of lookup) if (each === place) slots++;
  return [
    {
      name: uplink.name,
      state: standing.state,
      reason: standing.reason,
      weight,
      shareRatio: slots / lookupSize,
      mayKeep: (((is6 ? shared.masks6 : shared.masks)[group]! >>> place) & 1) === 1,
    },
  ];
}

function isReady(place: number, is6: boolean, shared: SharedState): boolean {
  return shared.uplinks[place * uplinkWords + (is6 ? uplinkWord.ready6 : uplinkWord.ready)] !== 0;
}

function groupNumbered({ groups }: CompiledRules, number: number): RuleGroup {
  return groups.find(({ group }) => group === number)!;
}
