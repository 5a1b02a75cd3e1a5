/** A routing policy rule, in our form, in the words of `ip rule`, and as `ip -json` prints it. */
import { isIpv6, type PortRange } from "./config-values.ts";

/** The origin that rules and routes of sluice show (`proto 83` in `ip rule`); free in iproute2's rt_protos. */
export const protocol = 83;

/** A routing policy rule. Absent fields do not restrict. */
export interface Rule {
  readonly priority: number;
  /** An address, or address/length. */
  readonly from?: string;
  readonly to?: string;
  readonly iif?: string;
  readonly oif?: string;
  /** A number. */
  readonly ipProtocol?: number;
  readonly sourcePort?: PortRange;
  readonly destinationPort?: PortRange;
  /** `goto`: on with the rule of that priority. */
  readonly action:
    | { readonly table: number; readonly suppressPrefixLength?: number }
    | { readonly goto: number }
    | "blackhole"
    | "nop";
}

/** A row of `ip -N -json rule`. */
export interface RuleRow {
  priority: number;
  src: string;
  srclen?: number;
  dst?: string;
  dstlen?: number;
  iif?: string;
  oif?: string;
  /** ipproto-6. */
  ipproto?: string;
  sport?: number;
  sport_start?: number;
  sport_end?: number;
  dport?: number;
  dport_start?: number;
  dport_end?: number;
  goto?: number;
  nop?: null;
  table?: string;
  suppress_prefixlen?: number;
  action?: string;
  protocol?: string;
}

/** What `ip -N` prints for it (rtnetlink.h). */
const blackholeAction = "6";

/** In the words of `ip rule`; the same rule gives the same words, which is how rows are compared. */
export function ruleArguments(rule: Rule): string[] {
  return [
    ...["pref", String(rule.priority), "protocol", String(protocol)],
    ...(rule.from === undefined ? [] : ["from", withLength(rule.from)]),
    ...(rule.to === undefined ? [] : ["to", withLength(rule.to)]),
    ...(rule.iif === undefined ? [] : ["iif", rule.iif]),
    ...(rule.oif === undefined ? [] : ["oif", rule.oif]),
    ...(rule.ipProtocol === undefined ? [] : ["ipproto", String(rule.ipProtocol)]),
    ...(rule.sourcePort === undefined ? [] : ["sport", portText(rule.sourcePort)]),
    ...(rule.destinationPort === undefined ? [] : ["dport", portText(rule.destinationPort)]),
    ...actionArguments(rule.action),
  ];
}

function actionArguments(action: Rule["action"]): string[] {
  if (typeof action === "string") return action === "nop" ? ["nop"] : ["type", action];
  if ("goto" in action) return ["goto", String(action.goto)];
  const { table, suppressPrefixLength } = action;
  const suppress = suppressPrefixLength === undefined ? [] : ["suppress_prefixlength", String(suppressPrefixLength)];
  return ["lookup", String(table), ...suppress];
}

function withLength(network: string): string {
  return network.includes("/") ? network : `${network}/${isIpv6(network) ? 128 : 32}`;
}

function portText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

export function toRule(row: RuleRow): Rule {
  const sourcePort = toPorts(row.sport ?? row.sport_start, row.sport_end);
  const destinationPort = toPorts(row.dport ?? row.dport_start, row.dport_end);
  return {
    priority: row.priority,
    ...(row.src === "all" ? {} : { from: toNetwork(row.src, row.srclen) }),
    ...(row.dst === undefined ? {} : { to: toNetwork(row.dst, row.dstlen) }),
    ...(row.iif === undefined ? {} : { iif: row.iif }),
    ...(row.oif === undefined ? {} : { oif: row.oif }),
    ...(row.ipproto === undefined ? {} : { ipProtocol: Number(row.ipproto.replace("ipproto-", "")) }),
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined ? {} : { destinationPort }),
    action: toAction(row),
  };
}

function toAction(row: RuleRow): Rule["action"] {
  if (row.action === blackholeAction) return "blackhole";
  if (row.nop !== undefined) return "nop";
  if (row.goto !== undefined) return { goto: row.goto };
  const suppress = row.suppress_prefixlen;
  return { table: Number(row.table), ...(suppress === undefined ? {} : { suppressPrefixLength: suppress }) };
}

function toNetwork(address: string, length: number | undefined): string {
  return length === undefined ? address : `${address}/${length}`;
}

function toPorts(first: number | undefined, last = first): PortRange | undefined {
  return first === undefined || last === undefined ? undefined : { first, last };
}
