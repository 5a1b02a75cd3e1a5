/**
 * Rules that never come to bear, since earlier ones match all that they do.
 *
 * A rule is one box or several in a space of eight dimensions. It is shadowed when each cell of its boxes lies in some earlier
 * box, where cells are what is left when the edges of the earlier boxes cut it up. Exact as long as the cells are few;
 * beyond that only a single earlier box that holds a whole one counts. Most rules are cleared at once by the table: one flow
 * that a rule is the first to match is enough.
 */
import { RuleTable } from "../tables/rule-table.ts";
import { merged, type ValueRange, writeRuleTable } from "../tables/rule-table-writer.ts";
import type { RuleConfig, RuleMatch } from "./config-types.ts";
import { type DomainNumbers, numberDomains } from "./domain-numbers.ts";
import { addressRanges } from "./network-ranges.ts";
import { protocolNumbers, toTableMatch } from "./rules.ts";

const mostCells = 2048;
/** Comparisons of boxes for a whole file; rules that come after are not judged. */
const mostComparisons = 500_000;
/** No port: of protocols that have none. */
const noPort = 65_536n;
const all4 = [{ first: 0n, last: 2n ** 32n - 1n }];
const all6 = [{ first: 0n, last: 2n ** 128n - 1n }];

/** Ranges by dimension; the first is the family, so that addresses of one are never those of the other. */
type Box = readonly (readonly ValueRange[])[];

export interface Shadow {
  /** Which rule never matches, and the earlier ones that do instead. */
  readonly rule: number;
  readonly by: readonly number[];
}

export function findShadows(rules: readonly RuleConfig[]): Shadow[] {
  const domains = numberDomains(rules.map(({ match }) => match.domain).filter(({ length }) => length > 0));
  const boxes = new Boxes(rules, domains);
  const suspects = suspectsOf(rules, domains);
  const shadows: Shadow[] = [];
  for (const { rule, earlier } of suspects) {
    const by = boxes.coverOf(rule, earlier);
    if (by !== null) shadows.push({ rule, by });
  }
  return shadows;
}

/** Tells of two rules, by their numbers, whether some flow matches both. */
export function overlapOf(rules: readonly RuleConfig[]): (a: number, b: number) => boolean {
  const domains = numberDomains(rules.map(({ match }) => match.domain).filter(({ length }) => length > 0));
  const boxes = new Boxes(rules, domains);
  return (a, b) => boxes.meet(a, b);
}

/** Rules for which some flow, as unlike the others' as can be, finds an earlier one. Interfaces are left out: more match then. */
function suspectsOf(rules: readonly RuleConfig[], domains: DomainNumbers): { rule: number; earlier: number }[] {
  if (rules.length < 2) return [];
  const wide = rules.map(({ match }) => ({
    ...toTableMatch({ ...match, interface: [] }, () => [], domains),
    group: 0,
  }));
  const table = new RuleTable(writeRuleTable(wide, domains.names));
  const dscps = new Set(rules.flatMap(({ match }) => match.dscp));
  const otherDscp = Array.from({ length: 64 }, (_, value) => value).find((value) => !dscps.has(value)) ?? 0;
  return [...rules.keys()].flatMap((rule) => {
    const { source, destination, domains: numbers, ...rest } = wide[rule]!;
    const view = new DataView(new ArrayBuffer(32));
    const is4 = source === null ? destination === null || destination.ipv4.length > 0 : source.ipv4.length > 0;
    const family = is4 ? "ipv4" : "ipv6";
    const unlikely = (is4 ? all4 : all6)[0]!.last - 1n;
    const from = source === null ? unlikely : source[family][0]?.first;
    const byName = numbers !== null && (destination === null || destination[family].length === 0);
    const to = destination === null || byName ? unlikely : destination[family][0]?.first;
    // Of two families in two places: nothing that a flow could be.
    if (from === undefined || to === undefined) return [];
    const suspect = (earlier: number) => (earlier >= 0 && earlier < rule ? [{ rule, earlier }] : []);
    const hasPorts = rest.sourcePort !== null || rest.destinationPort !== null;
    const protocol = rest.protocol ?? (hasPorts ? protocolNumbers.tcp : 255);
    const isPorted = protocol === protocolNumbers.tcp || protocol === protocolNumbers.udp;
    const ports = [rest.sourcePort, rest.destinationPort].map((list) =>
      isPorted ? Number(list?.at(0)?.first ?? 0n) : -1,
    );
    const flow = [byName ? numbers[0]! : -1, protocol, ports[0]!, ports[1]!, rest.dscp?.[0] ?? otherDscp] as const;
    if (is4) return suspect(table.match(Number(from) | 0, Number(to) | 0, ...flow));
    for (const [at, value] of [[0, from] as const, [16, to] as const]) {
      view.setBigUint64(at, value >> 64n);
      view.setBigUint64(at + 8, value & (2n ** 64n - 1n));
    }
    return suspect(table.match6(view, 0, 16, ...flow));
  });
}

class Boxes {
  readonly #boxes: readonly (readonly Box[])[];
  #comparisons = 0;

