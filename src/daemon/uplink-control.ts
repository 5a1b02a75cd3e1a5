/**
 * Keeps watch over the uplinks and decides who gets new flows: ten times a second, and whenever a probe, a link or the
 * operator says something. Whatever changes goes to the workers by the publisher, to the log and to the hooks.
 */
import type { Config } from "../control/config-types.ts";
import { comesBefore, type PlanInput } from "../control/group-plan.ts";
import { NearestUplinks } from "../control/latency.ts";
import { type PolicyUplink, type Share, type SharePolicy, sharePolicy } from "../control/policies.ts";
import type { CompiledRules } from "../control/rules.ts";
import type { Publication, UplinkPublisher } from "../control/uplink-publisher.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import type { Standing } from "../control/uplink-standing.ts";
import type { FlowMemory } from "../dataplane/flow-memory.ts";
import { noUplink } from "../tables/shared-state.ts";
import type { Budgets } from "./budgets.ts";
import { Line } from "./line.ts";
import type { Totals, UplinkTotals } from "./totals.ts";

const tickMs = 100;
/** Rates are taken over this long. */
const rateMs = 1000;
/** How long the data plane trusts a pin that is not renewed. */
const pinSeconds = 600;

export interface UplinkControlOptions {
  readonly totals: Totals;
  readonly memory: FlowMemory;
  readonly publisher: UplinkPublisher;
  readonly budgets: Budgets;
  /** Told of every change of a line's standing, after it has been published. */
  onChange(line: Line, before: Standing): void;
}

