/** Sockets that a host of the lab holds open towards an echo server (programs/hold.ts), and what comes back on them. */

import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { program } from "./programs.ts";
import { type Host, server } from "./topology.ts";
import { until } from "./until.ts";

export class Holder {
  readonly #running: Running;
  #round = 1;

  constructor(running: Running) {
    this.#running = running;
  }

  /** Source ports of sockets whose last message was answered; one port twice when two sockets have it, towards different addresses. */
  get answered(): number[] {
    return this.#matches(new RegExp(`^answered ${this.#round} (\\d+)$`, "gm"));
  }

  /** Source ports of connections that ended. */
  get closed(): number[] {
    return this.#matches(/^closed (\d+)$/gm);
  }

  /** Sends another message on every socket. */
  send(): void {
    this.#round++;
    this.#running.signal("SIGUSR1");
  }

  /** Waits until the last message of all these sockets (or of so many) was answered. Throws when that takes too long. */
  untilAnswered(wanted: number | readonly number[]): Promise<void> {
    const enough = () => {
      const answered = this.answered;
      if (typeof wanted === "number") return answered.length >= wanted;
      const ports = new Set(answered);
      return wanted.every((port) => ports.has(port));
    };
    return until("answers on all sockets", enough);
  }

  stop(): Promise<number> {
    return this.#running.stop();
  }

  #matches(pattern: RegExp): number[] {
    return Array.from(this.#running.stdout.matchAll(pattern), ([, port]) => Number(port));
  }
}

/** Opens sockets to port 7 of the server, or of these addresses of its in turn, and sends the first message, of so many bytes, on each. They end with the lab. */
export async function hold(
  lab: Lab,
  host: Host,
  protocol: "tcp" | "udp",
  count: number,
  { bytes = 10, addresses = [server] }: { bytes?: number; addresses?: readonly string[] } = {},
): Promise<Holder> {
  const running = lab.spawn(host, program("hold", protocol, String(count), "7", String(bytes), ...addresses));
  await running.waitFor(/^ready$/m);
  return new Holder(running);
}
