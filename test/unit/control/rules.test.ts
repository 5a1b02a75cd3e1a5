import { describe, expect, it } from "vitest";
import type { RuleConfig, RuleMatch } from "../../../src/control/config-types.ts";
import { addressValue, networkRange } from "../../../src/control/network-ranges.ts";
import { type CompiledRules, compileRules, protocolNumbers, type RuleGroup } from "../../../src/control/rules.ts";
import { DomainTable } from "../../../src/tables/domain-table.ts";
import { RuleTable, ruleHeader } from "../../../src/tables/rule-table.ts";
import { randomFrom } from "../../support/packets.ts";
import { compile, configWith, networks, words } from "../../support/rules.ts";

interface Flow {
  source: string;
  destination: string;
  domain?: string;
  protocol?: number;
  sourcePort?: number;
  destinationPort?: number;
  dscp?: number;
}

/** What the table says of a flow. */
function matchIn(buffer: SharedArrayBuffer, flow: Flow): number {
  const table = new RuleTable(buffer);
  const { protocol = 6, sourcePort = 40_000, destinationPort = 443, dscp = 0 } = flow;
  const hasPorts = protocol === 6 || protocol === 17;
  const ports = hasPorts ? ([sourcePort, destinationPort] as const) : ([-1, -1] as const);
  const domain = flow.domain === undefined ? -1 : numberOf(buffer, flow.domain);
  const source = words(flow.source);
  const destination = words(flow.destination);
  if (source.length === 1) return table.match(source[0]!, destination[0]!, domain, protocol, ...ports, dscp);
  const view = new DataView(new ArrayBuffer(32));
  for (const [i, word] of [...source, ...destination].entries()) view.setInt32(i * 4, word);
  return table.match6(view, 0, 16, domain, protocol, ...ports, dscp);
}

function numberOf(buffer: SharedArrayBuffer, name: string): number {
  const at = new Int32Array(buffer)[ruleHeader.names]!;
  if (at === 0) return -1;
  const labels: number[] = [];
  const bytes = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  for (let i = 0; i < bytes.length; i += 1 + bytes[i]!) labels.push(i);
  const wire = Uint8Array.from(bytes);
  return new DomainTable(buffer, at).find(wire, wire.length, Uint8Array.from(labels), labels.length);
}

function firstOf(rules: string, flow: Flow): number {
  return matchIn(compile(rules).table!, flow);
}

const lan = "192.168.10.7";
const flow: Flow = { source: lan, destination: "192.0.2.10" };

