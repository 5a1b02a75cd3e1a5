/** Numbers as a person reads them, for the terminal and the report alike. */
import type { Spread } from "./statistics.ts";
import type { Scenario } from "./types.ts";

export function formatValue(value: number, unit: Scenario["unit"]): string {
  switch (unit) {
    case "Gbit/s":
      return value.toFixed(2);
    case "packets/s":
    case "connections/s":
      return `${(value / 1000).toFixed(1)} k`;
    case "µs":
      return value.toFixed(0);
  }
}

/** "0.87 (0.85-0.91)"; without the range when it is a single figure. */
export function formatRatio(ratio: Spread | null): string {
  if (ratio === null) return "-";
  const range = ratio.lowest === ratio.highest ? "" : ` (${ratio.lowest.toFixed(2)}-${ratio.highest.toFixed(2)})`;
  return ratio.median.toFixed(2) + range;
}

/** "47 %", or "41-58 %" where it varied. */
export function formatShare({ lowest, highest }: Spread): string {
  const [low, high] = [lowest, highest].map((share) => (share * 100).toFixed(0));
  return low === high ? `${low} %` : `${low}-${high} %`;
}

/** At least two digits that say something. */
export function formatSmall(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

/** "failed 3, stalled 12", or `none`. */
export function formatCounts(counts: Readonly<Record<string, number>>, none: string): string {
  const entries = Object.entries(counts);
  return entries.length === 0 ? none : entries.map(([name, count]) => `${name} ${formatSmall(count)}`).join(", ");
}
