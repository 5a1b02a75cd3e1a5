/**
 * Traffic whose every piece is accounted for, as a program in a lab's hosts (see load.ts).
 *
 *     traffic.ts serve              TCP 7000 tells each client the address it comes from; UDP 7001 echoes
 *     traffic.ts connect COUNT      that many connections to the server, one after the other (0: four at a
 *                                   time, until ended); a line each: what address the server saw, or what
 *                                   went wrong
 *     traffic.ts stream             numbered datagrams to the server and back until SIGTERM, then what was lost
 */

import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { server } from "../../support/topology.ts";

const tcpPort = 7000;
const udpPort = 7001;
const answerMs = 1000;
/** So slow that what waits in a socket's buffer while its process waits for a processor fits: a second and more. */
const streamIntervalMs = 10;
/** Side by side, so that one that waits for an answer does not hide a moment from the others. */
const endlessLoops = 4;
/** What is still on its way when the stream ends. */
const drainMs = 500;

const [mode, count] = process.argv.slice(2);
if (mode === "serve") serve();
else if (mode === "connect") await connectAll(Number(count));
else if (mode === "stream") await stream();
else throw new Error(`unknown mode ${mode}`);

function serve(): void {
  const tcp = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(`${socket.remoteAddress}`);
  });
  tcp.listen(tcpPort, "0.0.0.0");
  const udp = createSocket("udp4", (message, from) => udp.send(message, from.port, from.address));
  udp.bind(udpPort, () => console.log("serving"));
}

async function connectAll(total: number): Promise<void> {
  if (total === 0) for (let loop = 1; loop < endlessLoops; loop++) void connectAll(Number.POSITIVE_INFINITY);
  for (let n = 0; total === 0 || n < total; n++) console.log(await connectOnce());
}

function connectOnce(): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const socket = connect({ host: server, port: tcpPort, timeout: answerMs });
    socket.on("data", (chunk) => {
      said += chunk;
    });
    socket.on("timeout", () => socket.destroy(new Error("no answer")));
    // A loop that fails at once would spin.
    socket.on("error", (error) => setTimeout(resolve, 20, `failed: ${error.message}`));
    socket.on("end", () => resolve(said));
  });
}

async function stream(): Promise<void> {
  const missing = new Set<number>();
  let sent = 0;
  const udp = createSocket("udp4", (message) => missing.delete(message.readUInt32BE(0)));
  const timer = setInterval(() => {
    const message = Buffer.alloc(200);
    message.writeUInt32BE(sent);
    missing.add(sent++);
    udp.send(message, udpPort, server, () => {});
    if (sent === 1) udp.once("message", () => console.log(`streaming from ${udp.address().port}`));
  }, streamIntervalMs);
  await new Promise((resolve) => process.once("SIGTERM", resolve));
  clearInterval(timer);
  await sleep(drainMs);
  console.log(`sent ${sent} lost ${missing.size}: ${[...missing].join(" ")}`);
  process.exit(0);
}
