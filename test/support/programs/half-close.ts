/**
 * One end of a TCP connection whose halves end far apart.
 *
 *     half-close.ts listen PORT           ROLE
 *     half-close.ts connect ADDRESS:PORT  ROLE
 *
 * ROLE is "close" (ends its own half at once, takes what the other sends and prints its SHA-256) or "send
 * PAUSE_MS BYTES" (waits until the other's half has ended, and so much longer, and only then sends so many
 * pseudo-random bytes).
 */

import { createHash } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { endpoint } from "./endpoint.ts";
import { pseudoRandom } from "./pseudo-random.ts";

const [how, where, role, pauseMs, bytes] = process.argv.slice(2) as [string, string, string, string, string];

if (how === "connect") {
  const { address, port } = endpoint(where);
  play(connect({ host: address, port, allowHalfOpen: true }));
} else {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close();
    play(socket);
  });
  server.listen(Number(where), "0.0.0.0", () => console.log("ready"));
}

async function play(socket: Socket): Promise<void> {
  if (role === "close") {
    socket.end("over to you\n");
    const hash = createHash("sha256");
    await pipeline(socket, hash);
    console.log(hash.digest("hex"));
  } else {
    await new Promise((resolve) => socket.resume().once("end", resolve));
    await sleep(Number(pauseMs));
    await pipeline(pseudoRandom(Number(bytes)), socket);
  }
}
