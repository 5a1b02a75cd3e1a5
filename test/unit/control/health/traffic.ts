/**
 * Connections over one uplink, as its counters show them: each sends a SYN and repeats it after a second when nobody has
 * answered, by another uplink, which always works. Time goes on in ticks of 100 ms, at which the counters are looked at.
 */

import type { TrafficCounts } from "../../../../src/control/health.ts";

export interface Conditions {
  /** New connections a second; their times are random. */
  readonly perSecond: number;
  /** Of packets, each way. */
  readonly lossRatio?: number;
  readonly rttMs?: number;
  /** Of the destinations, by whatever uplink. */
  readonly answeringRatio?: number;
  /** Packets that come and go all the time, of something that expects no answer. */
  readonly streamIn?: boolean;
  readonly streamOut?: boolean;
}

export interface Generator {
  nowMs: number;
  readonly counts: TrafficCounts;
  /** Lets time pass under these conditions; `look` is called at each tick until it returns true. */
  run(forMs: number, conditions: Conditions, look: (counts: TrafficCounts, nowMs: number) => boolean): void;
}

type Mutable = { -readonly [Key in keyof TrafficCounts]: number };

const tickMs = 100;
const retransmitMs = 1_000;
const elsewhereRttMs = 30;

/** `random`: numbers from 0 to 1. */
export function traffic(random: () => number): Generator {
  const counts: Mutable = {
    asked: 0,
    answered: 0,
    repeated: 0,
    rescued: 0,
    answeredElsewhere: 0,
    rxPackets: 0,
    txPackets: 0,
  };
  /** What is going to happen, by tick. */
  const events = new Map<number, (() => void)[]>();
  const after = (atMs: number, event: () => void) => {
    const tick = Math.ceil(atMs / tickMs);
    events.set(tick, [...(events.get(tick) ?? []), event]);
  };
  const open = (atMs: number, { lossRatio = 0, rttMs = 30, answeringRatio = 1 }: Conditions) => {
    counts.asked++;
    counts.txPackets++;
    const isTried = random() < answeringRatio;
    const passes = isTried && random() >= lossRatio && random() >= lossRatio;
    if (passes && rttMs < retransmitMs) {
      after(atMs + rttMs, () => {
        counts.answered++;
        counts.rxPackets++;
      });
      return;
    }
    after(atMs + retransmitMs, () => {
      counts.repeated++;
      counts.rescued++;
    });
    if (random() >= answeringRatio) return;
    after(atMs + retransmitMs + elsewhereRttMs, () => counts.answeredElsewhere++);
  };
  const generator: Generator = {
    nowMs: 0,
    counts,
    run(forMs, conditions, look) {
      const untilMs = generator.nowMs + forMs;
      while (generator.nowMs < untilMs) {
        generator.nowMs += tickMs;
        for (let due = conditions.perSecond * (tickMs / 1000) * 2 * random(); random() < due; due--) {
          open(generator.nowMs - tickMs * random(), conditions);
        }
        if (conditions.streamIn === true) counts.rxPackets += 5;
        if (conditions.streamOut === true) counts.txPackets += 5;
        const tick = Math.ceil(generator.nowMs / tickMs);
        for (const event of events.get(tick) ?? []) event();
        events.delete(tick);
        if (look({ ...counts }, generator.nowMs)) return;
      }
    },
  };
  return generator;
}
