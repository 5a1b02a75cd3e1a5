/** What `sluice explain` shows of an ExplainReport. Pure: a report in, lines out. */

import type { ExplainCandidate, ExplainReport } from "../control/report.ts";
import { type Column, formatAge, formatEndpoint, formatPercent, formatTable, paint } from "./format.ts";
import { styleOfState } from "./uplink-words.ts";

const columns: Column<ExplainCandidate & { isChosen: boolean }>[] = [
  { title: "UPLINK", text: ({ name }) => name, style: () => "bold" },
  { title: "STATE", text: ({ state }) => state, style: ({ state }) => styleOfState({ state, degraded: false }) },
  { title: "WEIGHT", align: "right", text: ({ weight }) => (weight === 0 ? "-" : String(weight)) },
  { title: "SHARE", align: "right", text: ({ shareRatio }) => (shareRatio === 0 ? "-" : formatPercent(shareRatio)) },
  { title: "", text: ({ isChosen, reason }) => (isChosen ? "<- this one" : reason), dispensable: 1 },
];

export function showExplain(report: ExplainReport, width: number): string[] {
  const { flow, uplink, why, candidates, notes } = report;
  const verdict =
    uplink === null ? paint("yellow", sentence(why)) : `takes ${paint("bold", uplink)}: ${paint("green", why)}`;
  const rows = candidates.map((candidate) => ({ ...candidate, isChosen: candidate.name === uplink }));
  return [
    `${flow.protocol} ${endpoint(flow.source, flow.sourcePort)} -> ${endpoint(flow.destination, flow.destinationPort)}`,
    verdict,
    "",
    ...facts(report).map(([name, text]) => `${paint("dim", name.padEnd(7))}  ${text}`),
    ...(rows.length === 0 ? [] : ["", ...formatTable(rows, columns, width)]),
    ...(notes.length === 0 ? [] : ["", ...notes]),
  ].map(clean);
}

function facts({ existing, rule, group, key, hash, policy }: ExplainReport): [string, string][] {
  const kind = rule?.bypass ? ", left to the kernel's own routing" : rule?.strict ? ", strict" : "";
  const lines: [string, string][] = [
    ["rule", rule === null ? "none matches" : `rules[${rule.number}]: ${rule.text}${kind}`],
    ["group", group.number === 0 ? "all uplinks" : group.name],
    ["policy", policy],
    ["hash", hash === null ? `of ${key}: something of it was not given` : `${hash} of ${key}`],
  ];
  if (existing === null) return [["flow", "does not exist"], ...lines];
  const mapped = formatEndpoint(existing.mappedAddress, existing.mappedPort);
  const age = `${formatAge(existing.ageSeconds)} old, idle for ${formatAge(existing.idleSeconds)}`;
  return [["flow", `exists on ${existing.uplink} as ${mapped}, ${existing.state}, ${age}`], ...lines];
}

function endpoint(address: string, port: number | null): string {
  return port === null ? address : formatEndpoint(address, port);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Escape sequences of our own colours stay; nothing else that a terminal would obey does. */
function clean(line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return line.replaceAll(/(?!\x1b\[[0-9]+m)\p{Cc}/gu, "?");
}