  constructor(rules: readonly RuleConfig[], domains: DomainNumbers) {
    const interfaces = new Map<string, bigint>();
    for (const name of rules.flatMap(({ match }) => match.interface))
      interfaces.set(name, interfaces.get(name) ?? BigInt(interfaces.size + 1));
    this.#boxes = rules.map(({ match }) => boxesOf(match, domains, interfaces));
  }

  /** The earlier rules that together match all that one does, or null. `likely`: the one that is asked first. */
  coverOf(rule: number, likely: number): number[] | null {
    const isInLikely = (box: Box) => this.#boxes[likely]!.some((other) => holds(other, box));
    if (this.#boxes[rule]!.length > 0 && this.#boxes[rule]!.every(isInLikely)) return [likely];
    const by = new Set<number>();
    for (const box of this.#boxes[rule]!) {
      const cover = this.#coverOfBox(box, rule);
      if (cover === null) return null;
      for (const each of cover) by.add(each);
    }
    return by.size === 0 ? null : [...by].sort((a, b) => a - b);
  }

  meet(a: number, b: number): boolean {
    return this.#boxes[a]!.some((one) => this.#boxes[b]!.some((other) => meets(one, other)));
  }

  #coverOfBox(box: Box, rule: number): number[] | null {
    const rivals: { rule: number; box: Box }[] = [];
    for (let earlier = 0; earlier < rule; earlier++) {
      if (++this.#comparisons > mostComparisons) return null;
      for (const other of this.#boxes[earlier]!) {
        if (holds(other, box)) return [earlier];
        if (meets(other, box)) rivals.push({ rule: earlier, box: other });
      }
    }
    const cells = box.map((ranges, dimension) =>
      cut(
        ranges,
        rivals.map((rival) => rival.box[dimension]!),
      ),
    );
    if (cells.reduce((product, { length }) => product * length, 1) > mostCells) return null;
    const by = new Set<number>();
    const walk = (point: readonly bigint[]): boolean => {
      if (point.length < cells.length) return cells[point.length]!.every((value) => walk([...point, value]));
      this.#comparisons += rivals.length;
      const first = rivals.find((rival) => rival.box.every((ranges, dimension) => has(ranges, point[dimension]!)));
      if (first !== undefined) by.add(first.rule);
      return first !== undefined;
    };
    return walk([]) ? [...by] : null;
  }
}

function boxesOf(match: RuleMatch, domains: DomainNumbers, interfaces: ReadonlyMap<string, bigint>): Box[] {
  const only = (...values: bigint[]) => merged(values.map((value) => ({ first: value, last: value })));
  const all = (first: bigint, last: bigint) => [{ first, last }];
  const hasPorts = match.sourcePort.length > 0 || match.destinationPort.length > 0;
  const ports = (list: RuleMatch["sourcePort"]) =>
    list.length === 0
      ? all(0n, noPort)
      : merged(list.map(({ first, last }) => ({ first: BigInt(first), last: BigInt(last) })));
  const numbers = match.protocol === null ? (hasPorts ? [6n, 17n] : []) : [BigInt(protocolNumbers[match.protocol])];
  const rest = [
    numbers.length === 0 ? all(0n, 255n) : only(...numbers),
    ports(match.sourcePort),
    ports(match.destinationPort),
    match.dscp.length === 0 ? all(0n, 63n) : only(...match.dscp.map(BigInt)),
    match.interface.length === 0
      ? all(0n, BigInt(interfaces.size))
      : only(...match.interface.map((name) => interfaces.get(name)!)),
  ];
  const anyName = all(-1n, BigInt(domains.count));
  const source = match.source.length === 0 ? null : addressRanges(match.source);
  const destination = match.destination.length === 0 ? null : addressRanges(match.destination);
  const named = match.domain.length === 0 ? null : only(...domains.of(match.domain).map(BigInt));
  const boxes = [["ipv4", all4, 4n] as const, ["ipv6", all6, 6n] as const].flatMap(
    ([family, everything, number]): Box[] => {
      const from = source === null ? everything : source[family];
      const byAddress = destination === null ? (named === null ? everything : []) : destination[family];
      const box = (to: readonly ValueRange[], names: readonly ValueRange[]) => [only(number), from, to, names, ...rest];
      return [box(byAddress, anyName), ...(named === null ? [] : [box(everything, named)])];
    },
  );
  return boxes.filter((box) => box.every(({ length }) => length > 0));
}

/** The first value of each piece that ranges fall into when the edges of others cut them. */
function cut(ranges: readonly ValueRange[], others: readonly (readonly ValueRange[])[]): bigint[] {
  const edges = new Set(ranges.map(({ first }) => first));
  for (const { first, last } of others.flat())
    for (const edge of [first, last + 1n]) if (has(ranges, edge)) edges.add(edge);
  return [...edges];
}

function has(ranges: readonly ValueRange[], value: bigint): boolean {
  return ranges.some(({ first, last }) => first <= value && value <= last);
}

function holds(outer: Box, inner: Box): boolean {
  return outer.every((ranges, dimension) =>
    inner[dimension]!.every((range) => ranges.some(({ first, last }) => first <= range.first && range.last <= last)),
  );
}

function meets(a: Box, b: Box): boolean {
  return a.every((ranges, dimension) =>
    ranges.some((range) => b[dimension]!.some(({ first, last }) => first <= range.last && range.first <= last)),
  );
}
