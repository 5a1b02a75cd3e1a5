/**
 * Keeps downloads going, counts their bytes every tenth of a second, and says when one of them ends and how.
 *
 *     transfers.ts COUNT endless RATE PORT ADDRESS         those that end stay away until SIGUSR1 asks for new ones
 *     transfers.ts COUNT MEAN_BYTES RATE PORT ADDRESS      lengths at random (exponential, seeded); the next begins when one ends
 *
 * Speaks to load-server.ts (which says what RATE is), and checks that no byte is missing or out of place. Prints "ready" when all have
 * begun, and a line of JSON (`TransferRecord`) for every event, until SIGTERM.
 */

import { connect } from "node:net";
import { setInterval } from "node:timers/promises";
import { periodBytes } from "./load-server.ts";

export type TransferRecord =
  /** `via` is the address that the server saw. */
  | { event: "begin"; at: number; id: number; via: string }
  /** `error` null: all the bytes that were asked for have come. "corrupt": others came. */
  | { event: "end"; at: number; id: number; error: string | null }
  /** What came since the line before, by id; nothing: not named. */
  | { event: "bytes"; at: number; bytes: Record<number, number> };

const tickMs = 100;
const retryMs = 200;

if (import.meta.main) {
  const [count, mean, rate, port, address] = process.argv.slice(2) as [string, string, string, string, string];
  const random = mulberry32(1);
  const isEndless = mean === "endless";
  let received: Record<number, number> = {};
  let running = 0;
  let nextId = 0;
  let begun = 0;

  process.on("SIGUSR1", fill);
  process.on("SIGTERM", () => process.exit());
  fill();
  for await (const _ of setInterval(tickMs)) {
    tell({ event: "bytes", at: clock(), bytes: received });
    received = {};
    if (!isEndless) fill();
  }

  function fill(): void {
    while (running < Number(count)) {
      running++;
      transfer(nextId++);
    }
  }

  function transfer(id: number): void {
    const wanted = isEndless ? null : Math.max(1, Math.round(-Math.log(1 - random()) * Number(mean)));
    const socket = connect({ host: address, port: Number(port) });
    let via = "";
    let offset = 0;
    let error: string | null = null;
    socket.on("connect", () => socket.write(`get ${wanted ?? "endless"} ${rate}\n`));
    socket.on("data", (data) => {
      let body = data;
      if (via === "") {
        const line = data.indexOf("\n");
        via = data.toString("latin1", 0, line).split(" ")[0]!;
        body = data.subarray(line + 1);
        tell({ event: "begin", at: clock(), id, via });
        if (++begun === Number(count)) console.log("ready");
      }
      received[id] = (received[id] ?? 0) + body.length;
      if (!isInPlace(body, offset)) {
        error = "corrupt";
        socket.destroy();
      }
      offset += body.length;
    });
    socket.on("error", (failure: NodeJS.ErrnoException) => {
      error ??= failure.code ?? failure.message;
    });
    socket.on("close", () => {
      if (error === null && offset !== wanted) error = "cut short";
      tell({ event: "end", at: clock(), id, error });
      // One that never began shall not be begun again in a hot loop.
      setTimeout(() => running--, via === "" ? retryMs : 0);
    });
  }
}

/** The ends of a piece are where a gap would show. */
function isInPlace(body: Buffer, offset: number): boolean {
  if (body.length === 0) return true;
  const last = body.length - 1;
  return body[0] === offset % periodBytes && body[last] === (offset + last) % periodBytes;
}

function clock(): number {
  return performance.timeOrigin + performance.now();
}

function tell(record: TransferRecord): void {
  console.log(JSON.stringify(record));
}

/** A small generator for lengths, so that every run asks for the same ones. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}
