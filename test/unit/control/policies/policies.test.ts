import { describe, expect, it } from "vitest";
import type { BalanceConfig } from "../../../../src/control/config-types.ts";
import { type PolicyUplink, sharePolicy } from "../../../../src/control/policies.ts";

function balance(changes: Partial<BalanceConfig>): BalanceConfig {
  return {
    key: "five-tuple",
    policy: "weighted-hash",
    sticky: null,
    rescue: true,
    overflowRatio: null,
    exploreRatio: 0.03,
    ...changes,
  };
}

/** Uplink `name` in the place of its number: isp1 in place 0. */
function uplink(name: string, changes: Partial<PolicyUplink> = {}): PolicyUplink {
  const slot = Number(name.slice(3)) - 1;
  return { slot, name, weight: 1, tier: 1, rate: null, upBps: 0, downBps: 0, rttMs: null, ...changes };
}

/** Shares of the whole by name. */
function ratios({ shares }: { shares: readonly { name: string; weight: number }[] }): Record<string, number> {
  const sum = shares.reduce((total, { weight }) => total + weight, 0);
  return Object.fromEntries(shares.map(({ name, weight }) => [name, weight / sum]));
}

describe("weighted-hash", () => {
  const policy = () => sharePolicy(balance({}));

  it("has the configured weights of the lowest tier, and none of a higher one", () => {
    const live = [uplink("isp1", { weight: 3 }), uplink("isp2"), uplink("isp3", { tier: 2 })];
    const division = policy().shares(live, 0);
    expect(division.tier).toBe(1);
    expect(division.shares.map(({ name, weight }) => [name, weight])).toEqual([
      ["isp1", 3],
      ["isp2", 1],
    ]);
  });

  it("follows a weight that the operator changes, however little", () => {
    const shares = policy();
    const first = shares.shares([uplink("isp1", { weight: 100 }), uplink("isp2", { weight: 100 })], 0);
    expect(shares.shares([uplink("isp1", { weight: 100 }), uplink("isp2", { weight: 100 })], 100)).toBe(first);
    const next = shares.shares([uplink("isp1", { weight: 101 }), uplink("isp2", { weight: 100 })], 200);
    expect(next.shares.map(({ weight }) => weight)).toEqual([101, 100]);
  });

  it("has no shares when no uplink is live", () => {
    expect(policy().shares([], 0)).toEqual({ shares: [], tier: 0 });
  });
});

describe("failover", () => {
  it("gives all to the first uplink of the lowest tier, in the order of the configuration", () => {
    const policy = sharePolicy(balance({ policy: "failover" }));
    const backup = uplink("isp1", { tier: 2 });
    const live = [backup, uplink("isp2", { weight: 1 }), uplink("isp3", { weight: 50 })];
    expect(ratios(policy.shares(live, 0))).toEqual({ isp2: 1 });
    expect(ratios(policy.shares([backup, live[2]!], 100))).toEqual({ isp3: 1 });
    expect(policy.shares([backup], 200)).toMatchObject({ tier: 2, shares: [{ name: "isp1", weight: 1 }] });
  });
});
