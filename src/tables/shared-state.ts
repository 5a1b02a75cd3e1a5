/**
 * What the control plane and the workers share: one SharedArrayBuffer, three parts.
 *
 * - uplinks: written by the control plane only, under a sequence lock (`generation` is odd while it
 *   writes); a worker copies them to its own arrays when the generation has changed.
 * - lookups: for each group of uplinks and each family 65,536 bytes, hash -> uplink index or `noUplink`. A byte is whole at
 *   any moment, so it is rewritten in place while workers read it. Group 0 is the balance over all, the others are the rules'.
 * - masks: for each group and family a word whose bit n says that uplink n may get flows of that group: where a host's
 *   earlier flows, stickiness or latency would send one, the lookup having been asked or not.
 * - inside: the networks that inside hosts may have their addresses from; written and copied as the uplinks are.
 * - counters: one block of doubles per worker, each written by that worker only and read by the
 *   control plane at any time. (A double counts to 2^53; a 64-bit integer costs 20 times as much.)
 */
import { insideNetworkWords } from "./inside-networks.ts";

export const maxUplinks = 16;
export const maxWorkers = 16;
export const lookupSize = 65_536;
export const noUplink = 255;
export const maxDropReasons = 64;
/** Group 0 and those of the rules. */
export const maxGroups = 32;

/** Words of one uplink's row. Addresses are 32-bit integers in host order: 192.0.2.1 is 0xc0000201. */
export const uplinkWord = {
  /** 1: usable for sending (carrier, administrative state, address and next hop are there), else 0. */
  ready: 0,
  address: 1,
  mtu: 2,
  /** `ready` for IPv6. */
  ready6: 3,
  /** The 14 bytes of the Ethernet header to send with: next hop, own address, 0x0800. Two bytes unused. */
  linkHeader: 4,
  /** The same for IPv6: another next hop, and 0x86dd. */
  linkHeader6: 8,
  /** An IPv6 address is four words, the most significant first, each in host order. */
  address6: 12,
  /** The prefix that the provider routes to this uplink, for prefix translation (RFC 6296), and its length; a length of 0: none. */
  prefix6: 16,
  prefix6Length: 20,
  /** 1 while this uplink gets flows only because a lower tier is away: they are displaced. */
  standsIn: 21,
  /** Counts up when all its flows are to be cut off, and when the displaced ones are. */
  cutAll: 22,
  cutDisplaced: 23,
} as const;
export const uplinkWords = 32;

/** Slots of one worker's counter block, in doubles. */
export const counter = {
  /** Turns of the loop: the watchdog's sign of life. */
  turns: 0,
  flowsOpened: 1,
  flowsTcp: 2,
  flowsUdp: 3,
  flowsIcmp: 4,
  flowsOther: 5,
  mappings: 6,
  /** Packets that a device refused to take (queue full, link down), all devices together. */
  sendRefused: 8,
  drops: 16,
  uplinks: 16 + maxDropReasons,
} as const;
/** Slots of one uplink within a worker's counter block. */
export const uplinkCounter = {
  txBytes: 0,
  rxBytes: 1,
  txPackets: 2,
  rxPackets: 3,
  flows: 4,
  /** Flows opened from the inside, and those of them that were answered, each once. */
  asked: 5,
  answered: 6,
  /** First packets that were repeated for want of an answer. */
  repeated: 7,
  /** Flows moved away from here for that, and those of them that another uplink then answered. */
  rescued: 8,
  answeredElsewhere: 9,
  /** Flows cut off because the uplink died or was taken out. */
  cut: 10,
  /** Of the flows those whose connection is over: rows that wait to be used again. */
  over: 11,
} as const;
const uplinkCounters = 16;
const counterBlock = counter.uplinks + maxUplinks * uplinkCounters;

