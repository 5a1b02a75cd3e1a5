/**
 * Opens so many TCP connections a second, each with one small request and its answer, until SIGTERM.
 *
 *     connection-load.ts PER_SECOND PORT ADDRESS...
 *
 * Speaks to load-server.ts. Addresses take turns. Prints "ready", then a line of JSON for every connection that is
 * over (`ConnectionRecord`), and at the end waits for those that are still open. Everything is bounded by `patienceMs`.
 */

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface ConnectionRecord {
  /** Milliseconds of the machine's clock, which all namespaces share. */
  startedAt: number;
  address: string;
  /** Until the handshake was complete; null when it never was. */
  connectMs: number | null;
  /** Until the answer was there. */
  answerMs: number | null;
  /** From which address the server saw it come. */
  via: string | null;
  /** Why it failed: an errno's name, "timeout", or "no answer" when it was closed without one. */
  error: string | null;
}

/** Less than the ten seconds that a program has to end when it is told to. */
const patienceMs = 9_000;

if (import.meta.main) {
  const [perSecond, port, ...addresses] = process.argv.slice(2) as [string, string, ...string[]];
  const open = new Set<Promise<void>>();
  let ending = false;
  process.on("SIGTERM", () => {
    ending = true;
  });
  console.log("ready");
  const began = performance.now();
  for (let index = 0; !ending; index++) {
    // By the clock, so that what a slow moment left out is made up for.
    const dueMs = began + (index * 1000) / Number(perSecond) - performance.now();
    if (dueMs > 0) await sleep(dueMs);
    const connection = converse(addresses[index % addresses.length]!, Number(port)).then((record) => {
      console.log(JSON.stringify(record));
      open.delete(connection);
    });
    open.add(connection);
  }
  await Promise.all(open);
}

function converse(address: string, port: number): Promise<ConnectionRecord> {
  return new Promise((resolve) => {
    const startedAt = performance.timeOrigin + performance.now();
    const sinceMs = () => performance.timeOrigin + performance.now() - startedAt;
    const record: ConnectionRecord = { startedAt, address, connectMs: null, answerMs: null, via: null, error: null };
    const socket = connect({ host: address, port, noDelay: true });
    const timer = setTimeout(() => {
      record.error = "timeout";
      socket.destroy();
    }, patienceMs);
    socket.on("connect", () => {
      record.connectMs = sinceMs();
      socket.write("who\n");
    });
    socket.on("data", (data) => {
      record.answerMs ??= sinceMs();
      record.via ??= data.toString("latin1").split(" ")[0]!;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      record.error ??= error.code ?? error.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      // An answer that came is an answer, whatever ended the connection.
      if (record.answerMs !== null) record.error = null;
      else record.error ??= "no answer";
      resolve(record);
    });
  });
}
