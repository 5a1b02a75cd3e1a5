/**
 * Introduces pairs of hosts to each other, as the server of a game or a call does: rendezvous.ts PORT
 *
 * Who names a room, in a datagram or as the first line of a TCP connection, is told "OWN PEER", both as
 * ADDRESS:PORT seen from here, as soon as two have named it. A datagram may be repeated. What the two say on
 * their TCP connections after that is passed on.
 */

import { createSocket } from "node:dgram";
import { createServer, type Socket } from "node:net";

const port = Number(process.argv[2]);

const guests = new Map<string, { address: string; port: number }[]>();
const udp = createSocket("udp4");
udp.on("message", (message, { address, port: from }) => {
  const room = message.toString();
  const known = guests.get(room) ?? [];
  guests.set(room, known);
  if (!known.some((guest) => guest.address === address && guest.port === from)) known.push({ address, port: from });
  if (known.length !== 2) return;
  const [first, second] = known.map((guest) => `${guest.address}:${guest.port}`);
  udp.send(`${first} ${second}`, known[0]!.port, known[0]!.address);
  udp.send(`${second} ${first}`, known[1]!.port, known[1]!.address);
});

const waiting = new Map<string, Socket>();
const tcp = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.once("data", (data) => {
    const room = data.toString().trim();
    const first = waiting.get(room);
    if (first === undefined) return void waiting.set(room, socket.pause());
    waiting.delete(room);
    first.write(`${name(first)} ${name(socket)}\n`);
    socket.write(`${name(socket)} ${name(first)}\n`);
    first.pipe(socket).pipe(first);
  });
});

tcp.listen(port, "0.0.0.0", () => udp.bind(port, () => console.log("ready")));

function name(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}