describe("the first rule that a flow matches", () => {
  it("is the first in the file, not the closest", () => {
    const rules = `rules:
  - { match: { destination: [198.51.100.0/24] }, use: [a] }
  - { match: { destination: [192.0.2.0/24] }, use: [b] }
  - { match: { destination: [192.0.2.10] }, use: [c] }`;
    expect(firstOf(rules, flow)).toBe(1);
    expect(firstOf(rules, { ...flow, destination: "198.51.100.255" })).toBe(0);
    expect(firstOf(rules, { ...flow, destination: "198.51.101.0" })).toBe(-1);
  });

  it("asks for everything that a rule says at once", () => {
    const rules =
      "rules: [{ match: { source: [192.168.10.0/28], protocol: tcp, sourcePort: [1024-65535], destinationPort: [25, 443], dscp: [46] }, use: [a] }]";
    const matching = { ...flow, dscp: 46 };
    expect(firstOf(rules, matching)).toBe(0);
    expect(firstOf(rules, { ...matching, source: "192.168.10.16" })).toBe(-1);
    expect(firstOf(rules, { ...matching, protocol: 17 })).toBe(-1);
    expect(firstOf(rules, { ...matching, sourcePort: 1023 })).toBe(-1);
    expect(firstOf(rules, { ...matching, destinationPort: 26 })).toBe(-1);
    expect(firstOf(rules, { ...matching, dscp: 45 })).toBe(-1);
  });

  it("by a port is one for what has ports", () => {
    const rules = "rules: [{ match: { sourcePort: [40000] }, use: [a] }, { match: {}, use: [b] }]";
    expect([6, 17, 1, 47].map((protocol) => firstOf(rules, { ...flow, protocol }))).toEqual([0, 0, 1, 1]);
  });

  it("by an address is one for that family, and without any for both", () => {
    const rules = `rules:
  - { match: { destination: ["2001:db8::/32"] }, use: [a] }
  - { match: { destination: [0.0.0.0/0] }, use: [b] }
  - { match: { protocol: icmp }, use: [c] }`;
    const flow6 = { source: "fd00:10::2", destination: "2001:db8:ffff::1" };
    expect(firstOf(rules, flow6)).toBe(0);
    expect(firstOf(rules, flow)).toBe(1);
    expect(firstOf(rules, { ...flow6, destination: "2001:db9::1", protocol: 1 })).toBe(2);
    expect(firstOf(rules, { ...flow6, destination: "2001:db9::1" })).toBe(-1);
  });

  it("by an interface is one for the networks behind it", () => {
    const rules = `rules:
  - { match: { interface: [lo] }, use: [c] }
  - { match: { interface: [lan1], source: [192.168.0.0/16, 10.0.0.0/8] }, use: [a] }
  - { match: { interface: [lan0] }, use: [b] }`;
    const from = (source: string) => firstOf(rules, { ...flow, source });
    expect(["192.168.10.1", "10.255.255.1", "192.168.20.9", "192.168.30.9", "192.168.10.7"].map(from)).toEqual([
      0, 0, 1, 1, 2,
    ]);
    expect(["192.168.40.9", "10.1.1.1"].map(from)).toEqual([-1, -1]);
    expect(firstOf(rules, { source: "fd00:10::7", destination: "2001:db8::1" })).toBe(2);
  });

  it("by an interface without a network behind it is none", () => {
    const { table } = compileRules(configWith("rules: [{ match: { interface: [lan0] }, use: [a] }]"), () => []);
    expect(matchIn(table!, flow)).toBe(-1);
  });

  it("by a domain is one for its names and those below, or for its networks", () => {
    const rules = `rules:
  - { match: { domain: [example.org], destination: [198.51.100.0/24], protocol: tcp }, use: [a] }
  - { match: { domain: [www.example.org, example.net] }, use: [b] }`;
    const to = (domain: string, more: Partial<Flow> = {}) => firstOf(rules, { ...flow, domain, ...more });
    expect([to("example.org"), to("a.b.example.org"), to("example.net")]).toEqual([0, 0, 1]);
    expect([to("www.example.org"), to("x.www.example.org", { protocol: 17 })]).toEqual([0, 1]);
    expect([to("org"), to("notexample.org"), to("example.org", { protocol: 17 })]).toEqual([-1, -1, -1]);
    expect(firstOf(rules, { ...flow, destination: "198.51.100.1" })).toBe(0);
    expect(firstOf(rules, { source: "fd00:10::2", destination: "2001:db8::1", domain: "example.net" })).toBe(1);
  });
});

