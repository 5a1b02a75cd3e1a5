import { describe, expect, it } from "vitest";
import type { HealthReport } from "../../../src/control/health.ts";
import type { UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { isAlive, noOrders, type Orders, standingOf } from "../../../src/control/uplink-standing.ts";
import { plainUplink } from "../../support/plain-uplink.ts";

const uplink = { ...plainUplink, name: "isp1", interface: "wan0", weight: 3 };
const linked = { state: "up", reason: "", ipv6: { state: "down" } } as UplinkSnapshot;
const unlinked = { state: "down", reason: "no carrier", ipv6: { state: "down" } } as UplinkSnapshot;
const healthy: HealthReport = {
  ...{ state: "up", degraded: false, reason: "", rttMs: null, lossRatio: null, jitterMs: null, heldUntilMs: null },
};
const sick: HealthReport = { ...healthy, state: "down", reason: "no answer" };
const draining: Orders = { mode: "draining", weight: null };
const capped = { weight: 0, reason: "data cap" };

describe("an uplink's standing", () => {
  it.each([
    ["all well", linked, healthy, noOrders, null, "up", "", 3],
    ["no link", unlinked, healthy, noOrders, null, "down", "no carrier", 0],
    ["no answer", linked, sick, noOrders, null, "down", "no answer", 0],
    [
      "disabled, whatever else",
      unlinked,
      sick,
      { mode: "disabled", weight: null },
      capped,
      "disabled",
      "disabled by the operator",
      0,
    ],
    ["drained", linked, healthy, draining, null, "draining", "drained by the operator", 0],
    ["drained and dead", linked, sick, draining, null, "down", "no answer", 0],
    ["capped", linked, healthy, noOrders, capped, "draining", "data cap", 0],
    ["another weight by the operator", linked, healthy, { mode: "enabled", weight: 9 }, null, "up", "", 9],
    [
      "another weight by the hour, which comes first",
      linked,
      healthy,
      { mode: "enabled", weight: 9 },
      { weight: 1, reason: "schedule" },
      "up",
      "schedule",
      1,
    ],
  ] as const)("with %s", (_, snapshot, health, orders, budget, state, reason, weight) => {
    const standing = standingOf(uplink, snapshot, health, orders, budget);
    expect(standing).toEqual({ state, reason, weight, degraded: false });
    expect(isAlive(standing)).toBe(state === "up" || state === "draining");
  });

  it("is up with IPv6 alone", () => {
    const only6 = { ...unlinked, ipv6: { state: "up" } } as UplinkSnapshot;
    expect(standingOf(uplink, only6, healthy, noOrders, null).state).toBe("up");
  });
});
