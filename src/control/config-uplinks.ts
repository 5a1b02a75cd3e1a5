/** The uplinks of a file that has been checked, with their notations read. */

import type { RawConfig, RawThresholds } from "./config-schema.ts";
import type { ProbeConfig, Rate, ScheduleWindow, Thresholds, UplinkConfig, UplinkIpv6Config } from "./config-types.ts";
import {
  canonical6,
  parseBytes,
  parseDurationMs,
  parsePrefix6,
  parseRateBps,
  parseTimeOfDay,
} from "./config-values.ts";

type RawUplink = RawConfig["uplinks"][number];

/** In the order of `Date.getDay`. */
export const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

export function toUplink(raw: RawUplink, order: number): UplinkConfig {
  const { name, gateway, address, weight, tier, passive, failback, cap } = raw;
  return {
    name,
    interface: raw.interface,
    order,
    weight,
    tier,
    ipv6: toIpv6(raw.ipv6),
    probe: raw.probe === undefined ? null : toProbe(raw.probe),
    passive,
    holdDownMs: parseDurationMs(raw.holdDown)!,
    resetAfterMs: toResetAfterMs(raw.onDown),
    failback,
    rate: raw.rate === undefined ? null : toRate(raw.rate),
    cap: cap === undefined ? null : { bytes: parseBytes(cap.monthly)!, firstDay: cap.firstDay, weight: cap.weight },
    schedule: raw.schedule.map(toWindow),
    ...(gateway !== undefined && { gateway }),
    ...(address !== undefined && { address }),
  };
}

function toIpv6(raw: RawUplink["ipv6"]): UplinkIpv6Config | null {
  if (raw === false) return null;
  if (raw === true) return {};
  const { address, gateway, prefix } = raw;
  return {
    ...(address !== undefined && { address: canonical6(address) }),
    ...(gateway !== undefined && { gateway: canonical6(gateway) }),
    ...(prefix !== undefined && { prefix: parsePrefix6(prefix)! }),
  };
}

function toProbe(raw: NonNullable<RawUplink["probe"]>): ProbeConfig {
  const { type, targets = [], quorum, interval, timeout, down, up, window, degraded, query } = raw;
  return {
    type,
    targets,
    quorum,
    intervalMs: parseDurationMs(interval)!,
    timeoutMs: parseDurationMs(timeout)!,
    down,
    up,
    window,
    query,
    ...toThresholds(raw),
    degraded: toThresholds(degraded),
  };
}

function toThresholds({ loss, latency, jitter }: RawThresholds): Thresholds {
  return {
    lossRatio: loss ?? null,
    latencyMs: latency === undefined ? null : parseDurationMs(latency)!,
    jitterMs: jitter === undefined ? null : parseDurationMs(jitter)!,
  };
}

function toResetAfterMs(onDown: string): number {
  if (onDown === "reset") return 0;
  return onDown === "keep" ? Number.POSITIVE_INFINITY : parseDurationMs(onDown)!;
}

function toRate(raw: NonNullable<RawUplink["rate"]>): Rate {
  const { up, down } = typeof raw === "string" ? { up: raw, down: raw } : raw;
  return { upBps: parseRateBps(up)!, downBps: parseRateBps(down)! };
}

function toWindow({ days, from, to, weight }: RawUplink["schedule"][number]): ScheduleWindow {
  return {
    days: days === undefined ? dayNames.map((_, day) => day) : days.map((day) => dayNames.indexOf(day)),
    fromMinute: parseTimeOfDay(from)!,
    toMinute: parseTimeOfDay(to)!,
    weight,
  };
}
