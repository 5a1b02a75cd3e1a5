import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BalanceConfig } from "../../../../src/control/config-types.ts";
import { type Division, type PolicyUplink, type SharePolicy, sharePolicy } from "../../../../src/control/policies.ts";

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

const mega = 1e6;

function rate(upMbit: number, downMbit = upMbit) {
  return { upBps: upMbit * mega, downBps: downMbit * mega };
}

/** Asks every 100 ms for so long, with loads that depend on the shares if they are a function; what each asking gave. */
function follow(
  policy: SharePolicy,
  uplinks: readonly PolicyUplink[] | ((ratios: Record<string, number>) => readonly PolicyUplink[]),
  fromMs: number,
  forMs: number,
): Division[] {
  let last: Record<string, number> = {};
  return Array.from({ length: forMs / 100 }, (_, i) => {
    const now = typeof uplinks === "function" ? uplinks(last) : uplinks;
    const division = policy.shares(now, fromMs + i * 100);
    last = ratios(division);
    return division;
  });
}

describe("least-busy", () => {
  const quick = (downBps = 0, changes: Partial<PolicyUplink> = {}) =>
    uplink("isp1", { rate: rate(100), downBps: downBps * mega, ...changes });
  const slow = (downBps = 0, changes: Partial<PolicyUplink> = {}) =>
    uplink("isp2", { rate: rate(20), downBps: downBps * mega, ...changes });
  const settled = (live: readonly PolicyUplink[]) => {
    const policy = sharePolicy(balance({ policy: "least-busy" }));
    return ratios(follow(policy, live, 0, 120_000).at(-1)!);
  };

  it("divides by the rates while nothing is in use, and when everything is", () => {
    const byRate = { isp1: expect.closeTo(100 / 120), isp2: expect.closeTo(20 / 120) };
    expect(settled([quick(), slow()])).toEqual(byRate);
    expect(settled([quick(100), slow(20)])).toEqual(byRate);
    expect(settled([quick(96), slow(20)])).toEqual(byRate);
  });

  it("sends nearly all away from a full line to an empty one", () => {
    expect(settled([quick(100), slow()]).isp2).toBeCloseTo(20 / (20 + 100 * 0.05), 1);
    expect(settled([quick(), slow(20)]).isp1).toBeGreaterThan(0.98);
  });

  it("counts the fuller direction", () => {
    expect(settled([quick(0, { upBps: 100 * mega }), quick(0, { slot: 1, name: "isp2" })]).isp1).toBeLessThan(0.1);
  });

  it("takes the rates of the direction that is in use", () => {
    const dsl = uplink("isp1", { rate: rate(5, 50), downBps: 20 * mega });
    const radio = uplink("isp2", { rate: rate(50, 50), downBps: 20 * mega });
    expect(settled([dsl, radio]).isp1).toBeCloseTo(0.5, 1);
    const sending = [dsl, radio].map((each) => ({ ...each, downBps: 0, upBps: 1 * mega }));
    expect(settled(sending).isp1).toBeLessThan(0.2);
  });

  it("multiplies with the weights", () => {
    const ratio = settled([quick(0, { weight: 2 }), quick(0, { slot: 1, name: "isp2" })]).isp1;
    expect(ratio).toBeCloseTo(2 / 3);
  });

  it("moves by three points a second at the most", () => {
    const policy = sharePolicy(balance({ policy: "least-busy" }));
    const before = ratios(follow(policy, [quick(), slow()], 0, 60_000).at(-1)!);
    const after = follow(policy, [quick(100), slow()], 60_000, 10_000).map(ratios);
    expect(before.isp1! - after.at(-1)!.isp1!).toBeLessThanOrEqual(0.3 + 1e-9);
    const leaps = after.map(({ isp1 }, i) => Math.abs(isp1! - (after[i - 1] ?? before).isp1!));
    expect(Math.max(...leaps)).toBeLessThan(0.06);
  });

  it("comes to rest where its own flows fill the lines alike", () => {
    const policy = sharePolicy(balance({ policy: "least-busy" }));
    const load = 60;
    const live = ({ isp1 = 0.5, isp2 = 0.5 }: Record<string, number>) => [quick(load * isp1), slow(load * isp2)];
    const divisions = follow(policy, live, 0, 300_000);
    expect(ratios(divisions.at(-1)!).isp1).toBeCloseTo(100 / 120, 1);
    expect(new Set(divisions.slice(600)).size).toBeLessThanOrEqual(2);
  });

  it("learns what lines without a rate carry, and keeps to it while they are idle", () => {
    const policy = sharePolicy(balance({ policy: "least-busy" }));
    const unknown = (name: string, downBps: number) => uplink(name, { downBps: downBps * mega });
    expect(ratios(policy.shares([unknown("isp1", 0), unknown("isp2", 0)], 0)).isp1).toBe(0.5);
    follow(policy, [unknown("isp1", 90), unknown("isp2", 10)], 0, 20_000);
    const idle = follow(policy, [unknown("isp1", 0), unknown("isp2", 0)], 20_000, 120_000);
    expect(ratios(idle.at(-1)!).isp1).toBeCloseTo(0.9, 1);
  });

  it("gives a line that is back its share by rate at once", () => {
    const policy = sharePolicy(balance({ policy: "least-busy" }));
    follow(policy, [quick(50)], 0, 60_000);
    expect(ratios(policy.shares([quick(50), slow()], 60_000)).isp2).toBeCloseTo(20 / 120);
  });
});