export class UplinkControl {
  readonly lines: readonly Line[];
  readonly #options: UplinkControlOptions;
  #config: Config;
  #rules: CompiledRules;
  #policy: SharePolicy;
  #nearest: NearestUplinks;
  #told = "";
  #toldPlan: PlanInput | undefined;
  #ratedAtMs: number;
  #rated: readonly UplinkTotals[];
  /** Bits a second, by place. */
  #rates: readonly { upBps: number; downBps: number }[];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    config: Config,
    rules: CompiledRules,
    snapshots: readonly UplinkSnapshot[],
    options: UplinkControlOptions,
  ) {
    const nowMs = performance.now();
    this.#options = options;
    this.#config = config;
    this.#rules = rules;
    this.#policy = sharePolicy(config.balance);
    this.#nearest = this.#newNearest();
    this.lines = config.uplinks.map(
      (uplink, place) => new Line(uplink, snapshots[place]!, config.nat, () => void this.settle(), nowMs),
    );
    this.#ratedAtMs = nowMs;
    this.#rated = this.lines.map((_, place) => options.totals.uplink(place));
    this.#rates = this.lines.map(() => ({ upBps: 0, downBps: 0 }));
    options.budgets.apply(this.lines, this.#rated, new Date(), nowMs);
  }

  /** Begins to watch; probes go out from here on. */
  start(): void {
    for (const line of this.lines) line.startProbes();
    this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const line of this.lines) line.stopProbes();
  }

  /** The links as they are now. Resolves when the workers know. */
  follow(snapshots: readonly UplinkSnapshot[]): Promise<void> {
    const nowMs = performance.now();
    for (const [place, line] of this.lines.entries()) line.follow(snapshots[place]!, nowMs);
    return this.settle();
  }

  /** Takes another configuration with as many places. */
  configure(config: Config, rules: CompiledRules, snapshots: readonly UplinkSnapshot[]): Promise<void> {
    const nowMs = performance.now();
    if (JSON.stringify(config.balance) !== JSON.stringify(this.#config.balance)) {
      this.#policy = sharePolicy(config.balance);
      this.#nearest = this.#newNearest();
    }
    this.#config = config;
    this.#rules = rules;
    for (const [place, line] of this.lines.entries()) {
      if (line.config.name !== config.uplinks[place]!.name) this.#nearest.forget(place, nowMs);
      line.configure(config.uplinks[place]!, nowMs);
      line.follow(snapshots[place]!, nowMs);
    }
    return this.settle();
  }

  /** Works out how things stand and tells whoever is concerned, if anything has changed. */
  async settle(): Promise<void> {
    const nowMs = performance.now();
    const before = this.lines.map(({ standing }) => standing);
    for (const line of this.lines) line.settle(nowMs);
    for (const [place, line] of this.lines.entries()) {
      if (line.standing.state === "up" && before[place]!.state !== "up") this.#callBack(place);
    }
    const publication = this.#publication(nowMs);
    this.#noteTargets(publication.plan.shares);
    const near = publication.plan.shares.map(({ slot }) => ({ slot, rttMs: this.lines[slot]!.health.rttMs }));
    this.#nearest.follow(near, nowMs);
    const published = this.#isNew(publication) ? this.#options.publisher.update(publication) : undefined;
    for (const [place, line] of this.lines.entries()) {
      if (!line.isVacant && differs(line.standing, before[place]!)) this.#options.onChange(line, before[place]!);
    }
    await published;
  }

  #noteTargets(shares: readonly Share[]): void {
    const total = shares.reduce((sum, { weight }) => sum + weight, 0);
    for (const [place, line] of this.lines.entries())
      line.targetRatio = (shares.find(({ slot }) => slot === place)?.weight ?? 0) / (total || 1);
  }

  /** Whether there is something to tell. Configuration and rules, which may be long, are new when they are others. */
  #isNew({ snapshots, plan, cuts }: Publication): boolean {
    const { config, groups, standings, shares } = plan;
    const told = JSON.stringify([snapshots, standings, shares, cuts]);
    const isNew = told !== this.#told || config !== this.#toldPlan?.config || groups !== this.#toldPlan.groups;
    this.#told = told;
    this.#toldPlan = plan;
    return isNew;
  }

  #publication(nowMs: number): Publication {
    const order = ({ slot }: PolicyUplink) => this.lines[slot]!.config.order;
    const live = this.lines
      .flatMap((line, place) => (isLive(line) ? [this.#policyUplink(line, place)] : []))
      .sort((a, b) => order(a) - order(b));
    return {
      snapshots: this.lines.map(({ snapshot }) => snapshot),
      plan: {
        config: this.#config,
        standings: this.lines.map(({ standing }) => standing),
        shares: this.#policy.shares(live, nowMs).shares,
        groups: this.#rules.groups,
      },
      cuts: this.lines.map(({ cuts }) => cuts),
    };
  }

  #policyUplink(line: Line, place: number): PolicyUplink {
    const { name, tier, rate } = line.config;
    return {
      slot: place,
      name,
      tier,
      weight: line.standing.weight,
      rate,
      ...this.#rates[place]!,
      rttMs: line.health.rttMs,
    };
  }

  /** An uplink is back that wants the flows which others got standing in for it. */
  #callBack(place: number): void {
    if (this.lines[place]!.config.failback !== "reset") return;
    for (const [other, line] of this.lines.entries()) {
      if (comesBefore(this.#config, place, other)) line.cutDisplaced();
    }
  }

  #tick(): void {
    const nowMs = performance.now();
    const totals = this.lines.map((_, place) => this.#options.totals.uplink(place));
    for (const [place, line] of this.lines.entries()) if (!line.isVacant) line.observe(totals[place]!, nowMs);
    for (const ring of this.#options.memory.samples) {
      ring.take((network, place, tenths) => this.#nearest.add(network, place, tenths / 10, nowMs));
    }
    if (nowMs - this.#ratedAtMs >= rateMs) {
      this.#rate(totals, nowMs);
      this.#options.budgets.apply(this.lines, totals, new Date(), nowMs);
    }
    void this.settle();
  }

  #rate(totals: readonly UplinkTotals[], nowMs: number): void {
    const seconds = (nowMs - this.#ratedAtMs) / 1000;
    this.#rates = totals.map(({ txBytes, rxBytes }, place) => ({
      upBps: ((txBytes - this.#rated[place]!.txBytes) * 8) / seconds,
      downBps: ((rxBytes - this.#rated[place]!.rxBytes) * 8) / seconds,
    }));
    this.#rated = totals;
    this.#ratedAtMs = nowMs;
  }

  #newNearest(): NearestUplinks {
    const { nearest } = this.#options.memory;
    return new NearestUplinks((network, place) => {
      const untilS = place === noUplink ? 0 : Math.ceil(performance.now() / 1000) + pinSeconds;
      nearest.set(network, place, untilS);
    });
  }
}

function isLive({ standing }: Line): boolean {
  return standing.state === "up" && standing.weight > 0;
}

/** Loss and the like change all the time; that is no event. */
function differs(now: Standing, before: Standing): boolean {
  return now.state !== before.state || now.degraded !== before.degraded;
}
