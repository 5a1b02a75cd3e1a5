/** Rules and groups: whom they may name, what fits together, and rules that never come to bear. */

import { mostBypassRules, planBypass, untellable } from "./bypass-plan.ts";
import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import type { RuleConfig } from "./config-types.ts";
import { parsePortRange } from "./config-values.ts";
import { mostDomainNumbers, numberDomains } from "./domain-numbers.ts";
import { nearest } from "./nearest.ts";
import { networkRange } from "./network-ranges.ts";
import { findShadows } from "./rule-shadows.ts";
import { groupKey } from "./rules.ts";

/** Group 0 is the balance over all. */
const mostGroups = 31;
/** What the schema lets pass as a network; the rest it has complained about. */
const networkShape = /^[0-9A-Fa-f:.]{2,45}(?:\/[0-9]{1,3})?$/;

export function checkRules(reader: ConfigReader): void {
  const uplinks = names(reader, ["uplinks"]);
  const groups = names(reader, ["groups"]);
  checkGroups(reader, uplinks, groups);
  const sets = new Set<string>();
  const rules = reader.entries(["rules"]);
  for (const rule of rules) {
    checkAction(reader, rule);
    checkUse(reader, [...rule, "use"], uplinks, groups);
    for (const key of ["source", "destination"]) checkNetworks(reader, [...rule, "match", key]);
    checkPorts(reader, [...rule, "match"]);
    checkInterfaces(reader, [...rule, "match", "interface"]);
    const use = reader.entries([...rule, "use"]).map((path) => reader.text(path) ?? "");
    if (use.length > 0) sets.add(groupKey(use, reader.get([...rule, "strict"]) === true));
  }
  if (sets.size > mostGroups)
    reader.error(["rules"], `use ${sets.size} different sets of uplinks`, `at most ${mostGroups}, strict ones apart`);
  checkDomains(reader, rules);
}

/** What only rules that are sound in themselves can be asked. */
export function checkRulesTogether(reader: ConfigReader, rules: readonly RuleConfig[]): void {
  for (const { rule, by } of findShadows(rules)) {
    const others = by.slice(0, 3).map((number) => `rules[${number}]`);
    const more = by.length > others.length ? ` and ${by.length - others.length} more` : "";
    const who = by.length === 1 ? `${others[0]} matches` : `${others.join(", ")}${more} together match`;
    reader.warning(["rules", rule], `never comes to bear: ${who} all that it does, and the first match wins`);
  }
  for (const { use, bypass } of untellable(rules))
    reader.error(
      ["rules", use],
      `takes by DSCP or domain from what rules[${bypass}] bypasses, but the kernel, which decides first, knows neither`,
      `rules[${bypass}] before it, or one that does not overlap`,
    );
  for (const family of ["-4", "-6"] as const) {
    const { length } = planBypass({ rules }, family).rules;
    if (length > mostBypassRules)
      reader.error(
        ["rules"],
        `take ${length} rules of the kernel for what is bypassed`,
        `at most ${mostBypassRules}; bypasses by destination alone that come first take none`,
      );
  }
}

function checkGroups(reader: ConfigReader, uplinks: readonly string[], groups: readonly string[]): void {
  for (const [i, group] of reader.entries(["groups"]).entries()) {
    const path = [...group, "name"];
    const name = reader.text(path);
    if (name !== undefined && uplinks.includes(name))
      reader.error(path, "is also the name of an uplink", "another name, so that rules can tell them apart");
    if (name !== undefined && groups.indexOf(name) < i)
      reader.error(path, `is also the name of groups[${groups.indexOf(name)}]`, "every group to have its own");
    const members = reader.get([...group, "uplinks"]);
    if (typeof members !== "object" || members === null) continue;
    for (const member of Object.keys(members))
      if (!uplinks.includes(member))
        reader.error(
          [...group, "uplinks", member],
          `${JSON.stringify(member)} ${unknown("uplink", member, uplinks)}`,
          oneOf(uplinks),
        );
  }
}

