/** What the workers are told about new flows: the configuration turned into numbers. */
import type { Config } from "../control/config-types.ts";
import { balanceKey } from "../dataplane/classify.ts";
import { type FlowPolicy, stickyBy } from "../dataplane/flow-policy.ts";

const balanceKeys = {
  "five-tuple": balanceKey.fiveTuple,
  "source-destination": balanceKey.sourceDestination,
  source: balanceKey.source,
  destination: balanceKey.destination,
};

/** `rules`: as compiled, null when there are none. */
export function flowPolicy({ balance }: Config, rules: SharedArrayBuffer | null): FlowPolicy {
  const { sticky } = balance;
  return {
    balanceKey: balanceKeys[balance.key],
    rescue: balance.rescue,
    stickyBy:
      sticky === null ? stickyBy.nothing : sticky.by === "source" ? stickyBy.source : stickyBy.sourceDestination,
    stickySeconds: sticky === null ? 0 : Math.ceil(sticky.timeoutMs / 1000),
    nearest: balance.policy === "lowest-latency",
    explore: Math.round(balance.exploreRatio * 65_536),
    rules,
  };
}
