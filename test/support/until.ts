import { setTimeout as sleep } from "node:timers/promises";

const patienceMs = 10_000;

/** Waits until it is so, asking again and again. Throws, naming what it waited for, when it does not come true for ten seconds. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + patienceMs; !(await isSo()); await sleep(20)) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
  }
}
