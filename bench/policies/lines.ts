/** The lines and balances that the simulations are about. */

import type { BalanceConfig } from "../../src/control/config-types.ts";
import type { Line } from "./simulate.ts";

export const mega = 1e6;

export function line(name: string, bps: number, changes: Partial<Line> = {}): Line {
  return { name, bps, isConfigured: true, weight: 1, tier: 1, rttMs: null, ...changes };
}

export function balance(changes: Partial<BalanceConfig>): BalanceConfig {
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

/** One of 100 and one of 20 Mbit/s, under each policy that divides flows among equals. */
export const contenders: readonly { name: string; balance: BalanceConfig; lines: readonly Line[] }[] = [
  { name: "weighted-hash 1:1", balance: balance({}), lines: [line("isp1", 100 * mega), line("isp2", 20 * mega)] },
  {
    name: "weighted-hash 5:1",
    balance: balance({}),
    lines: [line("isp1", 100 * mega, { weight: 5 }), line("isp2", 20 * mega)],
  },
  {
    name: "least-busy, rates configured",
    balance: balance({ policy: "least-busy" }),
    lines: [line("isp1", 100 * mega), line("isp2", 20 * mega)],
  },
  {
    name: "least-busy, rates learnt",
    balance: balance({ policy: "least-busy" }),
    lines: [line("isp1", 100 * mega, { isConfigured: false }), line("isp2", 20 * mega, { isConfigured: false })],
  },
  {
    name: "lowest-latency 1:1, unmeasured",
    balance: balance({ policy: "lowest-latency" }),
    lines: [line("isp1", 100 * mega, { rttMs: 10 }), line("isp2", 20 * mega, { rttMs: 30 })],
  },
  {
    name: "failover",
    balance: balance({ policy: "failover" }),
    lines: [line("isp1", 100 * mega), line("isp2", 20 * mega)],
  },
];
