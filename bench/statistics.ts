/** The little statistics that few rounds carry: medians, ranges, and ratios within a round. */

export interface Spread {
  median: number;
  lowest: number;
  highest: number;
}

/** Null when there is nothing. */
export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), lowest: sorted[0]!, highest: sorted.at(-1)! };
}

/** Of ascending values, with linear interpolation between neighbours. */
export function quantile(sorted: readonly number[], fraction: number): number {
  const position = fraction * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below]!;
  return low + (sorted[Math.min(below + 1, sorted.length - 1)]! - low) * (position - below);
}

export interface Point {
  round: number;
  value: number;
}

/** `points` over `base`, for every round that both have. */
export function ratios(points: readonly Point[], base: readonly Point[]): number[] {
  const byRound = new Map(base.map(({ round, value }) => [round, value]));
  return points.flatMap(({ round, value }) => (byRound.has(round) ? [value / byRound.get(round)!] : []));
}

/** Every round over the round before: how far two measurements of one thing lie apart on this machine. */
export function selfRatios(points: readonly Point[]): number[] {
  return ratios(
    points,
    points.map(({ round, value }) => ({ round: round + 1, value })),
  );
}