const uplinksAt = 128;
const lookupsAt = uplinksAt + maxUplinks * uplinkWords * 4;
const masksAt = lookupsAt + 2 * maxGroups * lookupSize;
const insideAt = masksAt + 2 * maxGroups * 4;
// Doubles stand at multiples of 8.
const countersAt = insideAt + Math.ceil(insideNetworkWords / 2) * 8;
export const sharedStateBytes = countersAt + maxWorkers * counterBlock * 8;

/** A view of the shared state; every thread makes its own over the same buffer. */
export class SharedState {
  readonly buffer: SharedArrayBuffer;
  /** [0]: generation of the uplink rows; [1 + n]: messages posted to worker n. */
  readonly #head: Int32Array;
  /** What a read has seen, until it is known to be whole. */
  readonly #uplinksRead = new Int32Array(maxUplinks * uplinkWords);
  readonly #insideRead = new Int32Array(insideNetworkWords);
  readonly uplinks: Int32Array;
  readonly uplinkBytes: Uint8Array;
  /** As inside-networks.ts lays them out. */
  readonly inside: Int32Array;
  /** By group. */
  readonly lookups: readonly Uint8Array[];
  readonly lookups6: readonly Uint8Array[];
  /** By group. */
  readonly masks: Int32Array;
  readonly masks6: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(sharedStateBytes)) {
    this.buffer = buffer;
    this.#head = new Int32Array(buffer, 0, 1 + maxWorkers);
    this.uplinks = new Int32Array(buffer, uplinksAt, maxUplinks * uplinkWords);
    this.uplinkBytes = new Uint8Array(buffer, uplinksAt, maxUplinks * uplinkWords * 4);
    this.inside = new Int32Array(buffer, insideAt, insideNetworkWords);
    const lookups = Array.from({ length: 2 * maxGroups }, (_, n) => {
      return new Uint8Array(buffer, lookupsAt + n * lookupSize, lookupSize);
    });
    this.lookups = lookups.slice(0, maxGroups);
    this.lookups6 = lookups.slice(maxGroups);
    this.masks = new Int32Array(buffer, masksAt, maxGroups);
    this.masks6 = new Int32Array(buffer, masksAt + maxGroups * 4, maxGroups);
  }

  /** The counters of one worker. */
  counters(worker: number): Float64Array {
    return new Float64Array(this.buffer, countersAt + worker * counterBlock * 8, counterBlock);
  }

  get generation(): number {
    return Atomics.load(this.#head, 0);
  }

  /** How many messages the control plane has posted to a worker: one that sees it change reads its port. */
  requests(worker: number): number {
    return Atomics.load(this.#head, 1 + worker);
  }

  /** Control plane only: tells a worker that a message waits for it. */
  announceRequest(worker: number): void {
    Atomics.add(this.#head, 1 + worker, 1);
  }

  /** Control plane only: changes uplink rows, or the networks of the inside, so that no worker sees half a change. */
  updateUplinks(change: (words: Int32Array, bytes: Uint8Array) => void): void {
    Atomics.add(this.#head, 0, 1);
    try {
      change(this.uplinks, this.uplinkBytes);
    } finally {
      // Or the workers would never follow an uplink again.
      Atomics.add(this.#head, 0, 1);
    }
  }

  /**
   * Copies the uplink rows into `words`, the networks of the inside into `inside`, and returns their generation, or -1
   * when the control plane was writing meanwhile: the copies stay as they were, try again next turn.
   */
  readUplinks(words: Int32Array, inside: Int32Array): number {
    const before = this.generation;
    if (before & 1) return -1;
    this.#uplinksRead.set(this.uplinks);
    this.#insideRead.set(this.inside);
    if (this.generation !== before) return -1;
    words.set(this.#uplinksRead);
    inside.set(this.#insideRead);
    return before;
  }
}

/** Index of an uplink's counter in a worker's block. */
export function uplinkCounterAt(uplink: number, which: number): number {
  return counter.uplinks + uplink * uplinkCounters + which;
}