describe("lowest-latency", () => {
  const policy = () => sharePolicy(balance({ policy: "lowest-latency" }));

  it("leans the weights to the line with the quicker probes, to a quarter at the most", () => {
    const near = uplink("isp1", { rttMs: 10 });
    expect(ratios(policy().shares([near, uplink("isp2", { rttMs: 30 })], 0)).isp2).toBeCloseTo(1 / 3);
    expect(ratios(policy().shares([near, uplink("isp2", { rttMs: 900 })], 0)).isp2).toBeCloseTo(0.2);
    expect(ratios(policy().shares([near, uplink("isp2", { rttMs: null })], 0)).isp2).toBeCloseTo(1 / 3);
  });

  it("is the weights where nothing is probed", () => {
    const live = [uplink("isp1", { weight: 3 }), uplink("isp2")];
    expect(ratios(policy().shares(live, 0))).toEqual({ isp1: 0.75, isp2: 0.25 });
  });

  it("does not follow a single slow answer", () => {
    const shares = policy();
    const live = (rttMs: number) => [uplink("isp1", { rttMs: 10 }), uplink("isp2", { rttMs })];
    const [first] = follow(shares, live(10), 0, 60_000);
    // One of 200 ms in a window of 30 rounds of half a second.
    expect(follow(shares, live(16.3), 60_000, 15_000).at(-1)).toBe(first);
    expect(ratios(follow(shares, live(200), 75_000, 300_000).at(-1)!).isp2).toBeLessThan(0.25);
  });
});

