/**
 * The daemon, put together: opens the devices, starts the workers, and only when packets can flow
 * steers traffic in. Whatever ends it, everything is undone in reverse order; what a `kill -9` leaves
 * is in the journal, and the next start undoes it.
 */
import { startApi } from "./control/api.ts";
import type { Config } from "./control/config-types.ts";
import { openFirewall } from "./control/firewall.ts";
import { createHooks } from "./control/hooks.ts";
import { Journal, recover } from "./control/journal.ts";
import type { Log } from "./control/log.ts";
import { createNotifier } from "./control/notify.ts";
import { applySteering } from "./control/steering.ts";
import { isVacant, withSpares } from "./control/uplink-seats.ts";
import { readUplinks } from "./control/uplink-snapshot.ts";
import { watchUplinks } from "./control/uplinks.ts";
import { Budgets } from "./daemon/budgets.ts";
import { Cleanup } from "./daemon/cleanup.ts";
import { Daemon } from "./daemon/daemon.ts";
import { openLanSockets } from "./daemon/lan-sockets.ts";
import type { Line } from "./daemon/line.ts";
import { flowPolicy } from "./daemon/policy-settings.ts";
import { WorkerPool } from "./daemon/worker-pool.ts";
import { newSecret, socketOptions, workerStarts } from "./daemon/worker-settings.ts";
import { FlowMemory, flowMemoryBytes } from "./dataplane/flow-memory.ts";
import { loadNative } from "./io/native.ts";
import { openSockets, openVacantSockets } from "./io/packet-socket.ts";
import { openTunQueues } from "./io/tun.ts";
import { noUplink, SharedState } from "./tables/shared-state.ts";

/**
 * Runs until SIGTERM or SIGINT, then undoes everything and resolves. Rejects, after undoing, with what
 * made it stop: a device that could not be opened, a worker that died, nft that ended.
 */
export async function runDaemon(config: Config, log: Log): Promise<void> {
  const cleanup = new Cleanup();
  const end = new End();
  const notifier = createNotifier(log);
  // Until there is something to reload it is ignored; it must not end the start.
  process.on("SIGHUP", () => {});
  try {
    const daemon = await startUp(withSpares(config), log, cleanup, end);
    process.on("SIGHUP", () => void reloadAndTell(daemon, log, notifier));
    notifier.ready(
      `${config.workers} workers, ${upCount(daemon.control.lines)} of ${config.uplinks.length} uplinks up`,
    );
    notifier.startWatchdog(() => daemon.isAlive());
    await end.reached;
  } finally {
    // At the same time: a manager that does not listen must not delay the undoing.
    const told = notifier.stopping();
    await cleanup.run(log);
    await told;
  }
  if (!cleanup.wentWell) throw new Error("not everything could be undone; the next start tries again");
}

async function startUp(config: Config, log: Log, cleanup: Cleanup, end: End): Promise<Daemon> {
  for (const sentence of await recover(config.tun.name)) log.warn(sentence);
  const journal = new Journal(config.tun.name);
  // What could not be undone stays in it for the next start.
  cleanup.add("journal", () => journal.entries.length > 0 || journal.close());

  // Devices. All are opened here, in order: a socket's place in its fanout group is its worker.
  const opened = await readUplinks(config);
  const tunFds = openTunQueues(config.tun.name, config.workers);
  cleanup.add("TUN", () => closeAll(tunFds));
  const socketFds = opened.map((uplink) => {
    const fds = isVacant(uplink) ? openVacantSockets(config.workers) : openSockets(socketOptions(config, uplink));
    cleanup.add(`sockets of ${uplink.name}`, () => closeAll(fds));
    return fds;
  });
  const lans = await openLanSockets(config, opened, (fds) => cleanup.add("sockets of a LAN", () => closeAll(fds)));
  const eventFds = tunFds.map(() => loadNative().eventOpen());
  cleanup.add("events", () => closeAll(eventFds));
  const fail = (reason: string) => end.fail(reason);
  const firewall = await openFirewall(config, fail, opened);
  cleanup.add("firewall", () => firewall.close());

  // Workers, with nothing to do yet.
  const shared = new SharedState();
  for (const lookup of [...shared.lookups, ...shared.lookups6]) lookup.fill(noUplink);
  const memory = new SharedArrayBuffer(flowMemoryBytes(config.workers));
  const secret = newSecret();
  const starts = workerStarts(
    config,
    { shared, memory, secret, policy: flowPolicy(config, null) },
    { uplinks: opened, tunFds, socketFds, lans, eventFds },
  );
  const pool = new WorkerPool(shared, starts, fail);
  cleanup.add("workers", () => pool.stop());
  const memoryBytes = (await pool.ready()) + shared.buffer.byteLength + memory.byteLength;

  // Uplinks, followed from here on.
  const hooks = createHooks(config.hooks, log);
  cleanup.add("hooks", () => hooks.stop());
  const budgets = await Budgets.open(config, log);
  cleanup.add("data caps", () => budgets.close());
  let daemon: Daemon | undefined;
  const watch = await watchUplinks(config, journal, {
    onUpdate: (current, _, inside) => {
      try {
        daemon?.follow(current, inside);
      } catch (error) {
        log.error({ err: error }, "an uplink's change could not be followed");
      }
    },
    onProblem: (message) => log.warn(message),
  });
  cleanup.add("uplink watch", () => watch.close());
  daemon = new Daemon(
    {
      ...{ config, log, shared, pool, firewall, hooks, budgets, lans, socketFds, opened, fail },
      memory: new FlowMemory(memory, config.workers),
      balanceSecret: [secret[2], secret[3]],
    },
    watch,
  );
  cleanup.add("probes", () => daemon.control.stop());
  await daemon.begin();

  // Control socket, and last the traffic.
  const api = await startApi(config.control.socket, daemon.handlers());
  cleanup.add("control socket", () => api.close());
  const steering = await applySteering(config, watch.snapshots, journal);
  cleanup.add("steering", () => steering.undo());
  daemon.steerBy(steering);
  cleanup.add("reload", () => daemon.endReloads());
  announce(config, log, daemon.control.lines, memoryBytes);
  return daemon;
}

/** SIGHUP: as `sluice reload`, with the log for its answer. */
async function reloadAndTell(daemon: Daemon, log: Log, notifier: ReturnType<typeof createNotifier>): Promise<void> {
  try {
    const { changed, problems } = await daemon.reload();
    for (const problem of problems) log.error(`not reloaded: ${problem}`);
    if (problems.length === 0) log.info({ changed }, "the configuration was read again");
  } catch (error) {
    log.error({ err: error as Error }, "the configuration could not be put into effect");
  }
  notifier.status("the configuration was read again");
}

function upCount(lines: readonly Line[]): number {
  return lines.filter(({ standing }) => standing.state === "up").length;
}

function announce(config: Config, log: Log, lines: readonly Line[], memoryBytes: number): void {
  for (const { config: uplink, snapshot, standing, isVacant: isNobody } of lines) {
    if (isNobody) continue;
    const { address, gateway, ipv6 } = snapshot;
    const { state, reason } = standing;
    const fields = { address, gateway, state, ...(reason && { reason }), ...(ipv6.address && { ipv6: ipv6.address }) };
    log.info({ uplink: uplink.name, interface: snapshot.interface, ...fields }, "uplink");
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
