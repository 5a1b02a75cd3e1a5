/**
 * A web server that knows which way its visitors came.
 *
 *     web-server.ts PORT [ADDRESS]
 *
 *     GET /address               "ADDRESS PORT", the visitor's as seen here
 *     GET /via/ADDRESS/BYTES     so many pseudo-random bytes
 *     PUT /via/ADDRESS           takes what comes and answers with its SHA-256
 *
 * A visitor to /via who does not come from ADDRESS is turned away with 421 (misdirected request): this is
 * how a test sends a transfer over the uplink that it wants, by trying again from another port.
 */

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { pseudoRandom } from "./pseudo-random.ts";

const server = createServer((request, response) => void answer(request, response));
server.on("checkContinue", (request, response) => {
  if (!isMisdirected(request)) response.writeContinue();
  void answer(request, response);
});
server.listen(Number(process.argv[2]), process.argv[3] ?? "0.0.0.0", () => console.log("ready"));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { remoteAddress, remotePort } = request.socket;
  const [, what, , bytes] = request.url!.split("/");
  if (what === "address") return void response.end(`${remoteAddress} ${remotePort}\n`);
  if (isMisdirected(request)) return void response.writeHead(421, { Connection: "close" }).end();
  try {
    if (request.method === "PUT") {
      const hash = createHash("sha256");
      await pipeline(request, hash);
      response.end(`${hash.digest("hex")}\n`);
    } else {
      response.setHeader("Content-Length", bytes!);
      await pipeline(pseudoRandom(Number(bytes)), response);
    }
  } catch {
    // The visitor left: its business, and its exit status.
    response.destroy();
  }
}

function isMisdirected(request: IncomingMessage): boolean {
  const [, what, address] = request.url!.split("/");
  return what === "via" && address !== request.socket.remoteAddress;
}
