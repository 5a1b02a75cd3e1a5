/**
 * Holds sockets open towards an echo server and sends a message on each of them whenever it is told to.
 *
 *     hold.ts tcp|udp COUNT PORT BYTES ADDRESS...
 *
 * Addresses take turns. A round is a message of so many bytes on every open socket: the first at the start, one more with every SIGUSR1. Prints
 * "answered ROUND SOURCE_PORT" for each message that comes back, "closed SOURCE_PORT" for each connection
 * that ends, and "ready" when all sockets are open (a TCP one that cannot be is closed).
 */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect, type Socket as TcpSocket } from "node:net";

const [protocol, count, port, bytes, ...addresses] = process.argv.slice(2) as [string, string, string, string, string];
const sends: ((message: string) => void)[] = [];
let round = 0;

for (let i = 0; i < Number(count); i++) {
  const address = addresses[i % addresses.length]!;
  if (protocol === "tcp") await openTcp(address);
  else await openUdp(address);
}
process.on("SIGUSR1", sendRound);
console.log("ready");
sendRound();

function sendRound(): void {
  round++;
  for (const send of sends) send(`${String(round).padEnd(Number(bytes) - 1)}\n`);
}

function openTcp(address: string): Promise<void> {
  return new Promise((resolve) => {
    const socket: TcpSocket = connect({ host: address, port: Number(port), noDelay: true });
    let source = 0;
    socket.on("connect", () => {
      source = socket.localPort!;
      sends.push((message) => socket.write(message));
      resolve();
    });
    socket.on("data", (data) => tell(data.toString(), source));
    socket.on("error", () => {});
    socket.on("close", () => {
      console.log(`closed ${source}`);
      resolve();
    });
  });
}

function openUdp(address: string): Promise<void> {
  return new Promise((resolve) => {
    const socket: UdpSocket = createSocket("udp4");
    socket.on("message", (data) => tell(data.toString(), socket.address().port));
    socket.on("error", () => {});
    socket.connect(Number(port), address, () => {
      sends.push((message) => socket.send(message));
      resolve();
    });
  });
}

function tell(data: string, source: number): void {
  for (const line of data.trimEnd().split("\n")) console.log(`answered ${line.trimEnd()} ${source}`);
}