describe("the groups of rules", () => {
  it("are the sets of uplinks that they use, each once", () => {
    const { table, groups } = compile(`groups: [{ name: cheap, uplinks: { a: 5, c: 2 } }]
rules:
  - { match: { protocol: udp }, use: [b, a] }
  - { match: { protocol: tcp, dscp: [1] }, use: [a, b] }
  - { match: { protocol: tcp, dscp: [2] }, use: [a, b], strict: true }
  - { match: { protocol: tcp }, use: [cheap] }
  - { match: { protocol: esp, destination: [192.0.2.0/24] }, bypass: true }`);
    expect(groups.map(({ key: _, ...group }) => group)).toEqual([
      {
        group: 1,
        name: "b+a",
        members: [
          { name: "a", weight: 1 },
          { name: "b", weight: 2 },
        ],
        hasOwnWeights: false,
        strict: false,
      },
      {
        group: 2,
        name: "a+b",
        members: [
          { name: "a", weight: 1 },
          { name: "b", weight: 2 },
        ],
        hasOwnWeights: false,
        strict: true,
      },
      {
        group: 3,
        name: "cheap",
        members: [
          { name: "a", weight: 5 },
          { name: "c", weight: 2 },
        ],
        hasOwnWeights: true,
        strict: false,
      },
    ]);
    const ruleTable = new RuleTable(table!);
    expect([0, 1, 2, 3, 4].map((rule) => ruleTable.group(rule))).toEqual([1, 1, 2, 3, 0]);
  });

  it("keep their numbers when rules change, and give them to no other set", () => {
    const numbers = (groups: readonly RuleGroup[]) => groups.map(({ name, group }) => [name, group]);
    const before = compile(`rules:
  - { match: { protocol: udp }, use: [a] }
  - { match: { protocol: tcp }, use: [b], strict: true }`);
    expect(numbers(before.groups)).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    const after = compile(
      `rules:
  - { match: { protocol: tcp }, use: [b], strict: true }
  - { match: { protocol: udp }, use: [c] }
  - { match: { protocol: icmp }, use: [b] }`,
      before,
    ).groups;
    expect(numbers(after)).toEqual([
      ["b", 2],
      ["c", 3],
      ["b", 4],
    ]);
  });

  it("and domains keep theirs, for addresses that are known by them", () => {
    const domainOf = (rules: CompiledRules, name: string) => numberOf(rules.table!, name);
    const before = compile(`rules:
  - { match: { domain: [b.example] }, use: [b] }
  - { match: { domain: [c.example] }, use: [c] }`);
    const after = compile(
      `rules:
  - { match: { domain: [a.example] }, use: [a] }
  - { match: { domain: [c.example] }, use: [b] }`,
      before,
    );
    expect([domainOf(before, "b.example"), domainOf(before, "c.example")]).toEqual([0, 1]);
    expect([domainOf(after, "a.example"), domainOf(after, "c.example")]).toEqual([2, 1]);
    const known = { source: "192.168.10.2", destination: "192.0.2.1", domain: "c.example" };
    expect(new RuleTable(after.table!).group(matchIn(after.table!, known))).toBe(before.groups[0]!.group);
  });

  it("are none, and there is no table, without rules", () => {
    expect(compile("rules: []")).toEqual({ table: null, groups: [], domains: [], domainMeanings: new Map() });
  });
});

