/**
 * Tells from the traffic alone that a line swallows what is sent on it.
 *
 * The evidence are connections that stayed unanswered here, were moved to another uplink with their first repetition and
 * were answered there at once: neither the client nor the destination is dead then. It counts from the last sign
 * of life on, an answer to a new connection. How much is enough depends on the line: so many that by chance, at the rate
 * at which this one has lost first packets lately, it happens once in ten million tries; 12 on a clean line, 24 on one that
 * loses half. A line that is on trial after it was dead has only to fail three times.
 *
 * Besides, not one packet must have come for a second while some were sent: a line that has just become slower by less is no black hole,
 * and its answers come before that. Where packets do come all the same (the way there is broken and not the way back, so one-way
 * streams keep coming), four times the evidence is asked for instead.
 *
 * All that within 20 seconds. What trickles in over a longer time may be a destination that this provider alone cannot reach, such as another
 * provider's name server, while nothing else is sent here.
 *
 * Detected, with 100 connections a second on the line: within 1.5 s of the last packet, of which 1 s is the clients' own time to
 * repeat a SYN; with two a second within 11 s. Nobody is hurt meanwhile but who has a connection on it already. Not detected: a line
 * with fewer than about one new connection a second; one when no other uplink is left to be answered by, or when connections are
 * not rescued; one that loses some packets, or is slow (that is for the probes). Not mistaken for it: a dead or overloaded server
 * (not answered elsewhere, or by the half of its answers here), senders that expect no answer, 30 % loss, a delay of up to a second.
 * Mistaken for it: a destination as above to which more than that is sent, and nothing to others.
 */

/** Ever-growing totals of an uplink. */
export interface TrafficCounts {
  /** Flows opened on it, and those of them that were answered. */
  readonly asked: number;
  readonly answered: number;
  /** First packets repeated. */
  readonly repeated: number;
  /** Flows moved off it, and those of them that another uplink answered. */
  readonly rescued: number;
  readonly answeredElsewhere: number;
  readonly rxPackets: number;
  readonly txPackets: number;
}

const silenceMs = 1_000;
const windowMs = 20_000;
const chanceOfError = 1e-7;
/** A clean line may begin to lose half of everything the next moment: by chance so many in a row once in 3,000 tries, until that is known. */
const leastEvidence = 12;
const mostEvidence = 30;
const evidenceOnTrial = 3;
/** Of the connections that were moved, so many must have been answered: else it is the destinations. */
const answeredElsewhereRatio = 0.5;
const streamFactor = 4;
/** The line's own loss is the greater of those over about so many connections: the lately, and the usually. */
const shortMemory = 16;
const longMemory = 256;
/** What is assumed of a line before anything is known: so many connections with this loss. */
const assumedConnections = 2;
const assumedLossRatio = 0.3;

export class BlackHoleWatch {
  #last: TrafficCounts | null = null;
  /** Totals when something last came in, and when the first packet was sent since; null: none was. */
  #heard: TrafficCounts | null = null;
  #unheardSinceMs: number | null = null;
  /** The same for the last connection that was answered here. */
  #answered: TrafficCounts | null = null;
  #unansweredSinceMs: number | null = null;
  readonly #lately = new LossMemory(shortMemory);
  readonly #usually = new LossMemory(longMemory);
  #isOnTrial = false;

  /** Starts afresh: no evidence, since what was sent until now says nothing. What is known of the line's loss stays. */
  restart(isOnTrial: boolean): void {
    this.#last = null;
    this.#isOnTrial = isOnTrial;
  }

  /** Why the line is a black hole, in words; empty when it is not known to be. */
  observe(counts: TrafficCounts, nowMs: number): string {
    const last = this.#last;
    this.#last = counts;
    if (last === null || hasShrunk(last, counts)) {
      this.#hear(counts, null);
      this.#answer(counts, null);
      return "";
    }
    this.#follow(last, counts, nowMs);
    return this.#judge(counts, nowMs);
  }

