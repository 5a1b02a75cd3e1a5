/**
 * Flows that nobody has answered, which give way first when something runs out.
 *
 * Opening a flow costs its sender one packet, under any source it likes, so flows are only as good as
 * the word of the other end. Those without it stand in a queue of their host's, oldest first; the hosts
 * stand in classes by how many they have, each class twice the one before. Room is made by the oldest
 * one of a host in the highest class: whoever floods pays with his own, and a host that opens a few
 * connections at a time loses none of them to him. (Only the oldest of all would be ended otherwise, and
 * under a flood that is somebody's connection as soon as the table is filled within a round trip.)
 *
 * There is room for as many as are worth keeping, not for one a flow: 16 bytes a record, 20 a host.
 *
 * Invariants: a record is in its host's queue or, unused, in list 0; a host is in the class of its
 * number, or in none when it has none.
 */
import { LinkedLists } from "../tables/linked-lists.ts";

const unused = 0;
const classes = 32;

export class Unanswered {
  readonly #flows: Int32Array;
  /** Of records; list h is the queue of host h. */
  readonly #queues: LinkedLists;
  readonly #counts: Int32Array;
  /** Of hosts; list c has those with 2^c to 2^(c+1)-1 flows here. */
  readonly #classes: LinkedLists;

  /** Hosts are numbered from 1 to `hosts`. */
  constructor(capacity: number, hosts: number) {
    this.#flows = new Int32Array(capacity + 1);
    this.#queues = new LinkedLists(capacity, hosts + 1);
    this.#counts = new Int32Array(hosts + 1);
    this.#classes = new LinkedLists(hosts, classes);
    for (let record = 1; record <= capacity; record++) this.#queues.append(unused, record);
  }

  get bytes(): number {
    return this.#flows.byteLength + this.#queues.bytes + this.#counts.byteLength + this.#classes.bytes;
  }

  get full(): boolean {
    return this.#queues.head(unused) === 0;
  }

  /** Puts a flow at the end of its host's queue and returns its record. The caller has checked `full`. */
  add(host: number, flow: number): number {
    const record = this.#queues.head(unused);
    this.#queues.remove(record);
    this.#queues.append(host, record);
    this.#flows[record] = flow;
    this.#count(host, 1);
    return record;
  }

  /** Takes a flow out and returns its host. */
  remove(record: number): number {
    const host = this.#queues.listOf(record);
    this.#queues.remove(record);
    this.#queues.append(unused, record);
    this.#count(host, -1);
    return host;
  }

  /** The first record of a host's queue, or 0. */
  first(host: number): number {
    return this.#queues.head(host);
  }

  /** The record behind one, or 0. */
  next(record: number): number {
    return this.#queues.next(record);
  }

  flow(record: number): number {
    return this.#flows[record]!;
  }

  /** A host than which none has twice as many; 0 when nobody has any. */
  get greatestHost(): number {
    for (let which = classes - 1; which >= 0; which--) {
      const host = this.#classes.head(which);
      if (host !== 0) return host;
    }
    return 0;
  }

  #count(host: number, change: number): void {
    const before = this.#counts[host]!;
    const after = before + change;
    this.#counts[host] = after;
    // The class of 0 is -1: no list.
    const to = 31 - Math.clz32(after);
    if (31 - Math.clz32(before) === to) return;
    this.#classes.remove(host);
    if (to >= 0) this.#classes.append(to, host);
  }
}
