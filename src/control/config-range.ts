/** Durations that must lie in a range. */

import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import { formatDurationMs, parseDurationMs } from "./config-values.ts";

/** The duration in milliseconds, when it is one and within the range; reports one that is beyond it. */
export function checkDuration(
  reader: ConfigReader,
  path: ConfigPath,
  shortestMs: number,
  longestMs: number,
): number | undefined {
  const durationMs = parseDurationMs(reader.text(path) ?? "");
  if (durationMs === undefined || (durationMs >= shortestMs && durationMs <= longestMs)) return durationMs;
  const expected = `a duration from ${formatDurationMs(shortestMs)} to ${formatDurationMs(longestMs)}`;
  reader.error(path, "is out of range", expected);
  return undefined;
}
