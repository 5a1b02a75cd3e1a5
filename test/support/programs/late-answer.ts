/**
 * Answers UDP datagrams when their sender may be gone, and tells what becomes of the answer.
 *
 *     late-answer.ts PORT DELAY_MS
 *
 * Prints "refused ADDRESS PORT" when an ICMP error about its answer comes to the answer's own socket.
 */

import { createSocket } from "node:dgram";

const [port, delayMs] = process.argv.slice(2).map(Number) as [number, number];
const socket = createSocket("udp4");
socket.bind(port, () => console.log("ready"));
// Connected to its peer, so that the kernel hands it the errors about what it sends there.
socket.on("message", (_, { address, port: from }) => {
  socket.connect(from, address, () => setTimeout(() => socket.send("late"), delayMs));
  socket.on("error", (error: NodeJS.ErrnoException) => {
    console.log(`${error.code === "ECONNREFUSED" ? "refused" : error.code} ${address} ${from}`);
    process.exit();
  });
});
