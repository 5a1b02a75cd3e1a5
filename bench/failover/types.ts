/**
 * The words of the failover benchmark.
 *
 * A *contender* is a way to use two uplinks; a *scenario* does something to the uplinks while a *load* runs, and
 * reads *figures* off the *recording*. All times in a recording are seconds since the load was complete, by the
 * machine's one clock.
 */

import type { Isp, Lab } from "../../test/support/lab.ts";
import type { Sluice } from "../../test/support/sluice.ts";

/** What a scenario asks of a contender beyond the forwarding itself; who cannot do it ignores it. */
export interface Wishes {
  readonly policy?: "weighted-hash" | "least-busy" | "lowest-latency";
  /** Mbit/s each way, by uplink. */
  readonly rateMbit?: Readonly<Partial<Record<Isp, number>>>;
  /** How long a closed connection is remembered. */
  readonly closedSeconds?: number;
  /** Keys of an uplink's configuration on top, for sluice. */
  readonly uplink?: object;
}

export interface Contender {
  readonly name: string;
  readonly title: string;
  /** One sentence for the report. */
  readonly about: string;
  start(lab: Lab, wishes: Wishes): Promise<RunningContender>;
}

export interface Opinion {
  /** "up" or something else. */
  readonly state: string;
  /** Empty when it gives none. */
  readonly reason: string;
}

export interface RunningContender {
  /** What it thinks of its uplinks. Null: it has no opinion to ask for. */
  states(): Promise<Readonly<Record<string, Opinion>> | null>;
  /** What it holds at the moment, for leaks. */
  holdings(): Promise<Readonly<Record<string, number>>>;
  /** Null when it is not sluice. */
  readonly sluice: Sluice | null;
  stop(): Promise<void>;
}

export interface Connection {
  readonly startedAt: number;
  readonly address: string;
  /** Null: never connected. */
  readonly connectMs: number | null;
  readonly answered: boolean;
  /** Null when the server never saw it. */
  readonly uplink: Isp | null;
  readonly error: string | null;
}

export interface Transfer {
  readonly id: number;
  readonly uplink: Isp;
  readonly beganAt: number;
  /** Null: still there at the end. */
  readonly endedAt: number | null;
  readonly error: string | null;
}

export interface Recording {
  readonly seconds: number;
  /** What was done to the lab, in order. */
  readonly events: readonly { readonly at: number; readonly what: string }[];
  readonly connections: readonly Connection[];
  readonly transfers: readonly Transfer[];
  /** What the transfers received in the tenth of a second before `at`, by uplink and by transfer. */
  readonly received: readonly { readonly at: number; readonly bytes: ReadonlyMap<number, number> }[];
  /** Every change of what the contender says of an uplink, the first at 0. */
  readonly states: readonly (Opinion & { readonly at: number; readonly uplink: string })[];
  /** What crossed each provider's link towards the router since the sample before, in bytes. */
  readonly line: readonly { readonly at: number; readonly bytes: Readonly<Partial<Record<Isp, number>>> }[];
}

/** Null: does not apply to this contender. */
export type Figure = number | string | null;

/** One line of a scenario's table. */
export interface Row {
  readonly name: string;
  readonly title: string;
  /** For numbers. "" counts. */
  readonly unit: "s" | "ms" | "%" | "" | "MiB";
  /** What the project promises of sluice, in words; empty: for information. */
  readonly target: string;
  /** Whether a figure keeps the promise; only asked of sluice, with and without probes. */
  readonly keeps?: (figure: Figure, contender: string) => boolean;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** What happens, for the report. */
  readonly about: string;
  readonly rows: readonly Row[];
  /** By name. */
  readonly contenders: readonly string[];
  /** Those that `--quick` runs; none: it leaves the scenario out. */
  readonly quick: readonly string[];
  /** Whether its recordings are worth a picture. */
  readonly picture: boolean;
  run(context: RunContext): Promise<Result>;
}

export interface RunContext {
  readonly lab: Lab;
  readonly contender: Contender;
  /** 1, or less for a quick run: what all waits are multiplied by. */
  readonly pace: number;
}

export interface Result {
  readonly figures: Readonly<Record<string, Figure>>;
  readonly recording: Recording | null;
}
