/**
 * Asks an uplink's targets, round after round, by that uplink and no other way.
 *
 * What can go wrong is a reason why a round got no answer, never the end of probing: an interface that is missing, an
 * address that is not there, a refusal of the system. A round begins at every interval whether or not the last one is decided, so that
 * an answer that takes long does not slow down the noticing; how many are outstanding is bounded.
 */

import { randomBytes } from "node:crypto";
import type { ProbeConfig } from "../config-types.ts";
import type { Asker, AskerSettings, ProbePath } from "./asker.ts";
import { hasOwnSockets, openAsker } from "./open-asker.ts";
import { askRound, hopelessRound, type ProbeRound } from "./round.ts";

export type { ProbePath } from "./asker.ts";
export type { ProbeRound, TargetAnswer } from "./round.ts";

export interface Prober {
  /** The uplink has changed: what is outstanding is forgotten, and a round by the new path begins at once. Does nothing when it has not. */
  follow(path: ProbePath): void;
  /** No round is reported any more, and everything is closed. */
  stop(): void;
}

export interface ProberOptions {
  /** Identifiers of translated pings, which ours must keep out of; default: the default of `nat.ports`. */
  readonly natPorts?: { readonly firstPort: number; readonly lastPort: number };
  /** The rest is for tests. */
  readonly open?: (settings: AskerSettings) => Asker;
  readonly now?: () => number;
  readonly randomBytes?: (count: number) => Uint8Array;
}

const usualNatPorts = { firstPort: 16_384, lastPort: 32_767 };
/** Beyond 2^31 ms a timer would fire at once. */
const longestMs = 86_400_000;
/** Of a prober whose every question has a socket: an uplink's fair share of those that the shim gives out. */
const mostSockets = 64;

/** Begins at once. `onRound` is called for each round when it is decided, so a round can overtake an earlier one that still waits. */
export function startProber(
  path: ProbePath,
  config: ProbeConfig,
  onRound: (round: ProbeRound) => void,
  options: ProberOptions = {},
): Prober {
  const open = options.open ?? openAsker[config.type];
  const random = options.randomBytes ?? randomBytes;
  const timeoutMs = Math.min(config.timeoutMs, longestMs);
  const openFor = (next: ProbePath): Way => {
    const identifier = pickIdentifier(random, options.natPorts ?? usualNatPorts);
    const now = options.now ?? (() => performance.now());
    return {
      path: next,
      asker: open({ path: next, query: config.query, identifier, now, randomBytes: random }),
      outstanding: 0,
    };
  };
  let way: Way | null = openFor(path);

  const round = () => {
    if (way !== null) ask(way);
  };
  const ask = (asked: Way) => {
    const targets = targetsOf(asked.path, config);
    if (asked.outstanding >= mostOutstanding(config, targets.length)) return;
    const report = (decided: ProbeRound) => {
      if (way === asked) onRound(decided);
    };
    if (targets.length === 0) return queueMicrotask(() => report(hopelessRound(whyNobody(asked.path, config))));
    asked.outstanding++;
    askRound(
      targets,
      config.quorum,
      (target) => asked.asker.ask(target, timeoutMs),
      report,
      () => asked.outstanding--,
    );
  };
  const begin = () => {
    round();
    return setInterval(round, Math.min(config.intervalMs, longestMs));
  };
  let timer = begin();

  return {
    follow: (next) => {
      if (way === null || isSamePath(next, way.path)) return;
      const former = way.asker;
      way = openFor(next);
      former.close();
      clearInterval(timer);
      timer = begin();
    },
    stop: () => {
      clearInterval(timer);
      const former = way?.asker;
      way = null;
      former?.close();
    },
  };
}

/** A path, and what is asked by it. */
interface Way {
  readonly path: ProbePath;
  readonly asker: Asker;
  /** Rounds that still wait for a target. */
  outstanding: number;
}

/** Rounds that may wait at the same time. */
export function mostOutstanding({ type, intervalMs, timeoutMs }: ProbeConfig, targets: number): number {
  const byTime = Math.ceil(timeoutMs / intervalMs) + 1;
  return hasOwnSockets[type] ? Math.max(1, Math.min(byTime, Math.floor(mostSockets / targets))) : byTime;
}

/** Those of the configuration, or the gateway. Tcp and http need to be told where. */
export function targetsOf({ gateway, gateway6 }: ProbePath, { type, targets }: ProbeConfig): readonly string[] {
  if (targets.length > 0) return targets;
  const neighbour = type === "tcp" || type === "http" ? null : (gateway ?? gateway6);
  return neighbour === null ? [] : [neighbour];
}

function whyNobody(path: ProbePath, { type }: ProbeConfig): string {
  if (path.ifindex === 0) return `${path.interface} is missing`;
  return type === "tcp" || type === "http"
    ? `a ${type} probe needs targets`
    : `no gateway is known on ${path.interface}`;
}

/** One that no translated ping has: its answer would go to the host inside that has it. */
export function pickIdentifier(
  random: (count: number) => Uint8Array,
  { firstPort, lastPort }: { readonly firstPort: number; readonly lastPort: number },
): number {
  const [high, low] = random(2);
  const taken = lastPort - firstPort + 1;
  const index = ((high! << 8) | low!) % (65_536 - taken);
  return index < firstPort ? index : index + taken;
}

function isSamePath(a: ProbePath, b: ProbePath): boolean {
  return (
    a.interface === b.interface &&
    a.ifindex === b.ifindex &&
    a.address === b.address &&
    a.gateway === b.gateway &&
    a.address6 === b.address6 &&
    a.gateway6 === b.gateway6 &&
    a.linkHeaderBytes === b.linkHeaderBytes
  );
}