describe("the table of rules", () => {
  /** The obvious way. */
  function firstMatch(rules: readonly RuleMatch[], flow: Required<Flow>): number {
    const within = (list: readonly string[], address: string) =>
      list.some((network) => {
        const { first, last } = networkRange(network)!;
        const value = addressValue(address)!;
        return network.includes(":") === address.includes(":") && first <= value && value <= last;
      });
    const under = (list: readonly string[]) => list.some((name) => `.${flow.domain}`.endsWith(`.${name}`));
    const hasPorts = flow.protocol === 6 || flow.protocol === 17;
    const isIn = (ranges: RuleMatch["sourcePort"], port: number) =>
      ranges.length === 0 || (hasPorts && ranges.some(({ first, last }) => first <= port && port <= last));
    return rules.findIndex(
      (rule) =>
        (rule.source.length === 0 || within(rule.source, flow.source)) &&
        (rule.interface.length === 0 ||
          within(
            rule.interface.flatMap((name) => networks[name]!),
            flow.source,
          )) &&
        ((rule.destination.length === 0 && rule.domain.length === 0) ||
          within(rule.destination, flow.destination) ||
          under(rule.domain)) &&
        (rule.protocol === null || protocolNumbers[rule.protocol] === flow.protocol) &&
        isIn(rule.sourcePort, flow.sourcePort) &&
        isIn(rule.destinationPort, flow.destinationPort) &&
        (rule.dscp.length === 0 || rule.dscp.includes(flow.dscp)),
    );
  }

  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = randomFrom(seed);
  const upTo = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)]!;
  const some = <T>(chance: number, make: () => T): T[] =>
    random() < chance ? Array.from({ length: 1 + upTo(3) }, make) : [];
  const address = () =>
    random() < 0.7 ? `192.168.${pick([0, 10, 20, 30, 127, 255])}.${pick([0, 1, 7, 128, 255])}` : address6();
  const address6 = () =>
    pick(["fd00:10::", "fd00:10::7", "fd00:8000::1", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
  const network = () => {
    const each = address();
    return each.includes(":")
      ? `${each}/${pick([0, 1, 16, 31, 33, 64, 65, 127, 128])}`
      : `${each}/${pick([0, 1, 16, 24, 25, 31, 32])}`;
  };
  const ports = () => {
    const first = pick([0, 1, 25, 443, 40_000, 65_535]);
    return { first, last: Math.max(first, pick([1, 26, 443, 50_000, 65_535])) };
  };
  const names = ["org", "example.org", "www.example.org", "a.example.org", "example.net", "net"];
  const match = (chance: number): RuleMatch => ({
    source: some(chance, network),
    destination: some(chance, network),
    domain: some(chance / 2, () => pick(names)),
    protocol: random() < chance ? pick(["tcp", "udp", "icmp", "gre"]) : null,
    sourcePort: some(chance / 2, ports),
    destinationPort: some(chance, ports),
    interface: some(chance / 3, () => pick(["lan0", "lan1", "lo"])),
    dscp: some(chance / 2, () => pick([0, 1, 46, 63])),
  });
  const randomFlow = (): Required<Flow> => {
    const source = address();
    let destination = address();
    while (destination.includes(":") !== source.includes(":")) destination = address();
    return {
      source,
      destination,
      domain: pick([...names, "x.y.example.org", "com"]),
      protocol: pick([6, 17, 1, 47, 255]),
      sourcePort: pick([0, 1, 25, 26, 443, 40_000, 65_535]),
      destinationPort: pick([0, 1, 25, 26, 443, 444, 50_001, 65_535]),
      dscp: pick([0, 1, 2, 46, 63]),
    };
  };

  it.each([1, 5, 40, 600])(`says what a walk over all rules would, for %i of them (seed ${seed})`, (count) => {
    const plain = configWith("");
    let found = 0;
    for (let round = 0; round < 20; round++) {
      const chance = pick([0.2, 0.5, 0.8]);
      const matches = Array.from({ length: count }, () => match(chance));
      const rules = matches.map((each): RuleConfig => ({ match: each, use: ["a"], strict: false, bypass: false }));
      const { table } = compileRules({ ...plain, rules }, (name) => networks[name] ?? []);
      for (let i = 0; i < 100; i++) {
        const each = randomFlow();
        const expected = firstMatch(matches, each);
        if (expected >= 0) found++;
        expect(matchIn(table!, each), JSON.stringify(each)).toBe(expected);
      }
    }
    expect(found).toBeGreaterThan(0);
  });

  it("names all rules that a flow matches, to those who want to know", () => {
    const { table } = compile(`rules:
  - { match: { protocol: udp }, use: [a] }
  - { match: { destination: [192.0.2.0/24] }, use: [a] }
  - { match: { source: [192.168.0.0/16] }, use: [a] }
  - { match: { domain: [example.org] }, use: [a] }`);
    const rules = new RuleTable(table!);
    const [source, destination] = [words(lan)[0]!, words("192.0.2.1")[0]!];
    expect(rules.match(source, destination, -1, 6, 0, 0, 0)).toBe(1);
    expect([rules.nextMatch(1), rules.nextMatch(2)]).toEqual([2, -1]);
    expect(rules.match(source, destination, numberOf(table!, "example.org"), 6, 0, 0, 0)).toBe(1);
    expect([rules.nextMatch(1), rules.nextMatch(2)]).toEqual([2, 3]);
  });

  it("stays small when thousands of rules overlap", () => {
    const plain = configWith("");
    const everyPort = Array.from({ length: 2000 }, (_, i) => ({ destination: ["10.0.0.0/8"], port: i }));
    const everyNetwork = Array.from({ length: 2000 }, (_, i) => ({
      destination: [`10.${i >> 8}.${i & 255}.0/24`],
      port: 0,
    }));
    const rules = [...everyPort, ...everyNetwork].map(
      ({ destination, port }): RuleConfig => ({
        match: { ...match(0), destination, destinationPort: [{ first: port, last: port }] },
        use: ["a"],
        strict: false,
        bypass: false,
      }),
    );
    const { table } = compileRules({ ...plain, rules }, () => []);
    expect(table!.byteLength).toBeLessThan(2_000_000);
    expect(matchIn(table!, { ...flow, destination: "10.7.200.9", destinationPort: 1999 })).toBe(1999);
    expect(matchIn(table!, { ...flow, destination: "10.7.200.9", destinationPort: 2000 })).toBe(-1);
  });
});
