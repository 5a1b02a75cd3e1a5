/**
 * The daemon while it runs: its parts, and what happens when a link changes, the operator orders something or the
 * configuration is read again. main.ts starts it and ends it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type ApiHandlers, RefusedError } from "../control/api.ts";
import type { Config } from "../control/config-types.ts";
import type { Firewall } from "../control/firewall.ts";
import type { Hooks } from "../control/hooks.ts";
import { type InsideRoutes, publishInsideNetworks } from "../control/inside-networks.ts";
import type { Log } from "../control/log.ts";
import type { ReloadReport, UplinkReport } from "../control/report.ts";
import { type CompiledRules, compileRules } from "../control/rules.ts";
import type { Steering } from "../control/steering.ts";
import { UplinkPublisher } from "../control/uplink-publisher.ts";
import { isVacant } from "../control/uplink-seats.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import type { Orders } from "../control/uplink-standing.ts";
import type { UplinkWatch } from "../control/uplinks.ts";
import { version } from "../control/version.ts";
import type { FlowMemory } from "../dataplane/flow-memory.ts";
import { reopenSockets } from "../io/packet-socket.ts";
import type { SharedState } from "../tables/shared-state.ts";
import type { Budgets } from "./budgets.ts";
import { tellLinks, tellStanding } from "./events.ts";
import { explainFlow } from "./explain-flow.ts";
import type { LanSockets } from "./lan-sockets.ts";
import { openPlaceSockets, type PlaceSockets } from "./place-sockets.ts";
import { flowPolicy } from "./policy-settings.ts";
import { reload } from "./reload.ts";
import { flowReport, statusReport, uplinkReport } from "./status.ts";
import { Totals } from "./totals.ts";
import { UplinkControl } from "./uplink-control.ts";
import type { WorkerPool } from "./worker-pool.ts";
import { socketOptions } from "./worker-settings.ts";

/** How long workers have to do what they were told: to cut off the flows of an uplink that leaves, to read new rules. Their longest wait is 250 ms. */
const farewellMs = 300;

export interface DaemonParts {
  readonly config: Config;
  readonly log: Log;
  readonly shared: SharedState;
  readonly memory: FlowMemory;
  readonly pool: WorkerPool;
  readonly firewall: Firewall;
  readonly hooks: Hooks;
  readonly budgets: Budgets;
  readonly lans: readonly LanSockets[];
  /** By place and worker. */
  readonly socketFds: readonly (readonly number[])[];
  /** The secret of the hashes that choose an uplink. */
  readonly balanceSecret: readonly [number, number];
  /** What the devices were opened with. */
  readonly opened: readonly UplinkSnapshot[];
  fail(reason: string): void;
}

export class Daemon {
  readonly control: UplinkControl;
  readonly #parts: DaemonParts;
  readonly #totals: Totals;
  readonly #startedAt = performance.now();
  #config: Config;
  #watch: UplinkWatch;
  #steering: Steering | undefined;
  #rules: CompiledRules;
  #inside = "";
  readonly #sockets: PlaceSockets;
  /** The links as the log and the hooks know them. */
  #toldLinks: readonly UplinkSnapshot[];
  /** Reloads run one after the other. */
  #reloading: Promise<unknown> = Promise.resolve();
  #isEnding = false;

  constructor(parts: DaemonParts, watch: UplinkWatch) {
    const { config, shared, log, memory, firewall, hooks, budgets, pool, opened } = parts;
    this.#parts = parts;
    this.#config = config;
    this.#watch = watch;
    this.#toldLinks = watch.snapshots;
    this.#sockets = openPlaceSockets(
      opened,
      (place, uplink) =>
        reopenSockets(parts.socketFds[place]!, uplink === null ? null : socketOptions(this.#config, uplink)),
      ({ name }, reason) => log.error({ uplink: name, reason }, "the uplink's packets cannot be heard"),
    );
    this.#totals = new Totals(shared, config.workers);
    this.#rules = this.#compile(config, watch.inside, undefined);
    const publisher = new UplinkPublisher(
      { shared, firewall, wake: () => pool.wake(), onFailure: (reason) => parts.fail(reason) },
      opened,
    );
    this.control = new UplinkControl(config, this.#rules, watch.snapshots, {
      totals: this.#totals,
      memory,
      publisher,
      budgets,
      onChange: (line, before) => tellStanding(log, hooks, line, before),
    });
  }

