/**
 * Re-reads the configuration while packets flow: everything is checked first, then applied; a file with a mistake changes
 * nothing. What the workers' memory and programs were laid out for at the start can't change, and is refused by name.
 */
import { loadConfig } from "../control/config.ts";
import { ConfigError, formatProblem, type Problem } from "../control/config-problem.ts";
import { checkAgainstSystem } from "../control/config-system.ts";
import type { Config, UplinkConfig } from "../control/config-types.ts";
import type { ReloadReport } from "../control/report.ts";
import { isVacant, reseat } from "../control/uplink-seats.ts";

/** Sections that hold until the next start. The control socket may have been given on the command line: it is not compared. */
const fixed = ["tun", "steer", "nat", "forwards", "limits", "workers", "io", "failMode"] as const;

/** `apply` puts a configuration into effect whose uplinks have places; `warn` is told what is doubtful in it. */
export async function reload(
  current: Config,
  apply: (next: Config) => Promise<void>,
  warn: (problem: string) => void,
): Promise<ReloadReport> {
  let next: Config;
  let doubts: Problem[];
  try {
    const loaded = loadConfig(current.file);
    doubts = await checkAgainstSystem(loaded, true);
    next = reseat(current, { ...loaded.config, control: current.control });
  } catch (error) {
    return { changed: [], problems: problemsOf(error) };
  }
  const problems = fixed
    .filter((section) => !isEqual(comparable(next, section), comparable(current, section)))
    .map((section) => `${section}: cannot change while sluice runs; restart it for that${hint(section)}`);
  if (problems.length > 0) return { changed: [], problems };
  const changed = differences(current, next);
  for (const doubt of doubts) warn(formatProblem(current.file, doubt));
  await apply(next);
  return { changed, problems: [] };
}

/** A forward that names no uplink is for all of them, in the file's order, which means nothing. */
function comparable(config: Config, section: (typeof fixed)[number]): unknown {
  if (section !== "forwards") return config[section];
  return config.forwards.map((forward) => ({ ...forward, uplinks: [...forward.uplinks].sort() }));
}

/** What a person who has not touched the section would not think of. */
function hint(section: (typeof fixed)[number]): string {
  return section === "forwards"
    ? ", or name the uplinks of those that are for all, if it is an uplink that comes or goes"
    : "";
}

function problemsOf(error: unknown): string[] {
  return error instanceof ConfigError
    ? error.problems.map((problem) => formatProblem(error.file, problem))
    : [(error as Error).message];
}

/** What is different, a sentence each. */
function differences(current: Config, next: Config): string[] {
  const known = named(current);
  const wanted = named(next);
  return [
    ...[...wanted.keys()].filter((name) => !known.has(name)).map((name) => `uplink ${name} is new`),
    ...[...known.keys()].filter((name) => !wanted.has(name)).map((name) => `uplink ${name} is gone`),
    ...[...wanted].flatMap(([name, uplink]) => uplinkDifferences(name, known.get(name), uplink)),
    ...(isEqual(order(known, wanted), order(wanted, known)) ? [] : ["the order of the uplinks changed"]),
    ...(["balance", "groups", "rules", "hooks", "log"] as const)
      .filter((section) => !isEqual(current[section], next[section]))
      .map((section) => `${section} changed`),
  ];
}

function named({ uplinks }: Config): Map<string, UplinkConfig> {
  return new Map(uplinks.filter((uplink) => !isVacant(uplink)).map((uplink) => [uplink.name, uplink]));
}

/** Of those that are in both. */
function order(uplinks: ReadonlyMap<string, UplinkConfig>, others: ReadonlyMap<string, UplinkConfig>): string[] {
  const common = [...uplinks.values()].filter(({ name }) => others.has(name));
  return common.sort((a, b) => a.order - b.order).map(({ name }) => name);
}

function uplinkDifferences(name: string, before: UplinkConfig | undefined, after: UplinkConfig): string[] {
  if (before === undefined) return [];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])] as (keyof UplinkConfig)[];
  // One that comes or goes moves all behind it.
  const different = keys.filter((key) => key !== "order" && !isEqual(before[key], after[key]));
  return different.length === 0 ? [] : [`uplink ${name}: ${different.join(", ")}`];
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
