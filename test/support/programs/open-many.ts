/**
 * Opens connections one after the other, many at a time, as fast as it can.
 *
 *     open-many.ts COUNT AT_A_TIME close|reset SOURCE_PORT|any PORT ADDRESS...
 *
 * Each connection ends as soon as it is there, by RST (reset), or sends a byte to an echo server, gets it back
 * and ends by FIN and the other side's FIN (close). Source ports count up from the given one, or are the
 * kernel's choice. Addresses take turns. Prints how many did all of that, and what became of the others:
 * {"opened": 998, "failed": {"ECONNRESET": 2}}
 */

import { connect } from "node:net";

const [count, atATime, ending, sourcePort, port, ...addresses] = process.argv.slice(2);
const failed: Record<string, number> = {};
let opened = 0;
let next = 0;

const lanes = Array.from({ length: Number(atATime) }, async () => {
  while (next < Number(count)) await openOne(next++);
});
await Promise.all(lanes);
console.log(JSON.stringify({ opened, failed }));

function openOne(index: number): Promise<void> {
  return new Promise((resolve) => {
    const host = addresses[index % addresses.length]!;
    const from = sourcePort === "any" ? {} : { localPort: Number(sourcePort) + index };
    const socket = connect({ host, port: Number(port), noDelay: true, ...from });
    let done = false;
    socket.on("connect", () => {
      if (ending === "close") socket.write("x");
      else {
        done = true;
        socket.resetAndDestroy();
      }
    });
    socket.on("data", () => {
      done = true;
      socket.end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      failed[error.code!] = (failed[error.code!] ?? 0) + 1;
    });
    socket.on("close", (hadError) => {
      if (done && !hadError) opened++;
      resolve();
    });
  });
}
