/**
 * Questions that are on their way: each ends by its answer, by a reason why there is none, or by its timeout, whichever
 * comes first, and exactly once.
 */

import { type Answer, failed } from "./asker.ts";

export interface Asks<Key> {
  /**
   * Starts the clock of a question, which must not be outstanding yet. `look`: called when the time is over, as the last chance to
   * notice an answer that is there already, because the event loop was busy. `release`: called when it has ended, however.
   */
  begin(key: Key, timeoutMs: number, look: () => void, release?: () => void): Promise<Answer>;
  /** The answer has come, and had been waiting for us so long. One that took longer than the timeout does not count. */
  answer(key: Key, waitedMs?: number): void;
  /** The same where the round trip was measured by the kernel. */
  answerMeasured(key: Key, rttMs: number): void;
  fail(key: Key, reason: string): void;
  failAll(reason: string): void;
  /** Of those outstanding, the oldest first. */
  keys(): Key[];
}

interface Ask {
  readonly begunAt: number;
  readonly timeoutMs: number;
  readonly timer: NodeJS.Timeout;
  readonly end: (answer: Answer) => void;
}

export function openAsks<Key>(now: () => number): Asks<Key> {
  const outstanding = new Map<Key, Ask>();
  const end = (key: Key, answerOf: (ask: Ask) => Answer) => {
    const ask = outstanding.get(key);
    if (ask === undefined) return;
    outstanding.delete(key);
    clearTimeout(ask.timer);
    ask.end(answerOf(ask));
  };
  return {
    begin: (key, timeoutMs, look, release = () => {}) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => {
          look();
          end(key, () => failed(`no answer within ${timeoutMs} ms`));
        }, timeoutMs);
        const finish = (answer: Answer) => {
          release();
          resolve(answer);
        };
        outstanding.set(key, { begunAt: now(), timeoutMs, timer, end: finish });
      }),
    answer: (key, waitedMs = 0) => end(key, (ask) => judge(Math.max(0, now() - ask.begunAt - waitedMs), ask)),
    answerMeasured: (key, rttMs) => end(key, (ask) => judge(rttMs, ask)),
    fail: (key, reason) => end(key, () => failed(reason)),
    failAll: (reason) => {
      for (const key of [...outstanding.keys()]) end(key, () => failed(reason));
    },
    keys: () => [...outstanding.keys()],
  };
}

function judge(rttMs: number, { timeoutMs }: Ask): Answer {
  return rttMs <= timeoutMs ? { answered: true, rttMs } : failed(`answered only after ${Math.round(rttMs)} ms`);
}
