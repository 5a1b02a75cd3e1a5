/**
 * Follows the uplinks while sluice runs: interfaces, addresses, gateways and their MAC addresses.
 *
 * `ip monitor` is a trigger only. Whatever it prints about an uplink leads, a moment later, to reading
 * the whole state again, so that nothing depends on the order or the form of its lines. A slow timer
 * is the net below: it finds what a lost line would have told.
 */

import type { Config } from "./config-types.ts";
import { type InsideRoutes, readInsideNetworks } from "./inside-networks.ts";
import type { Journal } from "./journal.ts";
import type { JournalEntry } from "./journal-file.ts";
import { Monitor } from "./monitor.ts";
import { manageNeighbour, readNeighbour } from "./neighbour.ts";
import { describeUplink, needsGatewayMac, readSystem, type UplinkSnapshot } from "./uplink-snapshot.ts";

/** Lets a burst of lines become one reading. */
const settleMs = 50;
/** Readings are at least this far apart: each costs a few runs of `ip`. */
const leastIntervalMs = 250;
const netIntervalMs = 10_000;
/** How long the first report waits for gateways to answer, and how long a known MAC address outlives its entry. */
const resolveMs = 3000;
const resolvePollMs = 100;

export interface UplinkWatch {
  /** As last read, in the order of the configuration. */
  readonly snapshots: readonly UplinkSnapshot[];
  readonly inside: InsideRoutes;
  /** Watches by another configuration from now on. Resolves when its uplinks have been read; the listener is not told. */
  configure(config: Config): Promise<void>;
  /** Stops watching and makes the gateways' entries ordinary again. */
  close(): Promise<void>;
}

export interface UplinkListener {
  /**
   * Called after every change, and every 10 to 20 s without one (`previous` equals `current` then): the
   * occasion to put back what somebody took away. `inside`: what is routed there.
   */
  onUpdate(current: readonly UplinkSnapshot[], previous: readonly UplinkSnapshot[], inside: InsideRoutes): void;
  /** The monitor ended, or the state could not be read. Watching goes on. */
  onProblem(message: string): void;
}

/**
 * Begins to watch. The watch is there once every gateway has answered or failed, or after 3 s; what
 * it found by then is its `snapshots`, and the listener hears only of what comes later.
 */
export async function watchUplinks(config: Config, journal: Journal, listener: UplinkListener): Promise<UplinkWatch> {
  const reader = new UplinkReader(config, journal);
  // Before the first reading, or a change between the two would wait for the net.
  let wake = () => {};
  const monitor = new Monitor(
    () => reader.interfaces,
    config.steer.interfaces,
    () => wake(),
    listener.onProblem,
  );
  try {
    await untilResolved(reader);
  } catch (error) {
    await monitor.close();
    await reader.release();
    throw error;
  }
  const loop = readOnDemand(reader, listener);
  wake = loop.wake;
  return {
    get snapshots() {
      return reader.snapshots;
    },
    get inside() {
      return reader.inside;
    },
    configure: (next) => loop.alone(() => reader.configure(next)),
    async close() {
      await monitor.close();
      await loop.stop();
      await reader.release();
    },
  };
}

async function untilResolved(reader: UplinkReader): Promise<void> {
  const deadline = performance.now() + resolveMs;
  await reader.read();
  while (reader.resolving && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, resolvePollMs));
    await reader.read();
  }
}

