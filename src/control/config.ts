/**
 * From a YAML file to a Config that can be trusted, or to every problem in it at once.
 *
 *     text ─► document (values, places) ─► schema (shape, defaults) ─► meaning, not yet ─► Config
 *
 * Nothing here looks at the machine; config-system.ts does.
 */

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { checkMeaning } from "./config-checks.ts";
import { type ConfigDocument, readDocument } from "./config-document.ts";
import { checkNotYet } from "./config-not-yet.ts";
import { ConfigError, type Problem } from "./config-problem.ts";
import { ConfigReader } from "./config-reader.ts";
import { checkRulesTogether } from "./config-rule-checks.ts";
import { toGroup, toRule } from "./config-rules.ts";
import { checkSchema, type RawConfig } from "./config-schema.ts";
import type { BalanceConfig, Config, ForwardConfig, HooksConfig } from "./config-types.ts";
import { toUplink } from "./config-uplinks.ts";
import {
  canonical6,
  formatIpv4,
  parseDurationMs,
  parseNetwork,
  parsePortRange,
  parsePrefix6,
  splitTarget,
} from "./config-values.ts";

export { ConfigError, formatProblem, type Problem } from "./config-problem.ts";

export const defaultConfigFile = "/etc/sluice/sluice.yaml";
const mostAutomaticWorkers = 8;

export interface LoadedConfig {
  config: Config;
  /** What the file asks for that is legal but doubtful, in the file's order. */
  warnings: Problem[];
  /** The file with its places, for checks that come later. */
  document: ConfigDocument;
}

/** Reads and checks a file. Throws ConfigError with every problem, also when the file cannot be read. */
export function loadConfig(file: string): LoadedConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(file, [
      { severity: "error", line: 0, column: 0, path: "", message: cannotRead((error as NodeJS.ErrnoException).code) },
    ]);
  }
  return parseConfig(text, file);
}

/** Like loadConfig, for text at hand; `file` only names it in messages. */
export function parseConfig(text: string, file: string): LoadedConfig {
  const document = readDocument(text, file);
  const reader = new ConfigReader(document);
  const shape = checkSchema(document);
  checkMeaning(reader, resolveWorkers(reader.get(["workers"])));
  checkNotYet(reader);
  const problems = () =>
    [...document.warnings, ...shape, ...reader.problems].sort((a, b) => a.line - b.line || a.column - b.column);
  const throwIfBad = () => {
    if (problems().some(({ severity }) => severity === "error")) throw new ConfigError(file, problems());
  };
  throwIfBad();
  const config = toConfig(document.value as RawConfig, file);
  checkRulesTogether(reader, config.rules);
  throwIfBad();
  return { config, warnings: problems(), document };
}

function toConfig(raw: RawConfig, file: string): Config {
  const tun = parseNetwork(raw.tun.address)!;
  const ports = parsePortRange(raw.nat.ports)!;
  const { timeouts } = raw.nat;
  return {
    file,
    tun: { name: raw.tun.name, address: formatIpv4(tun.address), prefixLength: tun.prefixLength },
    steer: raw.steer,
    uplinks: raw.uplinks.map(toUplink),
    balance: toBalance(raw.balance),
    groups: raw.groups.map(toGroup),
    rules: raw.rules.map(toRule),
    hooks: toHooks(raw.hooks),
    nat: {
      firstPort: ports.first,
      lastPort: ports.last,
      mapping: raw.nat.mapping,
      filtering: raw.nat.filtering,
      ...(raw.nat.insidePrefix !== undefined && { insidePrefix: parsePrefix6(raw.nat.insidePrefix)! }),
      timeouts: {
        tcpEstablishedMs: parseDurationMs(timeouts.tcpEstablished)!,
        tcpTransitoryMs: parseDurationMs(timeouts.tcpTransitory)!,
        udpMs: parseDurationMs(timeouts.udp)!,
        icmpMs: parseDurationMs(timeouts.icmp)!,
        otherMs: parseDurationMs(timeouts.other)!,
      },
    },
    forwards: raw.forwards.map((forward) => toForward(forward, raw.uplinks)),
    limits: { flows: raw.limits.flows, flowsPerHost: Math.min(raw.limits.flowsPerHost, raw.limits.flows) },
    workers: resolveWorkers(raw.workers),
    io: raw.io,
    failMode: raw.failMode,
    log: raw.log,
    control: raw.control,
  };
}

function toBalance({ key, policy, sticky, rescue, overflow, explore }: RawConfig["balance"]): BalanceConfig {
  return {
    key,
    policy,
    sticky: sticky === undefined ? null : { by: sticky.by, timeoutMs: parseDurationMs(sticky.timeout)! },
    rescue,
    overflowRatio: overflow ?? null,
    exploreRatio: explore,
  };
}

function toHooks({ timeout, ...programs }: RawConfig["hooks"]): HooksConfig {
  return { ...programs, timeoutMs: parseDurationMs(timeout)! };
}

function toForward(raw: RawConfig["forwards"][number], uplinks: RawConfig["uplinks"]): ForwardConfig {
  const port = parsePortRange(raw.port)!;
  const target = splitTarget(raw.to)!;
  return {
    uplinks: raw.uplink === undefined ? uplinks.map(({ name }) => name) : [raw.uplink].flat(),
    protocols: raw.protocol === "both" ? ["tcp", "udp"] : [raw.protocol],
    firstPort: port.first,
    lastPort: port.last,
    to: canonical6(target.address),
    toPort: parsePortRange(target.ports)!.first,
  };
}

function resolveWorkers(asked: unknown): number {
  return typeof asked === "number" ? asked : Math.min(availableParallelism(), mostAutomaticWorkers);
}

function cannotRead(code: string | undefined): string {
  switch (code) {
    case "ENOENT":
      return "there is no such file; share/sluice.yaml is an example to start from";
    case "EACCES":
      return "permission denied; run as root or make the file readable";
    case "EISDIR":
      return "is a directory; a file was expected";
    default:
      return `cannot be read: ${code ?? "unknown error"}`;
  }
}
