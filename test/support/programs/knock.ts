/**
 * Knocks at many ports and tells whether any answered.
 *
 *     knock.ts tcp|udp ADDRESS FIRST_PORT LAST_PORT FROM_ADDRESS
 *
 * Sends a SYN or a datagram to each port, gives them all half a second, and prints what came back:
 * {"sent": 1000, "answers": {"ECONNREFUSED": 3}}. Silence is no entry at all.
 */

import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [protocol, address, first, last, localAddress] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const answers: Record<string, number> = {};
let sent = 0;

for (let port = Number(first); port <= Number(last); port++, sent++) {
  if (protocol === "tcp") {
    const socket = connect({ host: address, port, localAddress });
    socket.on("connect", () => note("connect"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => note(code!));
  } else {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", () => note("message"));
    socket.on("error", ({ code }: NodeJS.ErrnoException) => note(code!));
    socket.bind({ address: localAddress }, () => socket.connect(port, address, () => socket.send("knock")));
  }
}
setTimeout(() => {
  console.log(JSON.stringify({ sent, answers }));
  process.exit();
}, 500);

function note(answer: string): void {
  answers[answer] = (answers[answer] ?? 0) + 1;
}