interface OnDemand {
  wake(): void;
  /** Does something when no reading is under way. */
  alone(task: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

/** Reads when woken and on the net's timer, never twice at a time. */
function readOnDemand(reader: UplinkReader, listener: UplinkListener): OnDemand {
  let readAt = performance.now();
  let toldAt = performance.now();
  let timer: NodeJS.Timeout;
  let woken = false;
  let busy = false;
  let stopped = false;
  let reading: Promise<void> = Promise.resolve();

  const schedule = (delayMs: number) => {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(() => (reading = reading.then(readOnce)), delayMs);
  };
  const readOnce = async () => {
    const previous = reader.snapshots;
    const before = JSON.stringify([previous, reader.inside]);
    woken = false;
    busy = true;
    try {
      await reader.read();
      const changed = JSON.stringify([reader.snapshots, reader.inside]) !== before;
      if ((changed || performance.now() - toldAt >= netIntervalMs) && !stopped) {
        toldAt = performance.now();
        listener.onUpdate(reader.snapshots, previous, reader.inside);
      }
    } catch (error) {
      listener.onProblem(`cannot read the uplinks: ${error instanceof Error ? error.message : String(error)}`);
    }
    busy = false;
    readAt = performance.now();
    schedule(woken ? leastIntervalMs : netIntervalMs);
  };
  schedule(netIntervalMs);
  return {
    wake() {
      if (woken) return;
      woken = true;
      if (!busy) schedule(Math.max(settleMs, readAt + leastIntervalMs - performance.now()));
    },
    alone(task) {
      const done = reading.then(() => {
        if (stopped) throw new Error("the uplinks are not watched any more");
        return task();
      });
      reading = done.catch(() => {});
      return done;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await reading;
    },
  };
}

/** The uplinks' state and the neighbour entries that it keeps fresh. */
class UplinkReader {
  snapshots: readonly UplinkSnapshot[] = [];
  inside: InsideRoutes = { networks: [], behind: {} };
  /** Whether a gateway has neither answered nor failed yet. */
  resolving = false;
  #config: Config;
  readonly #journal: Journal;
  readonly #managed = new Map<string, JournalEntry>();
  /** When each gateway was last known to answer. */
  readonly #answeredAt = new Map<string, number>();

  constructor(config: Config, journal: Journal) {
    this.#config = config;
    this.#journal = journal;
  }

  /** Those that are configured, and what they are called now. */
  get interfaces(): string[] {
    const named = [...this.#config.uplinks, ...this.snapshots].map((uplink) => uplink.interface);
    return [...new Set(named)].filter((name) => name !== "");
  }

  /** On failure it goes on by the configuration that it had. */
  async configure(config: Config): Promise<void> {
    const before = this.#config;
    this.#config = config;
    try {
      await this.read();
    } catch (error) {
      this.#config = before;
      throw error;
    }
  }

  async read(): Promise<void> {
    const [system, inside] = await Promise.all([readSystem(this.#config), readInsideNetworks(this.#config)]);
    this.inside = inside;
    this.resolving = false;
    const described = this.#config.uplinks.map((uplink, place) => {
      const before = this.snapshots[place];
      const previous = before?.name === uplink.name ? before : null;
      return this.#resolveGateways(describeUplink(uplink, system, previous), previous);
    });
    this.snapshots = await Promise.all(described);
    await this.#releaseExcept(new Set(this.snapshots.flatMap(neighbourKeys)));
  }

  async release(): Promise<void> {
    await this.#releaseExcept(new Set());
  }

  async #resolveGateways(snapshot: UplinkSnapshot, previous: UplinkSnapshot | null): Promise<UplinkSnapshot> {
    if (!needsGatewayMac(snapshot)) return snapshot;
    const before = previous?.ifindex === snapshot.ifindex ? previous : null;
    const [ipv4, ipv6] = await Promise.all([
      this.#resolveGateway(snapshot.interface, snapshot, before, "gateway does not answer ARP"),
      this.#resolveGateway(
        snapshot.interface,
        snapshot.ipv6,
        before?.ipv6 ?? null,
        "gateway does not answer neighbour solicitations",
      ),
    ]);
    return { ...ipv4, ipv6 };
  }

  /** Adds the gateway's MAC address, and has the kernel keep looking for it. */
  async #resolveGateway<T extends NextHop>(
    device: string,
    hop: T,
    previous: NextHop | null,
    silence: string,
  ): Promise<T> {
    const { gateway } = hop;
    if (hop.state === "down" || gateway === null) return hop;
    const key = neighbourKey(device, gateway);
    let neighbour = await readNeighbour(device, gateway);
    if (!neighbour.lasting) {
      const entry = { kind: "neighbour", interface: device, gateway } as const;
      if (!this.#managed.has(key)) {
        this.#journal.record(entry);
        this.#managed.set(key, entry);
      }
      await manageNeighbour(entry);
      neighbour = await readNeighbour(device, gateway);
    }
    const now = performance.now();
    if (neighbour.condition === "known") {
      this.#answeredAt.set(key, now);
      return { ...hop, gatewayMac: neighbour.mac };
    }
    if (neighbour.condition === "resolving") {
      this.resolving = true;
      // Somebody flushed the table: the gateway has not failed, the kernel is asking again.
      const recent = now - (this.#answeredAt.get(key) ?? Number.NEGATIVE_INFINITY) < resolveMs;
      if (previous?.gateway === gateway && recent && previous.gatewayMac !== null)
        return { ...hop, gatewayMac: previous.gatewayMac };
    }
    return { ...hop, state: "down", reason: silence };
  }

  /** Makes entries ordinary again that no uplink needs any more: the gateway or the interface changed. */
  async #releaseExcept(needed: ReadonlySet<string>): Promise<void> {
    for (const [key, entry] of this.#managed) {
      if (needed.has(key)) continue;
      this.#managed.delete(key);
      await this.#journal.undo([entry]);
    }
  }
}

/** What both families' snapshots say about their gateway. */
interface NextHop {
  readonly gateway: string | null;
  readonly gatewayMac: string | null;
  readonly state: "up" | "down";
  readonly reason: string;
}

function neighbourKeys({ interface: device, gateway, ipv6 }: UplinkSnapshot): string[] {
  return [gateway, ipv6.gateway].flatMap((each) => (each === null ? [] : [neighbourKey(device, each)]));
}

function neighbourKey(device: string, gateway: string): string {
  return `${device} ${gateway}`;
}
