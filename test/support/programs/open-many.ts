/**
 * Opens connections one after the other, many at a time, as fast as it can.
 *
 *     open-many.ts COUNT AT_A_TIME close|reset PORT ADDRESS...
 *
 * Each connection sends a byte to an echo server, gets it back, and ends: by FIN and waiting for the other
 * FIN (close), or by RST (reset). Addresses take turns. Prints how many did all of that, and what became of
 * the others: {"opened": 998, "failed": {"ECONNRESET": 2}}
 */

import { connect } from "node:net";

const [count, atATime, ending, port, ...addresses] = process.argv.slice(2);
const failed: Record<string, number> = {};
let opened = 0;
let next = 0;

const lanes = Array.from({ length: Number(atATime) }, async () => {
  while (next < Number(count)) await openOne(addresses[next++ % addresses.length]!);
});
await Promise.all(lanes);
console.log(JSON.stringify({ opened, failed }));

function openOne(host: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    let answered = false;
    socket.on("connect", () => socket.write("x"));
    socket.on("data", () => {
      answered = true;
      if (ending === "reset") socket.resetAndDestroy();
      else socket.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      failed[error.code!] = (failed[error.code!] ?? 0) + 1;
    });
    socket.on("close", (hadError) => {
      if (answered && !hadError) opened++;
      resolve();
    });
  });
}
