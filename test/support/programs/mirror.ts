/**
 * Tells every visitor what he looks like from here.
 *
 *     mirror.ts [--known-to ADDRESS:PORT] [ADDRESS:]PORT...
 *
 * A datagram is answered with "ADDRESS:PORT" of its sender; a TCP connection is told the same and closed when
 * the visitor closes it. With --known-to it first asks another mirror from each of its own ports, by UDP and by TCP,
 * and stays connected: a translator on the way then has mappings for them.
 */

import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { type Endpoint, endpoint } from "./endpoint.ts";

const words = process.argv.slice(2);
const known = words[0] === "--known-to" ? endpoint(words.splice(0, 2)[1]!) : undefined;
const endpoints = words.map((word) => endpoint(word.includes(":") ? word : `0.0.0.0:${word}`));
await Promise.all(endpoints.flatMap((own) => [openTcp(own), openUdp(own)]));
console.log("ready");

async function openTcp({ port, address }: Endpoint): Promise<void> {
  // Before it listens: a port that listens cannot connect.
  if (known !== undefined) await introduceTcp(known, port);
  const server = createServer((socket) => {
    // A visitor that resets or is gone is none of the mirror's errors.
    socket.on("error", () => {}).resume();
    socket.write(`${socket.remoteAddress}:${socket.remotePort}\n`);
  });
  return new Promise((resolve) => server.listen({ port, host: address, backlog: 1024 }, resolve));
}

function introduceTcp({ address, port }: Endpoint, localPort: number): Promise<unknown> {
  const socket = connect({ host: address, port, localPort });
  return new Promise((resolve) => socket.once("data", resolve));
}

function openUdp({ port, address }: Endpoint): Promise<void> {
  const socket = createSocket("udp4");
  socket.on("error", () => {});
  return new Promise((resolve) => {
    socket.on("message", (_, from) => {
      // Two mirrors would never stop.
      if (from.address === known?.address && from.port === known.port) resolve();
      else socket.send(`${from.address}:${from.port}`, from.port, from.address);
    });
    socket.bind({ port, address }, () => {
      if (known === undefined) resolve();
      else socket.send("?", known.port, known.address);
    });
  });
}
