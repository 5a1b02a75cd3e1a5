/**
 * Who gets which share of the new flows.
 *
 * Uplinks are used rank by rank: a rank is a tier, or with failover a single uplink. How much each rank gets is decided by
 * policy/overflow.ts, and by the policy itself how that is divided among the uplinks of a rank. All of them are
 * slow on purpose: a changed share costs a new lookup table and gives some hosts another address for their next
 * connections, so what they return stays the same, the same object even, until it is off by some percent.
 *
 * Weights count in every policy, since the operator, data caps and schedules speak through them: in weighted-hash they are the
 * shares, least-busy multiplies them by what each line has to spare, lowest-latency leans them to the nearer line.
 */

import type { BalanceConfig, Policy, Rate } from "./config-types.ts";
import { leastBusy } from "./policy/least-busy.ts";
import { LoadMeter } from "./policy/load.ts";
import { lowestLatency } from "./policy/lowest-latency.ts";
import { Overflow } from "./policy/overflow.ts";
import type { LoadedUplink, Rank, RankPolicy } from "./policy/rank-policy.ts";
import { SteadyShares } from "./policy/steady-shares.ts";

export interface PolicyUplink {
  readonly slot: number;
  readonly name: string;
  /** Above 0. */
  readonly weight: number;
  readonly tier: number;
  /** As configured; null: it is learnt. */
  readonly rate: Rate | null;
  /** Measured just now, in bits a second. */
  readonly upBps: number;
  readonly downBps: number;
  /** Of its probes; null: none. */
  readonly rttMs: number | null;
}

export interface Share {
  readonly slot: number;
  readonly name: string;
  /** Above 0; only the proportions count. */
  readonly weight: number;
}

export interface Division {
  readonly shares: readonly Share[];
  /** The highest tier in use; 0 when there is no uplink. */
  readonly tier: number;
}

/** One for each balance; keeps what it has learnt of the lines, and smooths by itself. */
export interface SharePolicy {
  /** `live`: the uplinks that may get new flows, in the configuration's order. May be called as often as one likes. */
  shares(live: readonly PolicyUplink[], nowMs: number): Division;
}

/** failover has weights only for the form: it gives every uplink a rank of its own. */
const rankPolicies: Readonly<Record<Policy, () => RankPolicy>> = {
  "weighted-hash": () => byWeight,
  failover: () => byWeight,
  "least-busy": leastBusy,
  "lowest-latency": lowestLatency,
};

export function sharePolicy({ policy, overflowRatio }: BalanceConfig): SharePolicy {
  const meter = new LoadMeter();
  const overflow = new Overflow(overflowRatio);
  const policies = new Map<string, RankPolicy>();
  const steady = new SteadyShares();
  const weigh = ({ key, uplinks }: Rank, nowMs: number): number[] => {
    const own = policies.get(key) ?? rankPolicies[policy]();
    policies.set(key, own);
    return own(uplinks, nowMs);
  };
  return {
    shares(live, nowMs) {
      const ranks = ranksOf(meter.measure(live, nowMs), policy === "failover");
      const parts = overflow.divide(ranks, nowMs);
      const shares = parts.flatMap((part, index) => {
        const weights = weigh(ranks[index]!, nowMs);
        // Of a single rank they stay what they are, for people to recognize.
        const scale = parts.length === 1 ? 1 : part / sum(weights);
        return ranks[index]!.uplinks.map(({ slot, name }, i) => ({ slot, name, weight: weights[i]! * scale }));
      });
      const tier = ranks[parts.length - 1]?.uplinks[0]?.tier ?? 0;
      return steady.hold({ shares, tier }, live);
    },
  };
}

/** The order in which uplinks are used: tier by tier, or one by one. */
function ranksOf(uplinks: readonly LoadedUplink[], oneByOne: boolean): Rank[] {
  const inOrder = [...uplinks].sort((a, b) => a.tier - b.tier);
  const keyOf = ({ tier, slot }: LoadedUplink) => (oneByOne ? `slot ${slot}` : `tier ${tier}`);
  return [...Map.groupBy(inOrder, keyOf)].map(([key, members]) => ({ key, uplinks: members }));
}

function byWeight(uplinks: readonly LoadedUplink[]): number[] {
  return uplinks.map(({ weight }) => weight);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
