/**
 * Questions that are on their way: each ends by its answer, by a reason why there is none, or by its timeout, whichever
 * comes first, and exactly once.
 */

import { type Answer, failed } from "./asker.ts";

export interface Asks<Key> {
  /**
   * Starts the clock of a question, which must not be outstanding yet. `look`: called when the time is over, to notice an answer
   * that is there already. `release`: called when it has ended, however.
   */
  begin(key: Key, timeoutMs: number, look: () => void, release?: () => void): Promise<Answer>;
  /** The answer has come, and had been waiting for us so long. One that took longer than the timeout does not count. */
  answer(key: Key, waitedMs: number): void;
  /** The answer is there, nobody knows since when: it counts as one that took until now, but no longer than the timeout. */
  answerSeen(key: Key): void;
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
  timer: NodeJS.Timeout;
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
        const begunAt = now();
        const giveUp = () => end(key, () => failed(`no answer within ${timeoutMs} ms`));
        const timeout = () => {
          look();
          // A loop that was busy serves timers first, and only then what the sockets have got meanwhile: it is given back the time it lost.
          const lateMs = now() - begunAt - timeoutMs;
          if (outstanding.has(key)) ask.timer = setTimeout(giveUp, Math.max(0, Math.min(lateMs, timeoutMs)));
        };
        const finish = (answer: Answer) => {
          release();
          resolve(answer);
        };
        const ask: Ask = { begunAt, timeoutMs, timer: setTimeout(timeout, timeoutMs), end: finish };
        outstanding.set(key, ask);
      }),
    answer: (key, waitedMs) => end(key, (ask) => judge(Math.max(0, now() - ask.begunAt - waitedMs), ask)),
    answerSeen: (key) => end(key, (ask) => judge(Math.min(now() - ask.begunAt, ask.timeoutMs), ask)),
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
