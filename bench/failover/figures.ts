/** What is read off a recording. Pure; times are seconds of the recording. */

import type { Isp } from "../../test/support/lab.ts";
import type { Connection, Recording, Transfer } from "./types.ts";

/** A client that heard nothing sends its SYN again after a second. */
export const oneRetransmissionMs = 1_300;

/** The connections that began in [from, to). */
export function begunIn(recording: Recording, from: number, to: number): Connection[] {
  return recording.connections.filter(({ startedAt }) => startedAt >= from && startedAt < to);
}

/** Never connected, whether the client gave up or was refused. */
export function unconnected(connections: readonly Connection[]): number {
  return connections.filter(({ connectMs }) => connectMs === null).length;
}

/** Connected, and then cut before the answer. */
export function unanswered(connections: readonly Connection[]): number {
  return connections.filter(({ connectMs, answered }) => connectMs !== null && !answered).length;
}

/** Percent of them; null when there are none. */
export function percentConnectedWithin(connections: readonly Connection[], ms: number): number | null {
  if (connections.length === 0) return null;
  const quick = connections.filter(({ connectMs }) => connectMs !== null && connectMs <= ms).length;
  return (100 * quick) / connections.length;
}

/** Milliseconds within which 99 % of them connected; null when more than that never did, or there are none. */
export function connectMsOf99Percent(connections: readonly Connection[]): number | null {
  const times = connections.map(({ connectMs }) => connectMs ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const time = times[Math.ceil(times.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(time) ? time : null;
}

const sliceSeconds = 0.5;
/** Single ones have other reasons: a port that is used again while the kernel still knows the connection that had it. */
const notedShare = 0.05;

/** How long after `from` new connections failed or needed more than one retransmission: the end of the last half second in which 5 % did. */
export function troubleSeconds(recording: Recording, from: number, to: number): number {
  const isTrouble = ({ connectMs, answered }: Connection) => !answered || connectMs! > oneRetransmissionMs;
  const last = slices(recording, from, to).findLastIndex((slice) => shareOf(slice, isTrouble) >= notedShare);
  return (last + 1) * sliceSeconds;
}

/** [from, to) by half seconds. */
function slices(recording: Recording, from: number, to: number): Connection[][] {
  const count = Math.ceil((to - from) / sliceSeconds);
  return Array.from({ length: count }, (_, index) => {
    const begin = from + index * sliceSeconds;
    return begunIn(recording, begin, Math.min(to, begin + sliceSeconds));
  });
}

function shareOf(connections: readonly Connection[], fits: (connection: Connection) => boolean): number {
  return connections.length === 0 ? 0 : connections.filter(fits).length / connections.length;
}

/** The transfers that were on an uplink at a time. */
export function transfersOn(recording: Recording, uplink: Isp, at: number): Transfer[] {
  return recording.transfers.filter(
    (transfer) =>
      transfer.uplink === uplink && transfer.beganAt <= at && (transfer.endedAt === null || transfer.endedAt > at),
  );
}

/** When the last of them ended, after `from`; null when one did not before `to`, or there are none. */
export function allEndedAfter(transfers: readonly Transfer[], from: number, to: number): number | null {
  const ends = transfers.map(({ endedAt }) => endedAt ?? Number.POSITIVE_INFINITY);
  const last = Math.max(...ends);
  return last >= from && last < to ? last - from : null;
}

/** How many of them ended in [from, to), in whatever way. */
export function endedIn(transfers: readonly Transfer[], from: number, to: number): number {
  return transfers.filter(({ endedAt }) => endedAt !== null && endedAt >= from && endedAt < to).length;
}

/** Bytes a second that these transfers received in (from, to]. */
export function byteRate(recording: Recording, transfers: readonly Transfer[], from: number, to: number): number {
  const ids = new Set(transfers.map(({ id }) => id));
  let sum = 0;
  for (const { at, bytes } of recording.received) {
    if (at <= from || at > to) continue;
    for (const [id, count] of bytes) if (ids.has(id)) sum += count;
  }
  return sum / (to - from);
}

/** Percent by which the rate in [from, to) differs from that in the `beforeSeconds` ahead of it; null without transfers. */
export function rateChangePercent(
  recording: Recording,
  transfers: readonly Transfer[],
  beforeSeconds: number,
  from: number,
  to: number,
): number | null {
  const before = byteRate(recording, transfers, from - beforeSeconds, from);
  return before === 0 ? null : 100 * (byteRate(recording, transfers, from, to) / before - 1);
}

/** How long after `from` an uplink was first said to be in a state that fits, up to `to`; null: never. It may be so already: 0. */
export function stateAfter(
  recording: Recording,
  uplink: Isp,
  fits: (state: string) => boolean,
  from: number,
  to: number,
): number | null {
  const changes = recording.states.filter((change) => change.uplink === uplink);
  const current = changes.findLast(({ at }) => at <= from);
  if (current !== undefined && fits(current.state)) return 0;
  const next = changes.find(({ at, state }) => at > from && at < to && fits(state));
  return next === undefined ? null : next.at - from;
}

/** How often an uplink was said to be other than up in [from, to): for a time when nothing was wrong with it. */
export function alarmsIn(recording: Recording, uplink: Isp, from: number, to: number): number {
  return recording.states.filter(
    (change) => change.uplink === uplink && change.state !== "up" && change.at >= from && change.at < to,
  ).length;
}

/** Why an uplink went down first in [from, to), in the contender's words; null: it did not, or gave no reason. */
export function reasonIn(recording: Recording, uplink: Isp, from: number, to: number): string | null {
  const change = recording.states.find(
    (candidate) => candidate.uplink === uplink && candidate.at >= from && candidate.at < to && candidate.state !== "up",
  );
  return change?.reason || null;
}

/** How long after `from` new connections went by an uplink again: the beginning of the first half second before `to` in which 5 % did; null: never. */
export function useAfter(recording: Recording, uplink: Isp, from: number, to: number): number | null {
  const goesBy = (connection: Connection) => connection.uplink === uplink && connection.answered;
  const first = slices(recording, from, to).findIndex((slice) => shareOf(slice, goesBy) >= notedShare);
  return first === -1 ? null : first * sliceSeconds;
}

/** Percent of a line's rate that was used towards the router in (from, to]. */
export function percentUsed(recording: Recording, isp: Isp, mbit: number, from: number, to: number): number {
  let bytes = 0;
  for (const sample of recording.line) if (sample.at > from && sample.at <= to) bytes += sample.bytes[isp] ?? 0;
  return (100 * bytes * 8) / (mbit * 1e6 * (to - from));
}

/** The moment of an act. */
export function momentOf(recording: Recording, what: string): number {
  const event = recording.events.find((candidate) => candidate.what === what);
  if (event === undefined) throw new Error(`nothing in the recording is called '${what}'`);
  return event.at;
}
