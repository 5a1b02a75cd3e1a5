/**
 * What becomes of fragments. The first one is forwarded like any packet and its flow remembered;
 * later ones follow it, before or after; with several workers, the kernel brings all outbound
 * fragments of a source to one worker, which passes them on to the owner of the endpoint.
 *
 * No part of a datagram passes twice, so that none can be overwritten where it is put together. A repeated first
 * begins its datagram anew: with 16 bits of identification it may well be another one.
 */
import { packetWord } from "../tables/batch.ts";
import { type FlowTable, flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import { steer } from "../tables/steering-hash.ts";
import { fragmentOffsetMask, hasPorts, headerBytes, ipv4 } from "../wire/ipv4.ts";
import { clearVnetHeader } from "../wire/vnet.ts";
import type { Egress } from "./egress.ts";
import { flowFlag } from "./flow-state.ts";
import { FragmentRanges } from "./fragment-ranges.ts";
import { entryWords, Fragments, knownCapacity } from "./fragments.ts";
import { setAddress, setIdentification } from "./masquerade.ts";
import { fromInside, type PostOffice } from "./post-office.ts";
import { verdict } from "./verdict.ts";

/** A fragment's checksum is whole: it has none of its own. */
const noOffload = 0;
const fromTun = 0;

export interface FragmentEvents {
  /** Counts a later fragment that is sent on. */
  count: (row: number, uplink: number, direction: number, bytes: number) => void;
  /** Brings a later fragment, translated, in again: its flow's remote is one of our own addresses. Returns the verdict. */
  turnBack: (row: number, at: number, length: number) => number;
  /** Counts one that waited in vain. */
  drop: (reason: number) => void;
}

export class FragmentPath {
  readonly #fragments = new Fragments();
  readonly #ranges = new FragmentRanges(knownCapacity);
  readonly #flows: FlowTable;
  readonly #egress: Egress;
  readonly #worker: number;
  readonly #post: PostOffice;
  readonly #count: FragmentEvents["count"];
  readonly #turnBack: FragmentEvents["turnBack"];
  readonly #drop: FragmentEvents["drop"];

  constructor(flows: FlowTable, egress: Egress, worker: number, post: PostOffice, events: FragmentEvents) {
    this.#flows = flows;
    this.#egress = egress;
    this.#worker = worker;
    this.#post = post;
    this.#count = events.count;
    this.#turnBack = events.turnBack;
    this.#drop = events.drop;
  }

  /** Forgets fragments that waited too long and returns how many. */
  expire(nowMs: number): number {
    return this.#fragments.expire(nowMs);
  }

  /** The worker that owns an outbound first fragment, or -1 when it is this one. */
  foreignOwner(rows: Int32Array, p: number): number {
    const { workers } = this.#post;
    if (workers === 1 || !hasPorts(rows[p + packetWord.protocol]!)) return -1;
    const owner = steer(rows[p + packetWord.source]!, rows[p + packetWord.ports]! >>> 16, workers);
    return owner === this.#worker ? -1 : owner;
  }

  /** Passes a first fragment from the inside, and those that waited for it, to the worker that owns its endpoint. */
  mailFirst(rows: Int32Array, p: number, owner: number, nowMs: number): number {
    const result = this.#mail(owner, rows[p + packetWord.at]!, rows[p + packetWord.length]!);
    if (result === verdict.forward) this.learn(rows, p, fromTun, -(owner + 1), nowMs);
    return result;
  }

  /** Remembers what was decided for a first fragment (`flow << 1 | direction`, or minus the owner plus one) and sends on those that waited for it. `way` is how it came. */
  learn(rows: Int32Array, p: number, way: number, value: number, nowMs: number): void {
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const datagram = datagramOf(rows, p, way);
    const { memory, view } = this.#egress;
    // The first fragment has been rewritten by now: the others take over its identification.
    const identification = view.getUint16(rows[p + packetWord.at]! + ipv4.identification);
    const known = this.#fragments.learn(source, destination, datagram, value, identification, nowMs);
    this.#ranges.reset(known / entryWords);
    this.#pass(known, rows[p + packetWord.at]!, rows[p + packetWord.length]!);
    while (this.#fragments.waiting > 0) {
      const to = this.#egress.takeScratch();
      // Without a slot the rest waits on, and is counted when its time is over.
      if (to === 0) return;
      const length = this.#fragments.release(memory, to, source, destination, datagram, nowMs);
      if (length === 0) return;
      const result = this.#follow(known, to, length, source, destination);
      if (result !== verdict.forward) this.#drop(result);
    }
  }

  /** A fragment without ports: follows its first, or waits for it. `way` is how it came. */
  later(rows: Int32Array, p: number, way: number, nowMs: number): number {
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const datagram = datagramOf(rows, p, way);
    const known = this.#fragments.find(source, destination, datagram, nowMs);
    if (known < 0) return this.#fragments.hold(this.#egress.memory, at, length, source, destination, datagram, nowMs);
    return this.#follow(known, at, length, source, destination);
  }

  /** Notes which part of its datagram a fragment is, and returns the verdict: no part passes twice. */
  #pass(known: number, at: number, length: number): number {
    const { view } = this.#egress;
    const from = view.getUint16(at + ipv4.fragment) & fragmentOffsetMask;
    const bytes = length - headerBytes(view, at);
    return this.#ranges.add(known / entryWords, from, from + Math.max(1, (bytes + 7) >>> 3));
  }

  /** `known`: the entry of its datagram. */
  #follow(known: number, at: number, length: number, source: number, destination: number): number {
    const value = this.#fragments.value(known);
    // Its owner knows what has passed.
    if (value < 0) return this.#mail(-value - 1, at, length);
    const part = this.#pass(known, at, length);
    if (part !== verdict.forward) return part;
    const words = this.#flows.words;
    const row = (value >>> 1) * flowWords;
    const outside = words[row + flowWord.outside]!;
    const isOriginal = (value & 1) === original;
    // The flow may have ended, and its row serve another, since the first fragment was seen.
    const same = isOriginal
      ? words[row + flowWord.inside] === source && words[row + flowWord.remote] === destination
      : words[row + flowWord.remote] === source && words[row + flowWord.mapped] === destination;
    if (outside === 0 || !same) return verdict.unsolicited;
    const { view } = this.#egress;
    if (isOriginal) {
      if (!this.#egress.maySend(outside & 0xff, words[row + flowWord.mapped]!)) return verdict.uplinkNotReady;
      this.#count(row, outside & 0xff, original, length);
      setAddress(view, at, ipv4.source, words[row + flowWord.mapped]!);
      setIdentification(view, at, this.#fragments.identification(known));
      if ((words[row + flowWord.state]! & flowFlag.turnsBack) !== 0) return this.#turnBack(row, at, length);
      return this.#egress.toUplink(outside & 0xff, at, length, 0, at, noOffload);
    }
    this.#count(row, outside & 0xff, reply, length);
    setAddress(view, at, ipv4.destination, words[row + flowWord.inside]!);
    return this.#egress.toInside(at, length, 0, at, noOffload);
  }

  #mail(owner: number, at: number, length: number): number {
    clearVnetHeader(this.#egress.view, at - vnetBytes);
    return this.#post.send(owner, at, length, fromInside);
  }
}

/** Tells apart the datagrams between two hosts. With the way, so that nobody's fragments follow a first that came another way. */
function datagramOf(rows: Int32Array, p: number, way: number): number {
  return (way << 24) | (rows[p + packetWord.identification]! << 8) | rows[p + packetWord.protocol]!;
}
