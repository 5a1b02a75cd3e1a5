/**
 * lowest-latency, for destinations that nobody has measured yet: the configured weights, leaning to the line with the quicker probes.
 *
 * Only leaning, down to a quarter: a probe's target says little about other destinations, and what gets no flows is never
 * measured. Destinations that have been measured go where they are nearest (latency.ts).
 */

import { type RankPolicy, smoothing } from "./rank-policy.ts";

const rttConstantMs = 30_000;
/** Differences below this are noise. */
const equalMs = 10;
const leastFactor = 0.25;
/** Of a line that is not probed, among others that are. */
const unknownFactor = 0.5;

export function lowestLatency(): RankPolicy {
  const smoothed = new Map<number, { name: string; rttMs: number; atMs: number }>();
  const follow = (slot: number, name: string, rttMs: number | null, nowMs: number): number | null => {
    if (rttMs === null) return null;
    const last = smoothed.get(slot);
    const fresh = last === undefined || last.name !== name;
    const value = fresh ? rttMs : last.rttMs + (rttMs - last.rttMs) * smoothing(nowMs - last.atMs, rttConstantMs);
    smoothed.set(slot, { name, rttMs: value, atMs: nowMs });
    return value;
  };
  return (uplinks, nowMs) => {
    const rttsMs = uplinks.map(({ slot, name, rttMs }) => follow(slot, name, rttMs, nowMs));
    const known = rttsMs.filter((rttMs) => rttMs !== null);
    if (known.length === 0) return uplinks.map(({ weight }) => weight);
    const bestMs = Math.min(...known);
    return uplinks.map(({ weight }, i) => {
      const rttMs = rttsMs[i];
      if (rttMs == null) return weight * unknownFactor;
      return weight * Math.max((bestMs + equalMs) / (rttMs + equalMs), leastFactor);
    });
  };
}
