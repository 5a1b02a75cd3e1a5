/** One run: a contender forwards a load, things are done to the lab at their times, and all of it is recorded. */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Isp, type Lab, server } from "../../test/support/lab.ts";
import type { Running } from "../../test/support/process.ts";
import type { ConnectionRecord } from "../../test/support/programs/connection-load.ts";
import type { TransferRecord } from "../../test/support/programs/transfers.ts";
import { startProgram } from "../../test/support/programs.ts";
import type { Connection, Recording, RunContext, RunningContender, Transfer, Wishes } from "./types.ts";

export interface Load {
  readonly connectionsPerSecond: number;
  /** Whereto the connections go, in turns; default: the server. */
  readonly addresses?: readonly string[];
  readonly transfers: number;
  /** Mean length of the transfers, each followed by the next; default: endless. */
  readonly meanBytes?: number;
  /** Of each transfer; default 250,000, which leaves the lab's lines and processors room. */
  readonly bytesPerSecond?: number | "greedy";
}

export interface Act {
  /** Seconds. */
  readonly at: number;
  readonly what: string;
  readonly run: (doing: Doing) => Promise<unknown>;
}

export interface Doing {
  readonly lab: Lab;
  readonly contender: RunningContender;
  /** Asks for new transfers in place of those that ended. */
  readonly reconnect: () => void;
}

export interface Plan {
  readonly wishes?: Wishes;
  readonly load: Load;
  readonly acts: readonly Act[];
  readonly seconds: number;
}

const port = "8000";
const pollMs = 50;

/** Runs a plan. Its times are as written: the caller has them paced. Throws when a program or an act fails. */
export async function record({ lab, contender }: RunContext, plan: Plan): Promise<Recording> {
  const running = await contender.start(lab, plan.wishes ?? {});
  await startProgram(lab, "server", "load-server", port);
  const transfers = await startTransfers(lab, plan.load);
  const connections = await startConnections(lab, plan.load);
  const counters = await startCounters(lab);
  // The first moments of a program are slow, and no contender's business.
  await sleep(500);

  const startedAt = performance.timeOrigin + performance.now();
  const now = () => (performance.timeOrigin + performance.now() - startedAt) / 1000;
  const recording = { events: [] as { at: number; what: string }[], states: [] as State[], line: [] as LineSample[] };
  const watching = watch(plan.seconds, now, running, counters, recording);
  // Rejections are for the `await` below; until then nobody listens.
  watching.catch(() => {});
  const doing: Doing = { lab, contender: running, reconnect: () => transfers?.signal("SIGUSR1") };
  for (const act of plan.acts) {
    await sleep(Math.max(0, (act.at - now()) * 1000));
    // The moment is that of the beginning: what takes its time counts against the contender for at most as long.
    recording.events.push({ at: now(), what: act.what });
    await act.run(doing);
  }
  await watching;
  await Promise.all([connections?.stop(), transfers?.stop(), ...counters.map(({ holder }) => holder.stop())]);
  const result = {
    seconds: plan.seconds,
    ...recording,
    connections: readConnections(connections, startedAt),
    ...readTransfers(transfers, startedAt),
  };
  await running.stop();
  return result;
}

type State = Recording["states"][number];
type LineSample = Recording["line"][number];

async function startTransfers(lab: Lab, { transfers, meanBytes, bytesPerSecond }: Load): Promise<Running | null> {
  if (transfers === 0) return null;
  const length = meanBytes === undefined ? "endless" : String(meanBytes);
  const rate = String(bytesPerSecond ?? 250_000);
  return startProgram(lab, "client1", "transfers", String(transfers), length, rate, port, server);
}

async function startConnections(lab: Lab, { connectionsPerSecond, addresses }: Load): Promise<Running | null> {
  if (connectionsPerSecond === 0) return null;
  const words = [String(connectionsPerSecond), port, ...(addresses ?? [server])];
  return startProgram(lab, "client2", "connection-load", ...words);
}

interface Counter {
  isp: Isp;
  holder: Running;
}

/** A process in each provider whose /proc shows the provider's links. */
async function startCounters(lab: Lab): Promise<Counter[]> {
  return Promise.all(
    lab.isps.map(async (isp) => {
      const holder = lab.spawn(isp, ["sh", "-c", "echo ready; exec sleep infinity"]);
      await holder.waitFor(/ready/);
      return { isp, holder };
    }),
  );
}

/** Bytes sent to the router; 0 while the link is not there. */
function sentBytes({ holder }: Counter): number {
  const fields = /subscriber:((?:\s+\d+)+)/.exec(readFileSync(`/proc/${holder.pid}/net/dev`, "utf8"))?.[1];
  return fields === undefined ? 0 : Number(fields.trim().split(/\s+/)[8]);
}

/** Polls the contender and the lines until the time is over. */
async function watch(
  seconds: number,
  now: () => number,
  contender: RunningContender,
  counters: readonly Counter[],
  { states, line }: { states: State[]; line: LineSample[] },
): Promise<void> {
  const last = new Map<string, string>();
  const sent = new Map(counters.map((counter) => [counter.isp, sentBytes(counter)]));
  for (let turn = 1; now() < seconds; turn++) {
    for (const [uplink, { state, reason }] of Object.entries((await contender.states()) ?? {})) {
      if (last.get(uplink) !== state) states.push({ at: now(), uplink, state, reason });
      last.set(uplink, state);
    }
    if (turn % 2 === 0) {
      const bytes: Partial<Record<Isp, number>> = {};
      for (const counter of counters) {
        const total = sentBytes(counter);
        // A link that was made anew counts from zero.
        bytes[counter.isp] = Math.max(0, total - sent.get(counter.isp)!);
        sent.set(counter.isp, total);
      }
      line.push({ at: now(), bytes });
    }
    await sleep(pollMs);
  }
}

function readConnections(program: Running | null, startedAt: number): Connection[] {
  return jsonLines<ConnectionRecord>(program).map((connection) => ({
    startedAt: (connection.startedAt - startedAt) / 1000,
    address: connection.address,
    connectMs: connection.connectMs,
    answered: connection.answerMs !== null,
    uplink: connection.via === null ? null : uplinkOf(connection.via),
    error: connection.error,
  }));
}

function readTransfers(program: Running | null, startedAt: number): Pick<Recording, "transfers" | "received"> {
  const transfers = new Map<number, Transfer>();
  const received: Recording["received"][number][] = [];
  for (const event of jsonLines<TransferRecord>(program)) {
    const at = (event.at - startedAt) / 1000;
    if (event.event === "begin") {
      const { id, via } = event;
      transfers.set(id, { id, uplink: uplinkOf(via), beganAt: at, endedAt: null, error: null });
    } else if (event.event === "end") {
      const transfer = transfers.get(event.id);
      if (transfer !== undefined) transfers.set(event.id, { ...transfer, endedAt: at, error: event.error });
    } else {
      received.push({
        at,
        bytes: new Map(Object.entries(event.bytes).map(([id, bytes]) => [Number(id), bytes])),
      });
    }
  }
  return { transfers: [...transfers.values()], received };
}

function jsonLines<T>(program: Running | null): T[] {
  const lines = program?.stdout.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}")) ?? [];
  return lines.map((line) => JSON.parse(line) as T);
}

/** An uplink's address may change in a run, but not its network. */
function uplinkOf(address: string): Isp {
  if (address.startsWith("203.0.113.")) return "isp1";
  if (address.startsWith("198.51.100.")) return "isp2";
  throw new Error(`no uplink has ${address}`);
}