  #follow(last: TrafficCounts, counts: TrafficCounts, nowMs: number): void {
    const hasSent = counts.txPackets > last.txPackets;
    const hasAsked = counts.asked > last.asked;
    if (counts.rxPackets > last.rxPackets) this.#hear(counts, hasSent ? nowMs : null);
    else if (hasSent) this.#unheardSinceMs ??= nowMs;
    if (counts.answered > last.answered) {
      this.#learn(counts);
      this.#isOnTrial = false;
      this.#hear(counts, hasSent ? nowMs : null);
      this.#answer(counts, hasAsked ? nowMs : null);
    } else if (hasAsked) this.#unansweredSinceMs ??= nowMs;
  }

  #judge(counts: TrafficCounts, nowMs: number): string {
    const needed = this.#isOnTrial ? evidenceOnTrial : this.#neededEvidence();
    const silent = isEnough(this.#heard!, this.#unheardSinceMs, counts, nowMs, needed);
    const unanswered = isEnough(this.#answered!, this.#unansweredSinceMs, counts, nowMs, needed * streamFactor);
    if (!silent && !unanswered) {
      if (isOver(this.#unheardSinceMs, nowMs)) this.#hear(counts, nowMs);
      if (isOver(this.#unansweredSinceMs, nowMs)) this.#answer(counts, nowMs);
      return "";
    }
    const elsewhere = counts.answeredElsewhere - this.#answered!.answeredElsewhere;
    return `${elsewhere} connections unanswered here were answered by other uplinks`;
  }

  /** The run of lost first packets for which chance is no explanation any more. */
  #neededEvidence(): number {
    const lossRatio = Math.max(this.#lately.lossRatio, this.#usually.lossRatio);
    const run = Math.ceil(Math.log(chanceOfError) / Math.log(lossRatio));
    return Math.min(Math.max(run, leastEvidence), mostEvidence);
  }

  /** Only what ended with a sign of life was loss. */
  #learn(counts: TrafficCounts): void {
    const before = this.#answered!;
    const lost = counts.answeredElsewhere - before.answeredElsewhere;
    const all = lost + counts.answered - before.answered;
    this.#lately.add(lost, all);
    this.#usually.add(lost, all);
  }

  #hear(counts: TrafficCounts, sinceMs: number | null): void {
    this.#heard = counts;
    this.#unheardSinceMs = sinceMs;
  }

  #answer(counts: TrafficCounts, sinceMs: number | null): void {
    this.#answered = counts;
    this.#unansweredSinceMs = sinceMs;
  }
}

/** Connections by their first packet: lost, and all; the older ones count for less. */
class LossMemory {
  readonly #connections: number;
  #lost = 0;
  #all = 0;

  constructor(connections: number) {
    this.#connections = connections;
  }

  /** Below 1. */
  get lossRatio(): number {
    return (this.#lost + assumedLossRatio * assumedConnections) / (this.#all + assumedConnections);
  }

  add(lost: number, all: number): void {
    const kept = Math.max(1 - all / this.#connections, 0);
    this.#lost = this.#lost * kept + lost;
    this.#all = this.#all * kept + all;
  }
}

function isEnough(
  base: TrafficCounts,
  sinceMs: number | null,
  counts: TrafficCounts,
  nowMs: number,
  needed: number,
): boolean {
  if (sinceMs === null || nowMs - sinceMs < silenceMs) return false;
  const rescued = counts.rescued - base.rescued;
  const elsewhere = counts.answeredElsewhere - base.answeredElsewhere;
  return elsewhere >= needed && elsewhere >= rescued * answeredElsewhereRatio;
}

/** Whether a window has passed without enough evidence: the next one begins. */
function isOver(sinceMs: number | null, nowMs: number): boolean {
  return sinceMs !== null && nowMs - sinceMs >= windowMs;
}

function hasShrunk(last: TrafficCounts, counts: TrafficCounts): boolean {
  return counts.asked < last.asked || counts.rxPackets < last.rxPackets || counts.txPackets < last.txPackets;
}
