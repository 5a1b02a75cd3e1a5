/**
 * The daemon, put together: opens the devices, starts the workers, and only when packets can flow
 * steers traffic in. Whatever ends it, everything is undone in reverse order; what a `kill -9` leaves
 * is in the journal, and the next start undoes it.
 */
import { RefusedError, startApi } from "./control/api.ts";
import type { Config } from "./control/config-types.ts";
import { openFirewall } from "./control/firewall.ts";
import { type InsideRoutes, publishInsideNetworks } from "./control/inside-networks.ts";
import { Journal, recover } from "./control/journal.ts";
import type { Log } from "./control/log.ts";
import { createNotifier } from "./control/notify.ts";
import { applySteering, type Steering } from "./control/steering.ts";
import { UplinkPublisher } from "./control/uplink-publisher.ts";
import { readUplinks, type UplinkSnapshot } from "./control/uplink-snapshot.ts";
import type { Ipv6Snapshot } from "./control/uplink-snapshot6.ts";
import { watchUplinks } from "./control/uplinks.ts";
import { version } from "./control/version.ts";
import { openLanSockets } from "./daemon/lan-sockets.ts";
import { flowPolicy } from "./daemon/policy-settings.ts";
import { flowReport, statusReport } from "./daemon/status.ts";
import { Totals } from "./daemon/totals.ts";
import { WorkerPool } from "./daemon/worker-pool.ts";
import { socketOptions, workerStarts } from "./daemon/worker-settings.ts";
import { flowMemoryBytes } from "./dataplane/flow-memory.ts";
import { loadNative } from "./io/native.ts";
import { openSockets, reopenSockets } from "./io/packet-socket.ts";
import { openTunQueues } from "./io/tun.ts";
import { noUplink, SharedState } from "./tables/shared-state.ts";

/**
 * Runs until SIGTERM or SIGINT, then undoes everything and resolves. Rejects, after undoing, with what
 * made it stop: a device that could not be opened, a worker that died, nft that ended.
 */
export async function runDaemon(config: Config, log: Log): Promise<void> {
  const cleanup = new Cleanup();
  const end = new End();
  process.on("SIGHUP", () => log.warn("reloading is not supported yet: the configuration of the start stays"));
  const notifier = createNotifier(log);
  try {
    await startUp(config, log, cleanup, end, notifier);
    await end.reached;
  } finally {
    // At the same time: a manager that does not listen must not delay the undoing.
    const told = notifier.stopping();
    await cleanup.run(log);
    await told;
  }
  if (!cleanup.wentWell) throw new Error("not everything could be undone; the next start tries again");
}

async function startUp(
  config: Config,
  log: Log,
  cleanup: Cleanup,
  end: End,
  notifier: ReturnType<typeof createNotifier>,
): Promise<void> {
  const startedAt = performance.now();
  for (const sentence of await recover(config.tun.name)) log.warn(sentence);
  const journal = new Journal(config.tun.name);
  // What could not be undone stays in it for the next start.
  cleanup.add("journal", () => journal.entries.length > 0 || journal.close());

  // Devices. All are opened here, in order: a socket's place in its fanout group is its worker.
  const uplinks = await readUplinks(config);
  const tunFds = openTunQueues(config.tun.name, config.workers);
  cleanup.add("TUN", () => closeAll(tunFds));
  const socketFds = uplinks.map((uplink) => {
    const fds = openSockets(socketOptions(config, uplink));
    cleanup.add(`sockets of ${uplink.name}`, () => closeAll(fds));
    return fds;
  });
  const lans = await openLanSockets(config, uplinks, (fds) => cleanup.add("sockets of a LAN", () => closeAll(fds)));
  const eventFds = tunFds.map(() => loadNative().eventOpen());
  cleanup.add("events", () => closeAll(eventFds));
  const firewall = await openFirewall(config, (reason) => end.fail(reason), uplinks);
  cleanup.add("firewall", () => firewall.close());

  // Workers, with nothing to do yet.
  const shared = new SharedState();
  for (const lookup of [...shared.lookups, ...shared.lookups6]) lookup.fill(noUplink);
  const memory = new SharedArrayBuffer(flowMemoryBytes(config.workers));
  const policy = flowPolicy(config, null);
  const pool = new WorkerPool(
    shared,
    workerStarts(config, shared, policy, memory, uplinks, tunFds, socketFds, lans, eventFds),
    (reason) => end.fail(reason),
  );
  cleanup.add("workers", () => pool.stop());
  const memoryBytes = await pool.ready();

  // Uplinks, followed from here on.
  let steering: Steering | undefined;
  const publisher = new UplinkPublisher(
    { config, shared, firewall, wake: () => pool.wake(), onFailure: (reason) => end.fail(reason) },
    uplinks,
  );
  const tellInside = ({ networks }: InsideRoutes) => {
    if (!publishInsideNetworks(networks, shared))
      log.warn(`there are ${networks.length} networks inside, too many to tell foreign sources from: all pass`);
  };
  const follow = (current: readonly UplinkSnapshot[], previous: readonly UplinkSnapshot[], inside: InsideRoutes) => {
    tellInside(inside);
    for (const [index, uplink] of current.entries()) {
      if (isAnotherInterface(uplink, previous[index]!)) reopenSockets(socketFds[index]!, socketOptions(config, uplink));
    }
    logChanges(log, current, previous);
    for (const lan of lans)
      lan.follow(current).catch((error: Error) => log.error({ err: error }, "a LAN's sockets could not follow"));
    void publisher.update(current);
    steering
      ?.update(config, current)
      .catch((error: Error) => log.error({ err: error }, "routes could not follow the uplinks"));
  };
  const watch = await watchUplinks(config, journal, {
    onUpdate: (...update) => {
      try {
        follow(...update);
      } catch (error) {
        log.error({ err: error }, "an uplink's change could not be followed");
      }
    },
    onProblem: (message) => log.warn(message),
  });
  cleanup.add("uplink watch", () => watch.close());
  tellInside(watch.inside);
  await publisher.update(watch.snapshots);

  // Control socket, and last the traffic.
  const totals = new Totals(shared, config.workers);
  const api = await startApi(config.control.socket, {
    version,
    status: () => statusReport(config, version, (performance.now() - startedAt) / 1000, totals, watch.snapshots),
    flows: async ({ uplink, limit }) => {
      const index = uplink === undefined ? -1 : config.uplinks.findIndex(({ name }) => name === uplink);
      return (await pool.flows(index, limit)).map((flow) => flowReport(flow, config));
    },
    drain: notSupported,
    enable: notSupported,
    disable: notSupported,
    weight: notSupported,
    reload: notSupported,
    explain: notSupported,
  });
  cleanup.add("control socket", () => api.close());
  steering = await applySteering(config, watch.snapshots, journal);
  cleanup.add("steering", () => steering!.undo());

  announce(config, log, watch.snapshots, memoryBytes);
  notifier.ready(`${config.workers} workers, ${watch.snapshots.filter(isUp).length} of ${uplinks.length} uplinks up`);
  notifier.startWatchdog(() => pool.isAlive());
}

