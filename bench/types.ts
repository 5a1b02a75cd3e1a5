/**
 * The words of the benchmark.
 *
 * A *contender* is a way to get the router's traffic onto its uplinks; a *scenario* is a way to drive
 * traffic through the router and read one figure off it. Both are objects in a list (contenders.ts,
 * scenarios/index.ts): one more is one more entry. A scenario is run in *rounds*, each contender once a
 * round on the same lab, in alternating order, and contenders are compared within a round, so that what
 * the machine does besides falls on both.
 */
import type { Host, Lab } from "../test/support/lab.ts";

export interface Contender {
  /** On the command line and in the JSON. */
  readonly name: string;
  /** At the head of a column. */
  readonly title: string;
  /** One sentence for the report. */
  readonly about: string;
  /** Makes the router forward. Resolves when traffic flows. */
  start(lab: Lab): Promise<RunningContender>;
}

export interface RunningContender {
  /** Counts of what it dropped since it was started, by reason; only what is not 0. */
  drops(): Promise<Record<string, number>>;
  /** Takes everything away that `start` set, and what the traffic left. */
  stop(): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** What runs, in a sentence or two for the report. */
  readonly about: string;
  /** What was expected before the first run, and from what. */
  readonly expected: string;
  readonly unit: "Gbit/s" | "packets/s" | "connections/s" | "µs";
  /** Whether the higher figure is the better one. */
  readonly better: "higher" | "lower";
  /** What `work` of its outcomes counts. */
  readonly workUnit: "GB" | "million packets" | "thousand connections" | "ping";
  /** The ratio to the kernel that the project aims at; null for information only. */
  readonly target: number | null;
  /** By name; the kernel, that all are compared with, is always one of them. */
  readonly contenders: readonly string[];
  /** Enough flows that every uplink must get a share; a run where one does not is made again. */
  readonly usesAllUplinks: boolean;
  /** Whether `--quick` runs it. */
  readonly quick: boolean;
  /** Sets up what the lab needs besides, before the first round. */
  prepare?(lab: Lab): Promise<void>;
  run(context: RunContext): Promise<Outcome>;
  /** Takes away what a run left in the lab and the next would find. */
  settle?(lab: Lab): Promise<void>;
}

export interface RunContext {
  readonly lab: Lab;
  /** Traffic runs this long before anything counts. */
  readonly warmUpMs: number;
  readonly runMs: number;
  /** Compiled programs of bench/tools, by name. */
  readonly tools: Readonly<Record<string, string>>;
  readonly clients: readonly Host[];
}

/** What a scenario reads off one run, of the time after the warm-up. */
export interface Outcome {
  /** In the scenario's unit. */
  readonly value: number;
  /** What was done, in the scenario's `workUnit`. */
  readonly work: number;
  /** Other figures worth keeping: retransmissions, failures, other percentiles. */
  readonly notes: Readonly<Record<string, number>>;
}

/** An outcome, and what the machine did meanwhile. */
export interface Sample extends Outcome {
  readonly contender: string;
  readonly round: number;
  readonly seconds: number;
  /** Of all processors together: users, system, interrupts. */
  readonly cpuSeconds: number;
  /** The first uplink's share of the bytes that crossed all of them, both directions. */
  readonly firstUplinkShare: number;
  readonly drops: Readonly<Record<string, number>>;
}

export interface Failure {
  readonly contender: string;
  readonly round: number;
  readonly message: string;
}
