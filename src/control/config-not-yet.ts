/**
 * What the configuration may say already and this version does not do.
 *
 * Silence would be the worst answer: an error where ignoring the entry would send traffic another way
 * than the file says, a warning where it would not. Building a feature removes its line here.
 */

import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";

interface NotYet {
  /** "*" stands for every entry of a list. */
  path: ConfigPath;
  asked: (value: unknown) => boolean;
  severity: "error" | "warning";
  /** For an error the value that is supported; for a warning what happens all the same. */
  instead: string;
}

const given = (value: unknown) => value !== undefined;
const otherThan = (usual: string) => (value: unknown) => value !== undefined && value !== usual;

const notYet: readonly NotYet[] = [
  { path: ["io"], asked: otherThan("shim"), severity: "error", instead: "shim" },
  { path: ["metrics"], asked: given, severity: "warning", instead: "sluice status --json has the figures" },
];

export function checkNotYet(reader: ConfigReader): void {
  for (const entry of notYet) {
    for (const path of expand(reader, entry.path)) {
      if (!entry.asked(reader.get(path))) continue;
      if (entry.severity === "error") reader.error(path, "is not supported by this version", entry.instead);
      else reader.warning(path, `is accepted but not acted on in this version; ${entry.instead}`);
    }
  }
}

function expand(reader: ConfigReader, path: ConfigPath): ConfigPath[] {
  const star = path.indexOf("*");
  if (star === -1) return [path];
  return reader.entries(path.slice(0, star)).map((entry) => [...entry, ...path.slice(star + 1)]);
}
