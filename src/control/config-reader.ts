/**
 * A tolerant view of a configuration that may still be wrong elsewhere.
 *
 * Checks across keys run even when the schema has complained, so that a person sees everything at
 * once. Each getter gives undefined for a value that is not of the asked kind (the schema has
 * reported that already), and a check skips what it cannot see.
 */

import type { ConfigDocument } from "./config-document.ts";
import { type ConfigPath, formatPath, formatValue, type Problem } from "./config-problem.ts";

export class ConfigReader {
  readonly problems: Problem[] = [];
  readonly #document: ConfigDocument;

  constructor(document: ConfigDocument) {
    this.#document = document;
  }

  get(path: ConfigPath): unknown {
    let value = this.#document.value;
    for (const step of path) {
      if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
      value = (value as Record<string | number, unknown>)[step];
    }
    return value;
  }

  text(path: ConfigPath): string | undefined {
    const value = this.get(path);
    return typeof value === "string" ? value : undefined;
  }

  /** Paths of a list's entries; none when there is no list. */
  entries(path: ConfigPath): ConfigPath[] {
    const value = this.get(path);
    return Array.isArray(value) ? value.map((_, index) => [...path, index]) : [];
  }

  error(path: ConfigPath, message: string, expected?: string): void {
    this.#report("error", path, message, expected);
  }

  warning(path: ConfigPath, message: string, expected?: string): void {
    this.#report("warning", path, message, expected);
  }

  #report(severity: Problem["severity"], path: ConfigPath, message: string, expected: string | undefined): void {
    const value = this.get(path);
    this.problems.push({
      severity,
      ...this.#document.positionOf(path),
      path: formatPath(path),
      // A whole list or mapping would only repeat the file.
      ...(value !== undefined && typeof value !== "object" && { value: formatValue(value) }),
      message,
      ...(expected !== undefined && { expected }),
    });
  }
}
