/** Waits for what the outside world does in its own time. */

import { setTimeout as sleep } from "node:timers/promises";

/** Returns when `holds` does. Throws, with what `holds` looked at, when that takes longer than 20 s. */
export async function until(holds: () => boolean | Promise<boolean>, what = String(holds)): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`never came true: ${what}`);
    await sleep(20);
  }
}
