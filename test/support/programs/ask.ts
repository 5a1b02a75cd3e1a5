/**
 * Asks mirrors (mirror.ts) what one local endpoint looks like from there.
 *
 *     ask.ts tcp|udp ADDRESS:PORT MIRROR_ADDRESS:PORT...
 *
 * Every question comes from the one local endpoint (address 0.0.0.0 and port 0: the kernel's choice, the same
 * for all datagrams and another for each connection). Connections stay open until all have been told. Prints
 * what each mirror said, in their order; null where nothing came for two seconds, the error's name where one
 * came: ["203.0.113.2:20001", null]
 */

import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { endpoint } from "./endpoint.ts";

const [protocol, local, ...mirrors] = process.argv.slice(2) as [string, string, ...string[]];
const patienceMs = 2000;

console.log(JSON.stringify(protocol === "tcp" ? await askByTcp() : await askByUdp()));
process.exit();

function askByTcp(): Promise<(string | null)[]> {
  const { address, port } = endpoint(local);
  const questions = mirrors.map(
    (mirror) =>
      new Promise<string | null>((resolve) => {
        const to = endpoint(mirror);
        const socket = connect({ host: to.address, port: to.port, localAddress: address, localPort: port });
        socket.on("data", (answer) => resolve(answer.toString().trim()));
        socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code!));
        setTimeout(resolve, patienceMs, null);
      }),
  );
  return Promise.all(questions);
}

async function askByUdp(): Promise<(string | null)[]> {
  const { address, port } = endpoint(local);
  const answers = new Map<string, string>();
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind({ address, port }, resolve));
  const all = new Promise<void>((resolve) => {
    socket.on("message", (answer, from) => {
      answers.set(`${from.address}:${from.port}`, answer.toString());
      if (mirrors.every((mirror) => answers.has(mirror))) resolve();
    });
    setTimeout(resolve, patienceMs);
  });
  for (const mirror of mirrors) {
    const to = endpoint(mirror);
    socket.send("?", to.port, to.address);
  }
  await all;
  return mirrors.map((mirror) => answers.get(mirror) ?? null);
}