async function notSupported(): Promise<never> {
  throw new RefusedError("not supported yet");
}

function isUp(uplink: UplinkSnapshot): boolean {
  return uplink.state === "up";
}

/** Deleted and made again under its name: the sockets that were bound to it are dead. */
function isAnotherInterface(current: UplinkSnapshot, previous: UplinkSnapshot): boolean {
  return current.present && current.ifindex !== previous.ifindex;
}

function logChanges(log: Log, current: readonly UplinkSnapshot[], previous: readonly UplinkSnapshot[]): void {
  for (const [index, uplink] of current.entries()) {
    const before = previous[index]!;
    const fields = { uplink: uplink.name, interface: uplink.interface };
    if (uplink.state !== before.state || uplink.reason !== before.reason) {
      if (isUp(uplink)) log.info(fields, "uplink is up");
      else log.warn({ ...fields, reason: uplink.reason }, "uplink is down");
    }
    logIpv6(log, fields, uplink.ipv6, before.ipv6);
    // What is gone is the reason of being down.
    const { address, gateway, mtu, present } = uplink;
    if (address !== null && address !== before.address) log.info({ ...fields, address }, "uplink has another address");
    if (gateway !== null && gateway !== before.gateway) log.info({ ...fields, gateway }, "uplink has another gateway");
    if (present && before.present && mtu !== before.mtu) log.info({ ...fields, mtu }, "uplink has another MTU");
  }
}

/** Of an uplink without IPv6 there is nothing to say. */
function logIpv6(log: Log, uplink: object, now: Ipv6Snapshot, before: Ipv6Snapshot): void {
  const { address, gateway } = now;
  const fields = { ...uplink, address, gateway };
  if (now.state !== before.state || now.reason !== before.reason) {
    if (now.state === "up") log.info(fields, "IPv6 on the uplink is up");
    else if (before.state === "up") log.warn({ ...fields, reason: now.reason }, "IPv6 on the uplink is down");
  } else if (address !== before.address) log.info(fields, "uplink has another IPv6 address");
}

function announce(config: Config, log: Log, uplinks: readonly UplinkSnapshot[], memoryBytes: number): void {
  for (const { name, interface: device, address, gateway, state, reason, ipv6 } of uplinks) {
    const fields = { address, gateway, state, ...(reason && { reason }), ...(ipv6.address && { ipv6: ipv6.address }) };
    log.info({ uplink: name, interface: device, ...fields }, "uplink");
  }
  log.info(
    {
      flows: config.limits.flows,
      ports: `${config.nat.firstPort}-${config.nat.lastPort}`,
      memoryMiB: Math.round(memoryBytes / 2 ** 20),
      workers: config.workers,
    },
    "memory for tables and packets is allocated, and does not grow",
  );
  log.info({ tun: config.tun.name, socket: config.control.socket }, "sluice is forwarding");
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) loadNative().close(fd);
}

/** What undoes each step of the start, run backwards; one that fails does not keep the others from running. */
class Cleanup {
  wentWell = true;
  readonly #steps: { name: string; undo: () => unknown }[] = [];

  add(name: string, undo: () => unknown): void {
    this.#steps.push({ name, undo });
  }

  async run(log: Log): Promise<void> {
    for (const { name, undo } of this.#steps.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.wentWell = false;
        log.error({ err: error as Error }, `${name} could not be undone`);
      }
    }
  }
}

/** The end of the run: a signal resolves it, a failure rejects it. */
class End {
  readonly reached: Promise<void>;
  readonly fail: (reason: string) => void;

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.reached = promise;
    this.fail = (reason) => reject(new Error(reason));
    // A failure during the start is reported by what waits there, or when the start is through.
    promise.catch(() => {});
    // Not once: a second Ctrl-C must not end what undoes everything.
    process.on("SIGTERM", () => resolve());
    process.on("SIGINT", () => resolve());
    // A mistake of ours in a callback: die of it, but undo first.
    process.on("uncaughtException", reject);
  }
}
