/**
 * Mail between workers: packets that the kernel could not bring to their owner, with the vnet header
 * before each. Where a packet has got to is written on it: it comes from the inside, or it has been
 * translated already and now comes in by an uplink (a hairpin).
 */
import { Mailbox } from "../tables/mailbox.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import type { Egress } from "./egress.ts";
import { verdict } from "./verdict.ts";

/** The note on a packet from the inside; with the number of an uplink added, on one that has come from outside by it. Any other is the number of the uplink that a hairpin comes in by. */
export const fromInside = 255;
export const fromOutside = 128;

export class PostOffice {
  readonly workers: number;
  readonly #egress: Egress;
  readonly #outboxes: readonly Mailbox[];
  readonly #inboxes: readonly Mailbox[];
  readonly #wake: (worker: number) => void;
  /** Workers that have been sent mail this turn, a bit each. */
  #sent = 0;

  /** `boxes` has room for a box for every ordered pair of workers; null when there is one worker. */
  constructor(
    worker: number,
    workers: number,
    boxes: SharedArrayBuffer | null,
    egress: Egress,
    wake: (worker: number) => void,
  ) {
    const all = boxes === null ? [] : Array.from({ length: workers }, (_, other) => other);
    this.workers = workers;
    this.#egress = egress;
    this.#wake = wake;
    this.#outboxes = all.map((other) => new Mailbox(boxes!, worker, other, workers));
    this.#inboxes = all.map((other) => new Mailbox(boxes!, other, worker, workers));
  }

  /** Sends the packet at `at`, its vnet header right before it, to another worker. Returns the verdict. */
  send(worker: number, at: number, length: number, note: number): number {
    const box = this.#outboxes[worker]!;
    if (!box.post(this.#egress.memory, at - vnetBytes, vnetBytes + length, note)) return verdict.mailboxFull;
    this.#sent |= 1 << worker;
    return verdict.forward;
  }

  /** Ends the wait of those who have been sent mail. */
  deliver(): void {
    for (let worker = 0; this.#sent !== 0; worker++, this.#sent >>>= 1) if (this.#sent & 1) this.#wake(worker);
  }

  /** Whether there is mail: what was left for want of slots, for which nobody wakes us again. */
  get isWaiting(): boolean {
    for (const box of this.#inboxes) if (box.waiting) return true;
    return false;
  }

  /** Hands over what has come, each packet in a scratch slot. When slots run short the rest waits for the next turn. */
  collect(take: (at: number, length: number, note: number) => void): void {
    for (const box of this.#inboxes) {
      while (box.waiting) {
        if (!this.#egress.hasRoomForMail) return;
        const at = this.#egress.takeScratch();
        const { note } = box;
        take(at, box.collect(this.#egress.memory, at - vnetBytes) - vnetBytes, note);
      }
    }
  }
}
