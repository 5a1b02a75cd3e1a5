/** Traffic through the lab, and what became of it: which uplink each connection took, what a stream lost. */

import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Isp, type Lab, uplinkAddress } from "../../support/lab.ts";
import type { Running } from "../../support/process.ts";
import type { Host } from "../../support/topology.ts";

/** How long traffic.ts waits for an answer. */
const answerMs = 1000;
const program = fileURLToPath(new URL("traffic.ts", import.meta.url));

function command(...words: string[]): string[] {
  return [process.execPath, program, ...words];
}

/** Starts the far end in the server; it ends with the lab. */
export async function serve(lab: Lab): Promise<void> {
  await lab.spawn("server", command("serve")).waitFor(/serving/);
}

/** Opens connections one after the other and returns which provider's address the server saw for each, or what went wrong. */
export async function connectTimes(lab: Lab, count: number, host: Host = "client1"): Promise<string[]> {
  const { stdout } = await lab.exec(host, command("connect", String(count)));
  return stdout.trim().split("\n").map(ispOf);
}

/** Each provider or failure that `outcomes` has, once, in order. */
export function kinds(outcomes: readonly string[]): string[] {
  return [...new Set(outcomes)].sort();
}

/** Connections without an end, to see what happens to them meanwhile. */
export class Connections {
  /** The ways of those that `untilSucceeding` last waited for. */
  ways: readonly string[] = [];
  readonly #process: Running;

  constructor(lab: Lab, host: Host = "client1") {
    this.#process = lab.spawn(host, command("connect", "0"));
  }

  get outcomes(): string[] {
    const lines = this.#process.stdout.split("\n");
    return lines.slice(0, -1).map(ispOf);
  }

  /** Waits until this many more in a row have succeeded; returns how many failed before that. */
  async untilSucceeding(inARow: number): Promise<number> {
    const from = this.outcomes.length;
    // Those under way may still fail, and would be told among the successes of others.
    await sleep(1.2 * answerMs);
    const deadline = Date.now() + 30_000;
    while (Date.now() < deadline) {
      const since = this.outcomes.slice(from);
      const row = since.slice(-inARow);
      if (row.length === inARow && row.every(succeeded)) {
        this.ways = row;
        return since.filter((one) => !succeeded(one)).length;
      }
      await sleep(20);
    }
    throw new Error(`connections do not succeed: ${kinds(this.outcomes.slice(-inARow)).join(", ")}`);
  }

  stop(): Promise<number> {
    return this.#process.stop();
  }
}

/** 100 datagrams a second to the server and back, on one flow. */
export class Stream {
  readonly #process: Running;

  constructor(lab: Lab, host: Host = "client1") {
    this.#process = lab.spawn(host, command("stream"));
  }

  /** Returns its source port when the first datagram is back. */
  async ready(): Promise<number> {
    await this.#process.waitFor(/streaming from \d+/);
    return Number(/streaming from (\d+)/.exec(this.#process.stdout)![1]);
  }

  /** `lost`: their numbers, 100 a second. */
  async stop(): Promise<{ sent: number; lost: number[] }> {
    await this.#process.stop();
    const [, sent, lost] = /sent (\d+) lost \d+:(.*)/.exec(this.#process.stdout)!;
    return { sent: Number(sent), lost: lost!.trim().split(" ").filter(Boolean).map(Number) };
  }
}

function succeeded(outcome: string): boolean {
  return !outcome.startsWith("failed");
}

function ispOf(line: string): string {
  const isp = (Object.keys(uplinkAddress) as Isp[]).find((name) => line.endsWith(uplinkAddress[name]));
  return isp ?? line;
}