  /** Publishes for the first time. Packets may come from here on. */
  async begin(): Promise<void> {
    this.#tellInside(this.#watch.inside);
    await this.control.follow(this.#sockets.follow(this.#watch.snapshots));
  }

  /** Probes go out and traffic is steered. */
  steerBy(steering: Steering): void {
    this.#steering = steering;
    this.control.start();
  }

  /** Something about the links, or what is inside, has changed, or nothing for a while. */
  follow(current: readonly UplinkSnapshot[], inside: InsideRoutes): void {
    const { log } = this.#parts;
    this.#tellInside(inside);
    this.#tellLinks(current);
    void this.control.follow(this.#sockets.follow(current));
    this.#steering
      ?.update(this.#config, current)
      .catch((error: Error) => log.error({ err: error }, "routes could not follow the uplinks"));
  }

  /** Reads the configuration again. */
  reload(): Promise<ReloadReport> {
    const { log } = this.#parts;
    const apply = (next: Config) => this.#apply(next);
    const report = this.#reloading.then(() => {
      if (this.#isEnding) throw new RefusedError("sluice is ending");
      // The start goes on by the configuration that it began with.
      if (this.#steering === undefined) throw new RefusedError("sluice is still starting");
      return reload(this.#config, apply, (doubt) => log.warn(doubt));
    });
    this.#reloading = report.catch(() => {});
    return report;
  }

  /** No reload begins any more. Resolves when the one that runs is through: it must not set up what is being undone. */
  async endReloads(): Promise<void> {
    this.#isEnding = true;
    await this.#reloading;
  }

  /** Whether every worker has turned since the last time this was asked. */
  isAlive(): boolean {
    return this.#parts.pool.isAlive();
  }

  handlers(): ApiHandlers {
    return {
      version,
      status: () => this.#status(),
      flows: async ({ uplink, limit }) => {
        const place = uplink === undefined ? -1 : this.#placeOf(uplink);
        return (await this.#parts.pool.flows(place, limit)).map((flow) => flowReport(flow, this.#config));
      },
      drain: (uplink) => this.#order(uplink, { mode: "draining" }),
      enable: (uplink) => this.#order(uplink, { mode: "enabled" }),
      disable: (uplink) => this.#order(uplink, { mode: "disabled" }),
      weight: (uplink, weight) => this.#order(uplink, { weight }),
      reload: () => this.reload(),
      explain: (query) => explainFlow(query, this.#config, this.#rules, this.control.lines, this.#parts),
    };
  }

  #status() {
    const uptimeSeconds = (performance.now() - this.#startedAt) / 1000;
    return statusReport(this.#config, version, uptimeSeconds, this.#totals, this.control.lines);
  }

  async #order(uplink: string, order: Partial<Orders>): Promise<UplinkReport> {
    const place = this.#placeOf(uplink);
    const line = this.control.lines[place]!;
    line.orders = { ...line.orders, ...order };
    await this.control.settle();
    return uplinkReport(line, place, this.#totals);
  }

  #placeOf(uplink: string): number {
    const place = this.#config.uplinks.findIndex(({ name }) => name === uplink);
    if (place < 0) throw new RefusedError(`there is no uplink ${uplink}`);
    return place;
  }

  /** Puts another configuration into effect, link by link, without a moment in which packets can't go. */
  async #apply(next: Config): Promise<void> {
    const { log, pool, hooks } = this.#parts;
    const leaving = this.#config.uplinks.filter(
      (uplink) => !isVacant(uplink) && !next.uplinks.some(({ name }) => name === uplink.name),
    );
    const orders = leaving.map(({ name }) => ({ name, ...this.control.lines[this.#placeOf(name)]!.orders }));
    try {
      for (const { name } of leaving) await this.#order(name, { mode: "disabled" });
      if (leaving.length > 0) await sleep(farewellMs);
      await this.#watch.configure(next);
    } catch (error) {
      for (const { name, mode } of orders) await this.#order(name, { mode });
      throw error;
    }
    const { inside } = this.#watch;
    const before = this.#rules;
    // First what may throw: nothing has changed yet.
    this.#rules = this.#compile(next, inside, before);
    this.#config = next;
    this.#publishInside(inside);
    log.level = next.log.level;
    hooks.configure(next.hooks);
    // The watch tells nobody of what it has just read.
    this.#tellLinks(this.#watch.snapshots);
    const snapshots = this.#sockets.follow(this.#watch.snapshots);
    // Workers go by the old rules until they have read the new: there are tables for the groups of both meanwhile.
    const gone = before.groups.filter(({ key }) => this.#rules.groups.every((group) => group.key !== key));
    await this.control.configure(next, { ...this.#rules, groups: [...gone, ...this.#rules.groups] }, snapshots);
    pool.follow(flowPolicy(next, this.#rules.table));
    await this.#steering?.update(next, this.#watch.snapshots);
    if (gone.length === 0) return;
    await sleep(farewellMs);
    await this.control.configure(next, this.#rules, this.#sockets.follow(this.#watch.snapshots));
  }

  #tellInside(inside: InsideRoutes): void {
    if (!this.#publishInside(inside)) return;
    // Rules may match by the interface that a source is behind.
    this.#rules = this.#compile(this.#config, inside, this.#rules);
    this.#parts.pool.follow(flowPolicy(this.#config, this.#rules.table));
  }

  /** Whether it is news. */
  #publishInside(inside: InsideRoutes): boolean {
    const { log, shared } = this.#parts;
    const key = JSON.stringify(inside);
    if (key === this.#inside) return false;
    this.#inside = key;
    const { networks } = inside;
    if (!publishInsideNetworks(networks, shared))
      log.warn(`there are ${networks.length} networks inside, too many to tell foreign sources from: all pass`);
    return true;
  }

  /** Tells the log, the hooks and the sockets of the LANs. */
  #tellLinks(current: readonly UplinkSnapshot[]): void {
    const { log, hooks, lans } = this.#parts;
    tellLinks(log, hooks, this.#config, current, this.#toldLinks);
    this.#toldLinks = current;
    for (const lan of lans)
      lan.follow(current).catch((error: Error) => log.error({ err: error }, "a LAN's sockets could not follow"));
  }

  #compile(config: Config, { behind }: InsideRoutes, before: CompiledRules | undefined): CompiledRules {
    return compileRules(config, (name) => behind[name] ?? [], before);
  }
}
