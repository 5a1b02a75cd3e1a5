/**
 * least-busy: new flows go where there is room.
 *
 * Each line should get a share in proportion to what it has to spare, weight x capacity x (1 - utilization). So the
 * lines end up equally full in proportion. The fuller direction counts: a line whose way up is full has no room, however empty the way down.
 * A line above 95 % counts as 95 % full. So lines that are all full get flows by their capacity: with greedy flows, which fill whatever
 * they are on, that is the share at which none of them runs dry.
 *
 * What is measured is past, and the flows of everybody who saw an empty line arrive there together. So shares go to where they
 * should be by a few hundredths a second at the most; that is slow against the smoothing of the load, and the loop does not swing
 * (docs/policies.md has its answer to a step).
 */

import type { Both, LoadedUplink, RankPolicy } from "./rank-policy.ts";

const leastFreeRatio = 0.05;
/** The most that a share changes in a second. */
const stepRatioPerSecond = 0.03;

export function leastBusy(): RankPolicy {
  let shares: number[] = [];
  let members = "";
  let atMs = 0;
  return (uplinks, nowMs) => {
    const sizes = normalize(capacitiesOf(uplinks).map((capacity, i) => capacity * uplinks[i]!.weight));
    const names = uplinks.map(({ slot, name }) => `${slot} ${name}`).join();
    if (names !== members) {
      // Who is new is empty: its room would draw everybody at once. By capacity, and then slowly.
      members = names;
      atMs = nowMs;
      shares = sizes;
      return shares;
    }
    const wanted = normalize(sizes.map((size, i) => size * Math.max(1 - utilization(uplinks[i]!), leastFreeRatio)));
    const step = (stepRatioPerSecond * (nowMs - atMs)) / 1000;
    atMs = nowMs;
    shares = moveTowards(shares, wanted, step);
    return shares;
  };
}

/** The fuller direction's. */
export function utilization({ load, capacity }: LoadedUplink): number {
  return Math.max(load.up / capacity.up, load.down / capacity.down);
}

/** Of both directions in one number: each counts by how much of it is in use in all lines together. */
function capacitiesOf(uplinks: readonly LoadedUplink[]): number[] {
  const total = (of: (uplink: LoadedUplink) => Both, way: keyof Both) =>
    uplinks.reduce((sum, uplink) => sum + of(uplink)[way], 0);
  const upBps = total(({ capacity }) => capacity, "up");
  const downBps = total(({ capacity }) => capacity, "down");
  // When nothing is in use at all, the greater one counts, which is the one that is known when they are learnt.
  const idle = 0.01 / (upBps + downBps);
  const useUp = total(({ load }) => load, "up") / upBps + idle * upBps;
  const useDown = total(({ load }) => load, "down") / downBps + idle * downBps;
  return uplinks.map(({ capacity }) => (capacity.up / upBps) * useUp + (capacity.down / downBps) * useDown);
}

/** All go the same part of their way, so that they still sum up to 1. */
function moveTowards(shares: readonly number[], wanted: readonly number[], step: number): number[] {
  const farthest = Math.max(...wanted.map((to, i) => Math.abs(to - shares[i]!)));
  const part = farthest <= step ? 1 : step / farthest;
  return shares.map((from, i) => from + (wanted[i]! - from) * part);
}

function normalize(values: readonly number[]): number[] {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}
