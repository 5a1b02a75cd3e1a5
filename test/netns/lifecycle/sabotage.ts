/**
 * Preloaded into sluice by `node --import`: makes one worker, or the main thread, fail when the file $SABOTAGE
 * appears, in the way that it says. A worker's loop never returns to its event loop, but it reads the clock in every turn.
 */

import { existsSync, readFileSync } from "node:fs";
import { isMainThread, workerData } from "node:worker_threads";

const order = process.env.SABOTAGE!;
/** The last worker: with several, the others must go too. */
const isVictim = !isMainThread && workerData?.worker === workerData?.workers - 1;

if (isMainThread) {
  const timer = setInterval(
    () => existsSync(order) && readFileSync(order, "utf8") === "main thread" && fail("throws"),
    50,
  );
  timer.unref();
} else if (isVictim) {
  const now = performance.now.bind(performance);
  performance.now = () => {
    if (existsSync(order)) fail(readFileSync(order, "utf8"));
    return now();
  };
}

function fail(how: string): void {
  if (how === "throws") throw new Error("sabotaged");
  if (how === "exits") process.exit(0);
  while (how === "hangs");
}
