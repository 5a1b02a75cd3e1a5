/**
 * How new flows are treated: what may change while packets flow. The control plane makes one and hands it to every worker,
 * which changes over between two turns. What changes by the second (weights, liveness) is in the lookup tables instead.
 */
export interface FlowPolicy {
  /** A number of `balanceKey`. */
  balanceKey: number;
  /** Whether a flow whose first packet is repeated for want of an answer moves to another uplink. */
  rescue: boolean;
  /** A number of `stickyBy`. */
  stickyBy: number;
  stickySeconds: number;
  /** Whether flows of group 0 go where their destination is nearest, but for so many of 65,536, which explore. */
  nearest: boolean;
  explore: number;
  /** As tables/rule-table.ts lays them out; null: no rules. */
  rules: SharedArrayBuffer | null;
}

export const stickyBy = { nothing: 0, source: 1, sourceDestination: 2 } as const;
