/**
 * One uplink as the daemon watches it: its probes and health, what the operator ordered, and what follows. It decides when
 * the flows of a dead line are cut off: at once, after a while, or never, as configured.
 */
import type { Config, UplinkConfig } from "../control/config-types.ts";
import { Health, type HealthReport } from "../control/health.ts";
import { type ProbePath, type ProbeRound, type Prober, startProber } from "../control/probes/prober.ts";
import type { Cuts } from "../control/uplink-publisher.ts";
import { isVacant } from "../control/uplink-seats.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import {
  type BudgetWeight,
  isAlive,
  linkReason,
  noOrders,
  type Orders,
  type Standing,
  standingOf,
} from "../control/uplink-standing.ts";
import type { UplinkTotals } from "./totals.ts";

export class Line {
  orders: Orders = noOrders;
  budget: BudgetWeight | null = null;
  cuts: Cuts = { all: 0, displaced: 0 };
  /** Of the new flows that no rule concerns, as the policy divides them at the moment. */
  targetRatio = 0;
  config: UplinkConfig;
  snapshot: UplinkSnapshot;
  standing: Standing;
  health: HealthReport;
  readonly #natPorts: Config["nat"];
  readonly #onRound: () => void;
  #watch: Health;
  #prober: Prober | null = null;
  /** Between `startProbes` and `stopProbes`, whether there is something to probe or not. */
  #isProbed = false;
  /** When it died, as long as its flows are not cut off; null: it lives, or they are. */
  #diedAtMs: number | null = null;

  /** `natPorts`: what probes keep out of. `onRound` is called after each round of probes. */
  constructor(
    config: UplinkConfig,
    snapshot: UplinkSnapshot,
    natPorts: Config["nat"],
    onRound: () => void,
    nowMs: number,
  ) {
    this.config = config;
    this.snapshot = snapshot;
    this.#natPorts = natPorts;
    this.#onRound = onRound;
    this.#watch = new Health(config);
    this.#watch.linked(linkReason(snapshot) === "", linkReason(snapshot), nowMs);
    this.health = this.#watch.report(nowMs);
    this.standing = standingOf(config, snapshot, this.health, this.orders, null);
  }

  /** Begins to probe, where that is configured. Not earlier than the routes that lead probes out by their uplink. */
  startProbes(): void {
    this.#isProbed = true;
    const { probe } = this.config;
    if (probe === null || this.#prober !== null) return;
    const onRound = (round: ProbeRound) => {
      this.#watch.probed(round, performance.now());
      this.#onRound();
    };
    this.#prober = startProber(pathOf(this.snapshot), probe, onRound, { natPorts: this.#natPorts });
  }

  /** For good: another configuration, in a reload that the end overtakes, must not begin again. */
  stopProbes(): void {
    this.#isProbed = false;
    this.#closeProber();
  }

  /** Takes another configuration. What is known of the line stays, unless it is watched in another way from now on. */
  configure(config: UplinkConfig, nowMs: number): void {
    const before = this.config;
    this.config = config;
    const watched = ({ probe, passive, holdDownMs }: UplinkConfig) => JSON.stringify([probe, passive, holdDownMs]);
    const isSame = before.name === config.name && watched(before) === watched(config);
    if (isSame) return;
    if (before.name !== config.name) this.orders = noOrders;
    this.#watch = new Health(config);
    this.#watch.linked(linkReason(this.snapshot) === "", linkReason(this.snapshot), nowMs);
    this.#closeProber();
    if (this.#isProbed) this.startProbes();
  }

  /** The link as it is now. */
  follow(snapshot: UplinkSnapshot, nowMs: number): void {
    this.snapshot = snapshot;
    this.#watch.linked(linkReason(snapshot) === "", linkReason(snapshot), nowMs);
    this.#prober?.follow(pathOf(snapshot));
  }

  /** Looks at what the traffic says. */
  observe(totals: UplinkTotals, nowMs: number): void {
    this.#watch.observed(totals, nowMs);
  }

  /** Works out where it stands. A dead line's flows are cut off when their time has come. */
  settle(nowMs: number): void {
    const wasAlive = isAlive(this.standing);
    this.health = this.#watch.report(nowMs);
    this.standing = standingOf(this.config, this.snapshot, this.health, this.orders, this.budget);
    if (isAlive(this.standing)) this.#diedAtMs = null;
    else if (wasAlive) this.#diedAtMs = nowMs;
    if (this.#diedAtMs === null) return;
    const waitMs = this.standing.state === "disabled" ? 0 : this.config.resetAfterMs;
    if (nowMs - this.#diedAtMs < waitMs) return;
    this.cuts = { ...this.cuts, all: this.cuts.all + 1 };
    this.#diedAtMs = null;
  }

  /** Cuts off what it got standing in for another line. */
  cutDisplaced(): void {
    this.cuts = { ...this.cuts, displaced: this.cuts.displaced + 1 };
  }

  #closeProber(): void {
    this.#prober?.stop();
    this.#prober = null;
  }

  get isVacant(): boolean {
    return isVacant(this.config);
  }
}

function pathOf(snapshot: UplinkSnapshot): ProbePath {
  const { ifindex, address, gateway, ipv6, linkHeaderBytes } = snapshot;
  return {
    interface: snapshot.interface,
    ifindex,
    address,
    gateway,
    address6: ipv6.address,
    gateway6: ipv6.gateway,
    linkHeaderBytes,
  };
}
