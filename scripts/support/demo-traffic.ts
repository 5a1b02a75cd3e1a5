/**
 * The demo's traffic, run inside the lab's hosts:
 *
 *     serve PORT                             greets every connection with the address it came from, then echoes
 *     connect HOST PORT COUNT PARALLEL       opens and closes COUNT connections; prints {address: count}
 *     probe HOST PORT INTERVAL_MS            opens one every INTERVAL_MS for ever; prints a line for each that ended
 *     hold HOST PORT COUNT INTERVAL_MS       keeps COUNT open and sends on each, opens one that was reset again; prints [{address, silentMs, ...}] for ever
 *
 * The address that the server saw tells the uplink. A connection without a greeting has failed after four seconds.
 */
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export interface Probe {
  /** Milliseconds since the epoch, on the clock that all processes of the machine share. */
  startedMs: number;
  /** Until it was open, or had failed. */
  tookMs: number;
  /** null: it failed. */
  address: string | null;
}

export interface Held {
  address: string;
  /** Since the last echo came. */
  silentMs: number;
  /** When it was reset, on the clock of `startedMs`; null: never. */
  resetMs: number | null;
}

const failedAfterMs = 4000;

/** What runs one of them, for `lab.exec` and `lab.spawn`. */
export function trafficCommand(...words: (string | number)[]): string[] {
  return [process.execPath, fileURLToPath(import.meta.url), ...words.map(String)];
}

function serve(port: number): void {
  const server = createServer((socket) => {
    // A client that goes away is no concern of the server's.
    socket.on("error", () => {});
    socket.write(`${socket.remoteAddress}\n`);
    socket.pipe(socket);
  });
  server.listen({ port, host: "0.0.0.0", backlog: 1024 }, () => console.log("serving"));
}

async function openMany(host: string, port: number, count: number, parallel: number): Promise<void> {
  const counts: Record<string, number> = {};
  let left = count;
  const work = async () => {
    while (left-- > 0) {
      const address = (await openOne(host, port)) ?? "failed";
      counts[address] = (counts[address] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
  console.log(JSON.stringify(counts));
}

/** The address that the server saw, or null; the connection is closed again. */
async function openOne(host: string, port: number): Promise<string | null> {
  const opened = await open(host, port);
  opened?.socket.destroy();
  return opened?.address ?? null;
}

function open(host: string, port: number): Promise<{ socket: Socket; address: string } | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (address: string | null) => {
      clearTimeout(timer);
      if (address === null) socket.destroy();
      resolve(address === null ? null : { socket, address });
    };
    const timer = setTimeout(end, failedAfterMs, null);
    socket.once("data", (greeting) => end(greeting.toString().trim()));
    socket.on("error", () => end(null));
  });
}

async function probe(host: string, port: number, intervalMs: number): Promise<void> {
  for (;;) {
    const startedMs = now();
    void openOne(host, port).then((address) =>
      console.log(JSON.stringify({ startedMs, tookMs: now() - startedMs, address } satisfies Probe)),
    );
    await sleep(intervalMs);
  }
}

async function hold(host: string, port: number, count: number, intervalMs: number): Promise<void> {
  const held = Array.from({ length: count }, () => new HeldConnection(host, port));
  await Promise.all(held.map((one) => one.open()));
  for (;;) {
    for (const one of held) one.send();
    await sleep(intervalMs);
    console.log(JSON.stringify(held.map((one) => one.state())));
  }
}

/** A connection that its application wants: opened again when it is reset. */
class HeldConnection {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | null = null;
  #address = "";
  #heardMs = now();
  #resetMs: number | null = null;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  async open(): Promise<void> {
    const opened = await open(this.#host, this.#port);
    if (opened === null) return;
    this.#socket = opened.socket;
    this.#address = opened.address;
    this.#heardMs = now();
    opened.socket.on("data", () => {
      this.#heardMs = now();
    });
    opened.socket.once("close", () => {
      this.#socket = null;
      this.#resetMs = now();
      void this.open();
    });
  }

  send(): void {
    this.#socket?.write(".");
  }

  state(): Held {
    return { address: this.#address, silentMs: now() - this.#heardMs, resetMs: this.#resetMs };
  }
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

// Last: what it calls uses the class above.
if (import.meta.main) {
  const [verb, ...words] = process.argv.slice(2);
  if (verb === "serve") serve(Number(words[0]));
  else if (verb === "connect") await openMany(words[0]!, Number(words[1]), Number(words[2]), Number(words[3]));
  else if (verb === "probe") await probe(words[0]!, Number(words[1]), Number(words[2]));
  else if (verb === "hold") await hold(words[0]!, Number(words[1]), Number(words[2]), Number(words[3]));
  else throw new Error("expected serve, connect, probe or hold");
}