describe("overflow", () => {
  const dsl = (downBps: number, changes: Partial<PolicyUplink> = {}) =>
    uplink("isp1", { rate: rate(100), downBps: downBps * mega, ...changes });
  const lte = (downBps: number) => uplink("isp2", { tier: 2, rate: rate(50), downBps: downBps * mega });
  const settled = (live: readonly PolicyUplink[], changes: Partial<BalanceConfig> = {}) =>
    follow(sharePolicy(balance({ overflowRatio: 0.8, ...changes })), live, 0, 120_000).at(-1)!;

  it("leaves the next tier alone below the ratio", () => {
    expect(settled([dsl(79), lte(0)])).toMatchObject({ tier: 1, shares: [{ name: "isp1", weight: 1 }] });
  });

  it("gives the next tier what is too much, and no more", () => {
    const division = settled([dsl(80), lte(20)]);
    expect(division.tier).toBe(2);
    expect(ratios(division).isp2).toBeCloseTo(0.2, 1);
  });

  it("gives it three points a second more at the most", () => {
    const policy = sharePolicy(balance({ overflowRatio: 0.8 }));
    follow(policy, [dsl(0), lte(0)], 0, 60_000);
    const full = () => [dsl(100), lte(50)];
    const passed = follow(policy, full, 60_000, 60_000).map((division) => ratios(division).isp2 ?? 0);
    const begun = passed.findIndex((ratio) => ratio > 0);
    expect(passed[begun]).toBeLessThan(0.06);
    expect(passed[begun + 50]).toBeLessThan(0.25);
    expect(passed.at(-1)).toBeGreaterThan(0.4);
  });

  it("goes on until the tier is well below the ratio, and then ends", () => {
    const policy = sharePolicy(balance({ overflowRatio: 0.8 }));
    follow(policy, [dsl(90), lte(10)], 0, 120_000);
    expect(follow(policy, [dsl(72), lte(4)], 120_000, 120_000).at(-1)!.tier).toBe(2);
    expect(follow(policy, [dsl(60), lte(4)], 240_000, 120_000).at(-1)!.tier).toBe(1);
  });

  it("does not begin for flows that are on the next tier for other reasons", () => {
    expect(settled([dsl(50), lte(50)]).tier).toBe(1);
  });

  it("does not begin for lines whose rate is only being learnt, and does when it has been the same for a minute", () => {
    const policy = sharePolicy(balance({ overflowRatio: 0.8 }));
    const unknown = dsl(40, { rate: null });
    expect(follow(policy, [unknown, lte(0)], 0, 55_000).at(-1)!.tier).toBe(1);
    expect(follow(policy, [unknown, lte(0)], 55_000, 60_000).at(-1)!.tier).toBe(2);
  });

  it("goes on to the tier after the next when that is full too", () => {
    const third = uplink("isp3", { tier: 3, rate: rate(50) });
    expect(ratios(settled([dsl(100), lte(50), third]))).toEqual({
      isp1: expect.closeTo(80 / 150, 1),
      isp2: expect.closeTo((70 / 150) * 0.8, 1),
      isp3: expect.closeTo((70 / 150) * 0.2, 1),
    });
  });

  it("goes on to the next uplink of the same tier with failover", () => {
    const division = settled([dsl(90), uplink("isp2", { rate: rate(50) })], { policy: "failover" });
    expect(Object.keys(ratios(division))).toEqual(["isp1", "isp2"]);
    expect(division.tier).toBe(1);
  });
});

describe("any policy", () => {
  const anUplink = fc.record({
    weight: fc.integer({ min: 1, max: 10_000 }),
    tier: fc.integer({ min: 1, max: 3 }),
    rate: fc.option(fc.record({ upBps: fc.constantFrom(1, 1e6, 1e10), downBps: fc.constantFrom(1, 1e6, 1e10) })),
    upBps: fc.constantFrom(0, 1e3, 1e6, 1e11),
    downBps: fc.constantFrom(0, 1e3, 1e6, 1e11),
    rttMs: fc.option(fc.constantFrom(0, 0.1, 20, 5_000)),
    isLive: fc.boolean(),
  });
  const someBalance = fc.record({
    policy: fc.constantFrom("weighted-hash", "least-busy", "lowest-latency", "failover"),
    overflowRatio: fc.option(fc.constantFrom(0.05, 0.8, 1)),
  });
  const stepsMs = fc.constantFrom(0, 100, 1_000, 3_600_000);

  it("gives every live uplink it names a share that is a number above 0, and names one if there is one", () => {
    const moment = fc.record({ uplinks: fc.array(anUplink, { maxLength: 5 }), stepMs: stepsMs });
    const property = fc.property(someBalance, fc.array(moment, { minLength: 1, maxLength: 20 }), (chosen, moments) => {
      const policy = sharePolicy(balance(chosen as Partial<BalanceConfig>));
      let nowMs = 0;
      for (const { uplinks, stepMs } of moments) {
        nowMs += stepMs;
        const live = uplinks.flatMap(({ isLive, ...rest }, i) => (isLive ? [uplink(`isp${i + 1}`, rest)] : []));
        const { shares } = policy.shares(live, nowMs);
        expect(shares.length > 0).toBe(live.length > 0);
        for (const { slot, name, weight } of shares) {
          expect(live.some((each) => each.slot === slot && each.name === name)).toBe(true);
          expect(weight > 0 && Number.isFinite(weight)).toBe(true);
        }
      }
    });
    fc.assert(property, { numRuns: 300 });
  });
});