function checkAction(reader: ConfigReader, rule: ConfigPath): void {
  const isBypass = reader.get([...rule, "bypass"]) === true;
  const hasUse = reader.get([...rule, "use"]) !== undefined;
  if (isBypass && hasUse)
    reader.error([...rule, "bypass"], "leaves to the kernel what use sends to an uplink", "one of the two");
  if (!isBypass && !hasUse) reader.error(rule, "says what matches but not what becomes of it", "use or bypass: true");
  if (!isBypass) return;
  if (reader.get([...rule, "strict"]) === true)
    reader.error([...rule, "strict"], "means nothing with bypass: no uplink is chosen", "strict with use only");
  if (reader.entries([...rule, "match", "dscp"]).length > 0)
    reader.error(
      [...rule, "match", "dscp"],
      "can't be left to the kernel's own routing",
      "bypass by addresses, protocol, ports or interface",
    );
  if (reader.entries([...rule, "match", "domain"]).length > 0)
    reader.error(
      [...rule, "match", "domain"],
      "can't be left to the kernel, which knows no names",
      "destination networks with bypass",
    );
}

function checkUse(reader: ConfigReader, use: ConfigPath, uplinks: readonly string[], groups: readonly string[]): void {
  const entries = reader.entries(use);
  for (const [i, path] of entries.entries()) {
    const name = reader.text(path);
    if (name === undefined) continue;
    const known = [...uplinks, ...groups];
    if (!known.includes(name)) reader.error(path, unknown("uplink or group", name, known), oneOf(known));
    else if (entries.length > 1 && groups.includes(name) && !uplinks.includes(name))
      reader.error(path, "is a group and has others beside it", "one group alone, or uplinks");
    if (entries.slice(0, i).some((earlier) => reader.text(earlier) === name))
      reader.error(path, "is named twice", "every uplink once; a group has weights");
  }
}

function checkNetworks(reader: ConfigReader, list: ConfigPath): void {
  for (const path of reader.entries(list)) {
    const text = reader.text(path);
    if (text !== undefined && networkShape.test(text) && networkRange(text) === undefined)
      reader.error(path, "is not a network", "one such as 198.51.100.0/24 or 2001:db8::/32");
  }
}

function checkPorts(reader: ConfigReader, match: ConfigPath): void {
  const protocol = reader.text([...match, "protocol"]);
  for (const key of ["sourcePort", "destinationPort"]) {
    const list = [...match, key];
    const entries = reader.entries(list);
    if (entries.length > 0 && protocol !== undefined && protocol !== "tcp" && protocol !== "udp")
      reader.error(list, `does not go with protocol ${protocol}: only of TCP and UDP are ports known`, "tcp or udp");
    for (const path of entries) {
      const value = reader.get(path);
      const range = typeof value === "string" ? parsePortRange(value) : undefined;
      if (range === undefined) continue;
      if (range.last > 65_535) reader.error(path, "goes beyond the last port", "ports from 0 to 65535");
      else if (range.first > range.last)
        reader.error(path, "is reversed", `the lower port first: ${range.last}-${range.first}`);
    }
  }
}

function checkInterfaces(reader: ConfigReader, list: ConfigPath): void {
  const steered = reader.entries(["steer", "interfaces"]).map((path) => reader.text(path) ?? "");
  const known = reader.get(["steer", "local"]) === true ? [...steered, "lo"] : steered;
  for (const path of reader.entries(list)) {
    const name = reader.text(path);
    if (name === undefined || known.includes(name)) continue;
    if (name === "lo")
      reader.error(
        path,
        "means this machine's own traffic, which is not steered",
        "steer.local: true, or another interface",
      );
    else reader.error(path, unknown("interface that is steered", name, known), oneOf(known));
  }
}

function checkDomains(reader: ConfigReader, rules: readonly ConfigPath[]): void {
  const lists = rules
    .map((rule) => reader.entries([...rule, "match", "domain"]).map((path) => (reader.text(path) ?? "").toLowerCase()))
    .filter(({ length }) => length > 0);
  const { count } = numberDomains(lists);
  if (count > mostDomainNumbers)
    reader.error(
      ["rules"],
      `have ${count} different sets of domains`,
      `at most ${mostDomainNumbers}; rules with equal lists count once`,
    );
}

function names(reader: ConfigReader, list: ConfigPath): string[] {
  return reader.entries(list).map((path) => reader.text([...path, "name"]) ?? "");
}

function unknown(kind: string, name: string, known: readonly string[]): string {
  const suggestion = nearest(name, known);
  return `is the name of no ${kind}${suggestion === undefined ? "" : `; did you mean ${suggestion}?`}`;
}

function oneOf(known: readonly string[]): string {
  return known.length === 0 ? "one that the file has" : `one of ${known.filter((name) => name !== "").join(", ")}`;
}
