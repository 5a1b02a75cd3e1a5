/** One round of a probe: all targets asked at once, and the round decided as soon as the quorum is reached, or out of reach. */

import type { Answer } from "./asker.ts";

export interface TargetAnswer {
  readonly target: string;
  readonly answered: boolean;
  readonly rttMs: number | null;
  /** Why not; empty when answered. */
  readonly reason: string;
}

/** What came of a round, all in all. */
export interface RoundOutcome {
  /** Enough targets have answered. */
  readonly answered: boolean;
  /** The median of those that have; null when none has. */
  readonly rttMs: number | null;
  /** Why the round is not answered, target by target; empty when it is. */
  readonly reason: string;
}

export interface ProbeRound extends RoundOutcome {
  /** As they were when the round was decided: one that was still being waited for counts as not answered. */
  readonly targets: readonly TargetAnswer[];
}

const mostReasonLength = 200;
const waiting = "no answer yet";

/** Calls `onDecided` once, and `onSettled` when the last target has had its answer or its time. */
export function askRound(
  targets: readonly string[],
  quorum: number,
  ask: (target: string) => Promise<Answer>,
  onDecided: (round: ProbeRound) => void,
  onSettled: () => void,
): void {
  const answers = targets.map((target): TargetAnswer => ({ target, answered: false, rttMs: null, reason: waiting }));
  const wanted = Math.min(quorum, targets.length);
  let open = targets.length;
  let isDecided = false;
  for (const [index, target] of targets.entries()) {
    // Whatever goes wrong with one question must not end the daemon.
    const failed = (error: Error): Answer => ({ answered: false, reason: error.message });
    void ask(target)
      .catch(failed)
      .then((answer) => {
        open--;
        answers[index] = answer.answered
          ? { target, answered: true, rttMs: answer.rttMs, reason: "" }
          : { target, answered: false, rttMs: null, reason: answer.reason };
        const answered = answers.filter((each) => each.answered).length;
        if (!isDecided && (answered >= wanted || answered + open < wanted)) {
          isDecided = true;
          onDecided(summarise([...answers], answered >= wanted));
        }
        if (open === 0) onSettled();
      });
  }
}

/** A round without anybody to ask. */
export function hopelessRound(reason: string): ProbeRound {
  return { answered: false, rttMs: null, reason, targets: [] };
}

function summarise(targets: readonly TargetAnswer[], answered: boolean): ProbeRound {
  const times = targets.map(({ rttMs }) => rttMs).filter((rttMs) => rttMs !== null);
  const reasons = targets.filter((each) => !each.answered && each.reason !== waiting);
  const reason = answered ? "" : reasons.map(({ target, reason: why }) => `${target}: ${why}`).join("; ");
  return { answered, rttMs: median(times), reason: shorten(reason), targets };
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function shorten(text: string): string {
  return text.length <= mostReasonLength ? text : `${text.slice(0, mostReasonLength - 1)}…`;
}
