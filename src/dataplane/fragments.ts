/**
 * Later fragments follow their first (RFC 4787, REQ-14).
 *
 * Only the first fragment carries ports. What was decided for it is remembered under source,
 * destination, protocol, identification and the device it came by, and applied to the rest. A later fragment that comes
 * before its first waits, as a copy, in one of a few buffers. Both stores are rings: the oldest entry
 * makes room for the newest, one source may fill a quarter of the waiting room, and everything is
 * forgotten after 30 seconds (as Linux's ipfrag_time; RFC 1122, section 3.3.2 allows 60 to 120).
 */
import { verdict } from "./verdict.ts";

const timeoutMs = 30_000;
/** Decisions that are remembered. */
export const knownCapacity = 1024;
const waitingCapacity = 64;
const waitingPerSource = waitingCapacity / 4;
/** A jumbo frame: fragments are no longer than the LAN's MTU. */
const waitingBytes = 9216;

/** Words of an entry of either store. */
const entry = { source: 0, destination: 1, datagram: 2, seenMs: 3, value: 4, length: 4, identification: 5 } as const;
/** What an entry that `find` returns is a multiple of. */
export const entryWords = 6;

export class Fragments {
  /** Decisions: `value` is what `learn` was given; 0: the entry is empty. */
  readonly #known = new Int32Array(knownCapacity * entryWords);
  #nextKnown = 0;
  /** Waiting fragments: `length` bytes of buffer i; 0: free. */
  readonly #waiting = new Int32Array(waitingCapacity * entryWords);
  readonly #buffers = new Uint8Array(waitingCapacity * waitingBytes);
  #waitingCount = 0;

  /** How many fragments wait, for whatever datagram. */
  get waiting(): number {
    return this.#waitingCount;
  }

  /** `datagram` is whatever tells apart the datagrams between two hosts. Returns an entry for `value` and `identification`, or -1. */
  find(source: number, destination: number, datagram: number, nowMs: number): number {
    const known = this.#known;
    for (let at = 0; at < known.length; at += entryWords) {
      if (matches(known, at, source, destination, datagram, nowMs)) return at;
    }
    return -1;
  }

  /** What `learn` was given for an entry. */
  value(at: number): number {
    return this.#known[at + entry.value]!;
  }

  /** The identification that this datagram has on the other side. */
  identification(at: number): number {
    return this.#known[at + entry.identification]!;
  }

  /** Remembers what was decided for a first fragment, and its new identification; a repeated first replaces what was known. `value` is not 0. Returns the entry. */
  learn(
    source: number,
    destination: number,
    datagram: number,
    value: number,
    identification: number,
    nowMs: number,
  ): number {
    const known = this.#known;
    let at = 0;
    while (at < known.length && !matches(known, at, source, destination, datagram, nowMs)) at += entryWords;
    if (at === known.length) {
      at = this.#nextKnown * entryWords;
      this.#nextKnown = (this.#nextKnown + 1) % knownCapacity;
    }
    write(known, at, source, destination, datagram, nowMs, value);
    known[at + entry.identification] = identification;
    return at;
  }

  /** Keeps a copy of a fragment whose first has not come; the verdict when there is no room for it. */
  hold(
    memory: Uint8Array,
    at: number,
    length: number,
    source: number,
    destination: number,
    datagram: number,
    nowMs: number,
  ): number {
    if (length > waitingBytes) return verdict.fragmentTableFull;
    const waiting = this.#waiting;
    let free = -1;
    let fromSource = 0;
    for (let i = 0; i < waitingCapacity; i++) {
      const row = i * entryWords;
      const empty = waiting[row + entry.length] === 0;
      if (empty) free = i;
      else if (waiting[row + entry.source] === source) fromSource++;
    }
    if (free < 0 || fromSource >= waitingPerSource) return verdict.fragmentTableFull;
    write(waiting, free * entryWords, source, destination, datagram, nowMs, length);
    this.#buffers.set(memory.subarray(at, at + length), free * waitingBytes);
    this.#waitingCount++;
    return verdict.forward;
  }

  /** Copies one fragment that waited for this datagram to `at` and returns its length; 0 when there is none left. */
  release(
    memory: Uint8Array,
    at: number,
    source: number,
    destination: number,
    datagram: number,
    nowMs: number,
  ): number {
    if (this.#waitingCount === 0) return 0;
    const waiting = this.#waiting;
    for (let i = 0; i < waitingCapacity; i++) {
      const row = i * entryWords;
      if (!matches(waiting, row, source, destination, datagram, nowMs)) continue;
      const length = waiting[row + entry.length]!;
      memory.set(this.#buffers.subarray(i * waitingBytes, i * waitingBytes + length), at);
      waiting[row + entry.length] = 0;
      this.#waitingCount--;
      return length;
    }
    return 0;
  }

  /** Forgets fragments that waited too long and returns how many. */
  expire(nowMs: number): number {
    if (this.#waitingCount === 0) return 0;
    const waiting = this.#waiting;
    let expired = 0;
    for (let row = 0; row < waiting.length; row += entryWords) {
      if (waiting[row + entry.length] === 0 || isFresh(waiting, row, nowMs)) continue;
      waiting[row + entry.length] = 0;
      expired++;
    }
    this.#waitingCount -= expired;
    return expired;
  }
}

function matches(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  datagram: number,
  nowMs: number,
): boolean {
  return (
    words[at + entry.datagram] === datagram &&
    words[at + entry.source] === source &&
    words[at + entry.destination] === destination &&
    words[at + entry.value] !== 0 &&
    isFresh(words, at, nowMs)
  );
}

/** Unsigned, so that an entry of 25 days ago is not taken for one of the future. */
function isFresh(words: Int32Array, at: number, nowMs: number): boolean {
  return ((nowMs | 0) - words[at + entry.seenMs]!) >>> 0 < timeoutMs;
}

function write(
  words: Int32Array,
  at: number,
  source: number,
  destination: number,
  datagram: number,
  nowMs: number,
  value: number,
): void {
  words[at + entry.source] = source;
  words[at + entry.destination] = destination;
  words[at + entry.datagram] = datagram;
  words[at + entry.seenMs] = nowMs | 0;
  words[at + entry.value] = value;
}
