/** What an uplink is good for at a moment: link, health, the operator's orders and the budget taken together. */

import type { UplinkConfig } from "./config-types.ts";
import type { HealthReport } from "./health.ts";
import type { UplinkState } from "./report.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

/** What the operator has said at run time. */
export interface Orders {
  readonly mode: "enabled" | "draining" | "disabled";
  /** Null: the configuration's. */
  readonly weight: number | null;
}

/** A weight for now, by a data cap or a schedule, and why. */
export interface BudgetWeight {
  readonly weight: number;
  readonly reason: string;
}

export interface Standing {
  readonly state: UplinkState;
  /** Empty when there is nothing to say. */
  readonly reason: string;
  readonly degraded: boolean;
  /** Of new flows; 0: none. */
  readonly weight: number;
}

export const noOrders: Orders = { mode: "enabled", weight: null };

export function standingOf(
  uplink: UplinkConfig,
  snapshot: UplinkSnapshot,
  health: HealthReport,
  orders: Orders,
  budget: BudgetWeight | null,
): Standing {
  const without = { degraded: false, weight: 0 };
  if (orders.mode === "disabled") return { ...without, state: "disabled", reason: "disabled by the operator" };
  // Of two families one is enough to be of use; the link's own reason is IPv4's.
  const link = linkReason(snapshot);
  if (link !== "") return { ...without, state: "down", reason: link };
  if (health.state === "down") return { ...without, state: "down", reason: health.reason };
  if (orders.mode === "draining") return { ...without, state: "draining", reason: "drained by the operator" };
  if (budget !== null && budget.weight === 0) return { ...without, state: "draining", reason: budget.reason };
  const weight = budget?.weight ?? orders.weight ?? uplink.weight;
  return { state: "up", reason: health.reason || (budget?.reason ?? ""), degraded: health.degraded, weight };
}

/** Why neither family can use the link; empty when one can. */
export function linkReason({ state, reason, ipv6 }: UplinkSnapshot): string {
  return state === "up" || ipv6.state === "up" ? "" : reason;
}

/** Whether its flows go on. */
export function isAlive({ state }: Standing): boolean {
  return state === "up" || state === "draining";
}
