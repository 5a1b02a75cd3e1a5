/**
 * A resolver that knows little: dns-server.ts ADDRESS RCODE
 *
 * Answers every question at port 53 with that response code (0: no error, 2: SERVFAIL), and with one address for an A question
 * that it has no error for.
 */

import { createSocket } from "node:dgram";
import { decode, encode } from "dns-packet";

const [address, rcode] = process.argv.slice(2) as [string, string];
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
socket.on("message", (message, { address: from, port }) => {
  const { id, questions = [] } = decode(message);
  const hasAddress = rcode === "0" && questions[0]?.type === "A";
  const answers = hasAddress ? [{ type: "A", name: questions[0]!.name, data: "192.0.2.10" } as const] : [];
  socket.send(encode({ type: "response", id: id!, flags: Number(rcode), questions, answers }), port, from);
});
socket.bind(53, address, () => console.log("ready"));
