/** Who gets the new flows of each group, for what the uplinks are good for at a moment. */

import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/control/config.ts";
import { type GroupPlan, type PlanInput, planGroups } from "../../../src/control/group-plan.ts";
import { compileRules } from "../../../src/control/rules.ts";
import { withSpares } from "../../../src/control/uplink-seats.ts";
import type { UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import type { Standing } from "../../../src/control/uplink-standing.ts";

const well: Standing = { state: "up", reason: "", degraded: false, weight: 1 };
const dead: Standing = { state: "down", reason: "no carrier", degraded: false, weight: 0 };
const drained: Standing = { state: "draining", reason: "drained by the operator", degraded: false, weight: 0 };

const threeUplinks = `
uplinks:
  - { name: isp1, interface: wan0, weight: 3 }
  - { name: isp2, interface: wan1 }
  - { name: isp3, interface: wan2, tier: 2 }
groups: [{ name: bulk, uplinks: { isp1: 1, isp2: 5 } }]
rules:
  - { match: { protocol: tcp }, use: [isp2], strict: true }
  - { match: { protocol: udp }, use: [bulk] }
`;

/** `standings` of the three; the policy shares by weight among the lowest tier that lives, as it does. */
function plan(standings: Standing[], more: { yaml?: string; without6?: string[] } = {}) {
  const config = withSpares(parseConfig(more.yaml ?? threeUplinks, "f.yaml").config);
  const input: PlanInput = {
    config,
    standings: config.uplinks.map((_, place) => standings[place] ?? dead),
    shares: lowestTier(config.uplinks, standings),
    groups: compileRules(config, () => []).groups,
  };
  const snapshots = config.uplinks.map(({ name }, place) => {
    const state = standings[place] === undefined ? "down" : "up";
    return { state, ipv6: { state: more.without6?.includes(name) ? "down" : state } } as UplinkSnapshot;
  });
  return planGroups(input, snapshots);
}

function lowestTier(uplinks: { name: string; tier: number }[], standings: Standing[]) {
  const live = uplinks.flatMap(({ name, tier }, slot) =>
    (standings[slot]?.weight ?? 0) > 0 ? [{ slot, name, tier, weight: standings[slot]!.weight }] : [],
  );
  const tier = Math.min(...live.map((uplink) => uplink.tier));
  return live.filter((uplink) => uplink.tier === tier);
}

const weights = ({ candidates }: GroupPlan) => Object.fromEntries(candidates.map(({ name, weight }) => [name, weight]));
const three = { ...well, weight: 3 };

describe("the balance over all", () => {
  it("is the policy's, and hosts that are on a backup stay there", () => {
    const { ipv4 } = plan([three, well, well]);
    expect(weights(ipv4[0]!)).toEqual({ isp1: 3, isp2: 1 });
    expect(ipv4[0]!.mask).toBe(0b111);
  });

  it("takes hosts back from a backup when the uplinks want them", () => {
    const yaml = threeUplinks.replace("weight: 3", "weight: 3, failback: drain");
    expect(plan([three, well, well], { yaml }).ipv4[0]!.mask).toBe(0b011);
    expect(plan([dead, well, well], { yaml }).ipv4[0]!.mask, "isp1 is away").toBe(0b110);
  });

  it("leaves out what is dead and what is drained", () => {
    const { ipv4 } = plan([dead, drained, well]);
    expect(weights(ipv4[0]!)).toEqual({ isp3: 1 });
    expect(ipv4[0]!.mask).toBe(0b100);
    expect(plan([dead, dead, dead]).ipv4[0]).toEqual({ candidates: [], mask: 0 });
  });

  it("falls to whoever has a family that the policy's choice lacks", () => {
    const { ipv4, ipv6 } = plan([well, well, well], { without6: ["isp1", "isp2"] });
    expect(weights(ipv4[0]!)).toEqual({ isp1: 1, isp2: 1 });
    expect(weights(ipv6[0]!)).toEqual({ isp3: 1 });
  });
});

describe("a rule's group", () => {
  it("has its own weights, or its uplinks' of the moment", () => {
    const { ipv4 } = plan([three, { ...well, weight: 7 }, well]);
    expect(weights(ipv4[1]!)).toEqual({ isp2: 7 });
    expect(weights(ipv4[2]!)).toEqual({ isp1: 1, isp2: 5 });
    expect([ipv4[1]!.mask, ipv4[2]!.mask]).toEqual([0b010, 0b011]);
  });

  it("has nobody when it is strict and its uplinks are away, and falls back to the balance when it is not", () => {
    const { ipv4 } = plan([dead, dead, well]);
    expect(ipv4[1]).toEqual({ candidates: [], mask: 0 });
    expect(weights(ipv4[2]!)).toEqual({ isp3: 1 });
  });
});

describe("an uplink stands in", () => {
  it("when one of a lower tier would come first", () => {
    expect(plan([well, well, well]).standsIn.slice(0, 3)).toEqual([false, false, true]);
  });

  it("when the policy is failover and one stands before it", () => {
    const yaml = `${threeUplinks}balance: { policy: failover }\n`;
    expect(plan([well, well, well], { yaml }).standsIn.slice(0, 3)).toEqual([false, true, true]);
  });
});
