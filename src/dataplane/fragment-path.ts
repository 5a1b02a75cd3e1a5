/**
 * What becomes of fragments. The first one is forwarded like any packet and its flow remembered;
 * later ones follow it, before or after; with several workers, the kernel brings all outbound
 * fragments of a source to one worker, which passes them on to the owner of the endpoint.
 */
import { packetWord } from "../tables/batch.ts";
import { type FlowTable, flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import type { Mailbox } from "../tables/mailbox.ts";
import { steer } from "../tables/steering-hash.ts";
import { ipv4 } from "../wire/ipv4.ts";
import type { Egress } from "./egress.ts";
import { Fragments } from "./fragments.ts";
import { setAddress } from "./masquerade.ts";
import { verdict } from "./verdict.ts";

/** A fragment's checksum is whole: it has none of its own. */
const noOffload = 0;
const tunDevice = 0;

export class FragmentPath {
  readonly #fragments = new Fragments();
  readonly #flows: FlowTable;
  readonly #egress: Egress;
  readonly #worker: number;
  /** A box to every worker; empty when there is one worker. */
  readonly #outboxes: readonly Mailbox[];
  readonly #count: (row: number, uplink: number, direction: number, bytes: number) => void;
  /** Workers that have mail since `takeMailed` was last asked, a bit each. */
  #mailed = 0;

  /** `count` is told of every later fragment that is sent on. */
  constructor(
    flows: FlowTable,
    egress: Egress,
    worker: number,
    outboxes: readonly Mailbox[],
    count: (row: number, uplink: number, direction: number, bytes: number) => void,
  ) {
    this.#flows = flows;
    this.#egress = egress;
    this.#worker = worker;
    this.#outboxes = outboxes;
    this.#count = count;
  }

  /** Forgets fragments that waited too long and returns how many. */
  expire(nowMs: number): number {
    return this.#fragments.expire(nowMs);
  }

  takeMailed(): number {
    const mailed = this.#mailed;
    this.#mailed = 0;
    return mailed;
  }

  /** The worker that owns an outbound first fragment, or -1 when it is this one. */
  foreignOwner(rows: Int32Array, p: number): number {
    const workers = this.#outboxes.length;
    if (workers === 0) return -1;
    const owner = steer(rows[p + packetWord.source]!, rows[p + packetWord.ports]! >>> 16, workers);
    return owner === this.#worker ? -1 : owner;
  }

  /** Passes a first fragment from the inside, and those that waited for it, to the worker that owns its endpoint. */
  mailFirst(rows: Int32Array, p: number, owner: number, nowMs: number): number {
    const result = this.#mail(owner, rows[p + packetWord.at]!, rows[p + packetWord.length]!);
    if (result === verdict.forward) this.learn(rows, p, tunDevice, -(owner + 1), nowMs);
    return result;
  }

  /** Remembers what was decided for a first fragment (`flow << 1 | direction`, or minus the owner plus one) and sends on those that waited for it. `device` is where it came from. */
  learn(rows: Int32Array, p: number, device: number, value: number, nowMs: number): void {
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    // Outbound, the packet has been rewritten: the identification is not.
    const datagram = this.#datagram(rows[p + packetWord.at]!, device, rows[p + packetWord.protocol]!);
    const { memory } = this.#egress;
    this.#fragments.learn(source, destination, datagram, value, nowMs);
    for (;;) {
      const to = this.#egress.takeScratch();
      if (to === 0) return;
      const length = this.#fragments.release(memory, to, source, destination, datagram, nowMs);
      if (length === 0) return;
      this.#follow(value, to, length, source, destination);
    }
  }

  /** A fragment without ports: follows its first, or waits for it. `device` is where it came from. */
  later(rows: Int32Array, p: number, device: number, nowMs: number): number {
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const datagram = this.#datagram(at, device, rows[p + packetWord.protocol]!);
    const value = this.#fragments.find(source, destination, datagram, nowMs);
    if (value !== 0) return this.#follow(value, at, length, source, destination);
    return this.#fragments.hold(this.#egress.memory, at, length, source, destination, datagram, nowMs);
  }

  #follow(value: number, at: number, length: number, source: number, destination: number): number {
    if (value < 0) return this.#mail(-value - 1, at, length);
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
      const l4 = at + ((view.getUint8(at) & 0x0f) << 2);
      return this.#egress.toUplink(outside & 0xff, at, length, l4, at, noOffload);
    }
    this.#count(row, outside & 0xff, reply, length);
    setAddress(view, at, ipv4.destination, words[row + flowWord.inside]!);
    return this.#egress.toInside(at, length, at, noOffload);
  }

  #mail(owner: number, at: number, length: number): number {
    if (!this.#outboxes[owner]!.post(this.#egress.memory, at, length)) return verdict.mailboxFull;
    this.#mailed |= 1 << owner;
    return verdict.forward;
  }

  /** Tells apart the datagrams between two hosts. With the device, so that nobody's fragments follow a first that came another way. */
  #datagram(at: number, device: number, protocol: number): number {
    return (device << 24) | (this.#egress.view.getUint16(at + ipv4.identification) << 8) | protocol;
  }
}
