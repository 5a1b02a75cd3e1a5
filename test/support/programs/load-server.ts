/**
 * The far end of connection-load.ts and transfers.ts: load-server.ts PORT
 *
 * A connection begins with a line of the client's. To "who" it is told from where it comes, "ADDRESS PORT", and
 * the connection ends. To "get BYTES RATE" the same, then so many bytes, or "endless"; RATE is in bytes a second, or
 * "greedy" for as fast as it goes. A rate is the sender's own pace: what a line could not take is not made up for.
 */

import { createServer, type Socket } from "node:net";

/** A period that is no power of two, so that a gap or a repetition of whole buffers shows. */
export const periodBytes = 251;
const block = Buffer.from(Array.from({ length: periodBytes * 256 }, (_, index) => index % periodBytes));

if (import.meta.main) {
  const server = createServer({ noDelay: true }, (socket) => {
    // A client that resets or is gone is none of the server's errors.
    socket.on("error", () => {});
    let request = "";
    socket.on("data", function read(data) {
      request += data.toString("latin1");
      if (!request.includes("\n") && request.length < 64) return;
      socket.off("data", read).resume();
      answer(socket, request.trim());
    });
  });
  server.listen({ port: Number(process.argv[2]), host: "0.0.0.0", backlog: 4096 }, () => console.log("ready"));
}

function answer(socket: Socket, request: string): void {
  socket.write(`${socket.remoteAddress} ${socket.remotePort}\n`);
  const [verb, amount, rate] = request.split(" ");
  if (verb !== "get") return void socket.end();
  const bytes = amount === "endless" ? Number.POSITIVE_INFINITY : Number(amount);
  if (rate === "greedy") sendGreedily(socket, bytes);
  else sendAtPace(socket, bytes, Number(rate));
}

function sendGreedily(socket: Socket, bytes: number): void {
  const next = pieces(bytes);
  const fill = () => {
    for (let piece = next(block.length); !socket.destroyed; piece = next(block.length)) {
      if (piece.length === 0) return void socket.end();
      if (!socket.write(piece)) return;
    }
  };
  socket.on("drain", fill);
  fill();
}

const paceMs = 20;

function sendAtPace(socket: Socket, bytes: number, bytesPerSecond: number): void {
  const next = pieces(bytes);
  const timer = setInterval(() => {
    if (socket.writableNeedDrain) return;
    const piece = next(Math.round((bytesPerSecond * paceMs) / 1000));
    if (piece.length > 0) socket.write(piece);
    else socket.end();
  }, paceMs);
  socket.on("close", () => clearInterval(timer));
}

/** Gives the next bytes of so many, at most as many as are asked for, and none when all have been given. */
function pieces(bytes: number): (most: number) => Buffer {
  let given = 0;
  return (most) => {
    const from = given % periodBytes;
    const piece = block.subarray(from, Math.min(block.length, from + Math.min(most, bytes - given)));
    given += piece.length;
    return piece;
  };
}
