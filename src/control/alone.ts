/**
 * One sluice at a time in a network namespace, for a setting that is read, changed and written back.
 *
 * The lock is an abstract Unix socket (unix(7)). Its name belongs to the network namespace, as the
 * setting does; one process can have it; and it goes with that process, also through `kill -9`. So
 * there is no file and nothing stale. Any user could take the name, hence who has waited long enough goes
 * on without: losing another instance's simultaneous change is better than not being able to end.
 */

import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const name = "\0sluice-settings";
const retryMs = 10;
const patienceMs = 3000;

/** What `task` returns, run while no other sluice in this network namespace runs one. */
export async function alone<T>(task: () => T | Promise<T>): Promise<T> {
  const deadline = performance.now() + patienceMs;
  let lock = await take();
  while (lock === undefined && performance.now() < deadline) {
    await sleep(retryMs);
    lock = await take();
  }
  try {
    return await task();
  } finally {
    lock?.close();
  }
}

/** Undefined when another has it. */
function take(): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((connection) => connection.destroy());
    server.once("error", () => resolve(undefined));
    server.listen(name, () => resolve(server));
  });
}
