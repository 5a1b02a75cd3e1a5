/**
 * How busy the uplinks are, smoothed, and what they can carry.
 *
 * A line without a configured rate is taken to carry the most that it has carried for a few seconds, in each direction. That
 * fades by half in six hours, for lines get slower, too. What has never been busy is unknown: such lines are taken to be equal.
 */

import type { PolicyUplink } from "../policies.ts";
import { type Both, type LoadedUplink, smoothing } from "./rank-policy.ts";

const loadConstantMs = 15_000;
/** Short, since a line that is slow to fill shows what it carries only in the bursts of single flows. */
const peakConstantMs = 1_500;
const peakHalfLifeMs = 6 * 3_600_000;
/** What is assumed of a line that has carried less. */
const leastCapacityBps = 1e6;
/** Nobody exceeded the peak for so long: demand is steady there, or the line is full. */
const settledMs = 60_000;
const exceededByRatio = 1.05;

interface Meter {
  name: string;
  atMs: number;
  load: Both;
  /** Smoothed less, and the most of it. */
  quick: Both;
  peak: Both;
  /** When the peak was last exceeded clearly. */
  exceededMs: number;
}

export class LoadMeter {
  /** By slot: there are no more of them than uplinks. */
  readonly #meters = new Map<number, Meter>();

  measure(uplinks: readonly PolicyUplink[], nowMs: number): LoadedUplink[] {
    return uplinks.map((uplink) => {
      const meter = this.#follow(uplink, nowMs);
      const isCapacityKnown = uplink.rate !== null || nowMs - meter.exceededMs >= settledMs;
      return { ...uplink, load: meter.load, capacity: capacityOf(uplink, meter), isCapacityKnown };
    });
  }

  #follow({ slot, name, upBps: up, downBps: down }: PolicyUplink, nowMs: number): Meter {
    const now = { up, down };
    const meter = this.#meters.get(slot);
    if (meter === undefined || meter.name !== name) {
      const none = { up: 0, down: 0 };
      const fresh = { name, atMs: nowMs, load: now, quick: none, peak: none, exceededMs: nowMs };
      this.#meters.set(slot, fresh);
      return fresh;
    }
    const elapsedMs = nowMs - meter.atMs;
    meter.atMs = nowMs;
    meter.load = towards(meter.load, now, smoothing(elapsedMs, loadConstantMs));
    meter.quick = towards(meter.quick, now, smoothing(elapsedMs, peakConstantMs));
    const { quick, peak } = meter;
    if (quick.up > peak.up * exceededByRatio || quick.down > peak.down * exceededByRatio) meter.exceededMs = nowMs;
    const fade = 0.5 ** (elapsedMs / peakHalfLifeMs);
    meter.peak = { up: Math.max(peak.up * fade, quick.up), down: Math.max(peak.down * fade, quick.down) };
    return meter;
  }
}

function capacityOf({ rate }: PolicyUplink, { peak }: Meter): Both {
  if (rate !== null) return { up: rate.upBps, down: rate.downBps };
  return { up: Math.max(peak.up, leastCapacityBps), down: Math.max(peak.down, leastCapacityBps) };
}

function towards(from: Both, to: Both, factor: number): Both {
  return { up: from.up + (to.up - from.up) * factor, down: from.down + (to.down - from.down) * factor };
}
