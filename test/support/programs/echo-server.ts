/** Sends back what it gets, over TCP and UDP: echo-server.ts PORT */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const port = Number(process.argv[2]);
const udp = createSocket({ type: "udp4", reuseAddr: true, recvBufferSize: 4 * 1024 * 1024 });
udp.on("message", (message, { address, port: from }) => udp.send(message, from, address));
// A peer that resets or is gone is none of the server's errors.
udp.on("error", () => {});
const tcp = createServer({ noDelay: true }, (socket) => socket.on("error", () => {}).pipe(socket));
tcp.listen({ port, host: "0.0.0.0", backlog: 4096 }, () => udp.bind(port, () => console.log("ready")));
