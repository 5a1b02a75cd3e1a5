import type { BalanceConfig, Rate } from "./config-types.ts";
export interface PolicyUplink {
  slot: number;
  name: string;
  weight: number;
  tier: number;
  rate: Rate | null;
  upBps: number;
  downBps: number;
  rttMs: number | null;
}
export interface Share {
  slot: number;
  name: string;
  weight: number;
}
export interface SharePolicy {
  shares(live: readonly PolicyUplink[], nowMs: number): { shares: Share[]; tier: number };
}
export function sharePolicy(_balance: BalanceConfig): SharePolicy {
  return {
    shares(live) {
      const tier = Math.min(...live.map((u) => u.tier));
      return {
        shares: live.filter((u) => u.tier === tier).map(({ slot, name, weight }) => ({ slot, name, weight })),
        tier,
      };
    },
  };
}
