/**
 * What finding a new flow's rule costs, out of ten thousand prefixes.
 *
 *     node bench/micro/rules.ts [--json]
 *
 * Expected before the run: a binary search of 14 steps in each of four sections, 7 rows of 40 block numbers, half a dozen
 * blocks: 300 to 700 ns, most of it cache misses; three times that where no block is empty. The target is 2,000.
 */
import { parseArgs } from "node:util";
import type { RuleConfig, RuleMatch } from "../../src/control/config-types.ts";
import { compileRules } from "../../src/control/rules.ts";
import { RuleTable } from "../../src/tables/rule-table.ts";
import { randomFrom } from "../../test/support/packets.ts";
import { configWith } from "../../test/support/rules.ts";

const prefixes = 10_000;
const flows = 65_536;
const rounds = 30;

interface Row {
  rules: string;
  kilobytes: number;
  compileMs: number;
  nsPerNewFlow: number;
}

const { values } = parseArgs({ options: { json: { type: "boolean" } } });
const all = Array.from({ length: prefixes }, (_, i) => `10.${i >> 7}.${(i & 127) * 2}.0/24`);
const all6 = Array.from({ length: prefixes }, (_, i) => `2001:db8:${(i * 2).toString(16)}::/48`);
const single = (network: string): Partial<RuleMatch> => ({ destination: [network] });
/** As hard as can be: of every block some rules like the flow's one port and the others its other port, none both. */
const low = [{ first: 0, last: 32_767 }];
const high = [{ first: 32_768, last: 65_535 }];
const contrary = all.map(
  (network, i): Partial<RuleMatch> => ({
    source: [network, "192.168.0.0/16"],
    destinationPort: i % 2 === 0 ? low : high,
    sourcePort: i % 2 === 0 ? high : low,
  }),
);
const rows = [
  measure("one of 10,000 prefixes", [{ destination: all }], false),
  measure("10,000 of one prefix", all.map(single), false),
  measure("one of 10,000 prefixes, IPv6", [{ destination: all6 }], true),
  measure("10,000 of one prefix, IPv6", all6.map(single), true),
  measure("10,000 that match in all but one port", contrary, false),
];
if (values.json) console.log(JSON.stringify(rows, null, 2));
else console.table(rows);

function measure(name: string, matches: readonly Partial<RuleMatch>[], isIpv6: boolean): Row {
  const nothing: RuleMatch = {
    source: [],
    destination: [],
    domain: [],
    protocol: null,
    sourcePort: [],
    destinationPort: [],
    interface: [],
    dscp: [],
  };
  const rules = matches.map((match): RuleConfig => {
    return { match: { ...nothing, ...match }, use: ["a"], strict: false, bypass: false };
  });
  const config = { ...configWith(""), rules };
  let table: SharedArrayBuffer | null = null;
  const compileNs = time(() => {
    table = compileRules(config, () => []).table;
  });
  const search = isIpv6 ? searchIpv6(table!) : searchIpv4(table!);
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) best = Math.min(best, time(search));
  return {
    rules: name,
    kilobytes: Math.round(table!.byteLength / 1024),
    compileMs: Math.round(compileNs / 1e6),
    nsPerNewFlow: Math.round(best / flows),
  };
}

function searchIpv4(buffer: SharedArrayBuffer): () => void {
  const table = new RuleTable(buffer);
  const random = randomFrom(1);
  const destinations = Int32Array.from({ length: flows }, () => 0x0a00_0000 + Math.floor(random() * 0x0050_0000));
  return () => {
    for (let i = 0; i < flows; i++) table.match(0xc0a8_0a02 | 0, destinations[i]!, -1, 6, 0, 443, 0);
  };
}

function searchIpv6(buffer: SharedArrayBuffer): () => void {
  const table = new RuleTable(buffer);
  const random = randomFrom(1);
  const view = new DataView(new ArrayBuffer(flows * 16));
  for (let i = 0; i < flows; i++) {
    view.setInt32(i * 16, 0x2001_0db8);
    view.setInt32(i * 16 + 4, Math.floor(random() * 0x5000) << 16);
  }
  return () => {
    for (let i = 0; i < flows; i++) table.match6(view, 0, i * 16, -1, 6, 40_000, 443, 0);
  };
}

/** Nanoseconds. */
function time(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
}
