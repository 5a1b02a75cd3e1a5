/**
 * Asks a mirror (mirror.ts) from so many sockets at once, each repeating its datagram every half second until an answer comes.
 *
 *     repeat.ts MIRROR_ADDRESS:PORT COUNT
 *
 * Prints what the mirror said to each, null where nothing came for five seconds: ["203.0.113.2:20001", null]
 */

import { createSocket } from "node:dgram";
import { endpoint } from "./endpoint.ts";

const [mirror, count] = process.argv.slice(2) as [string, string];
const repeatMs = 500;
const patienceMs = 5000;

console.log(JSON.stringify(await Promise.all(Array.from({ length: Number(count) }, ask))));

function ask(): Promise<string | null> {
  const { address, port } = endpoint(mirror);
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const send = () => socket.send("the same again", port, address);
    const repeat = setInterval(send, repeatMs);
    const end = (answer: string | null) => {
      clearInterval(repeat);
      clearTimeout(patience);
      socket.close();
      resolve(answer);
    };
    const patience = setTimeout(end, patienceMs, null);
    socket.on("message", (answer) => end(answer.toString().trim()));
    send();
  });
}
