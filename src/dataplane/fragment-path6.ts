/**
 * What becomes of IPv6 fragments: as fragment-path.ts has it for IPv4, with the fragment header's 32 bits of identification
 * and without overlaps. Hosts that share an address outside may choose the same identification, so each datagram gets
 * another on its way out, at random (RFC 7739, section 5). No kernel program looks for ports in a fragment: all of them come to
 * worker 0, from either side, and it passes on those of another worker's flows.
 *
 * A datagram is known by a hash of its addresses, not by their names: a later fragment may come before any flow has named them.
 */
import { packetWord, packetWords } from "../tables/batch.ts";
import { flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { hashWords } from "../tables/hash.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import { uplinkWord } from "../tables/shared-state.ts";
import { fragmentHeader, fragmentHeaderBytes, fragmentOffsetMask6, ipv6 } from "../wire/ipv6.ts";
import { clearVnetHeader } from "../wire/vnet.ts";
import type { Conntrack } from "./conntrack.ts";
import { Decoder6, nameAt } from "./decode6.ts";
import type { Egress } from "./egress.ts";
import { flowFlag } from "./flow-state.ts";
import type { CountDrop, CountPackets } from "./forwarder6.ts";
import { FragmentRanges } from "./fragment-ranges.ts";
import { entryWords, Fragments, knownCapacity } from "./fragments.ts";
import { setAddress6 } from "./masquerade6.ts";
import { fromInside, fromOutside, type PostOffice } from "./post-office.ts";
import type { Uplinks6 } from "./uplinks6.ts";
import { verdict } from "./verdict.ts";

const tunDevice = 0;

export class FragmentPath6 {
  readonly #fragments = new Fragments();
  readonly #ranges = new FragmentRanges(knownCapacity);
  readonly #conntrack: Conntrack;
  readonly #egress: Egress;
  readonly #uplinks: Uplinks6;
  readonly #post: PostOffice;
  readonly #decoder: Decoder6;
  /** The row of a fragment that has waited. */
  readonly #held = new Int32Array(packetWords);
  readonly #key0: number;
  readonly #key1: number;
  readonly #count: CountPackets;
  readonly #turnBack: (row: number, at: number, length: number) => number;
  readonly #drop: CountDrop;
  readonly #random: () => number;
  /** Of the fragment in hand: hashes of its addresses, its identification, and its part of the datagram in units of 8 bytes. */
  #source = 0;
  #destination = 0;
  #datagram = 0;
  #from = 0;
  #to = 0;

  /**
   * `count` is told of every later fragment that is sent on; the keys are those of its tables; `turnBack` takes those that are for our own addresses,
   * `drop` counts one that waited in vain.
   */
  constructor(
    conntrack: Conntrack,
    egress: Egress,
    uplinks: Uplinks6,
    post: PostOffice,
    key0: number,
    key1: number,
    count: CountPackets,
    turnBack: (row: number, at: number, length: number) => number,
    drop: CountDrop,
    random: () => number,
  ) {
    this.#turnBack = turnBack;
    this.#drop = drop;
    this.#random = random;
    this.#conntrack = conntrack;
    this.#egress = egress;
    this.#uplinks = uplinks;
    this.#post = post;
    this.#decoder = new Decoder6(conntrack.names);
    this.#key0 = key0;
    this.#key1 = key1;
    this.#count = count;
  }

  /** Forgets fragments that waited too long and returns how many. */
  expire(nowMs: number): number {
    return this.#fragments.expire(nowMs);
  }

  /** Takes a first fragment in hand, as it came, until `learn`. Returns the verdict. `device` is where it came from. */
  begin(rows: Int32Array, p: number, device: number, nowMs: number): number {
    this.#takeInHand(rows, p, device);
    const known = this.#fragments.find(this.#source, this.#destination, this.#datagram, nowMs);
    return known < 0 ? verdict.forward : this.#ranges.add(known / entryWords, this.#from, this.#to);
  }

  /** Passes the first fragment in hand, and those that waited for it, to the worker that owns its flow. */
  mailFirst(rows: Int32Array, p: number, owner: number, device: number, nowMs: number): number {
    const result = this.#mail(owner, rows[p + packetWord.at]!, rows[p + packetWord.length]!, device);
    if (result === verdict.forward) this.learn(device, -(owner + 1), nowMs);
    return result;
  }

  /** Gives a first fragment that leaves another identification, and remembers its flow as `learn` does. */
  learnOut(rows: Int32Array, p: number, flow: number, nowMs: number): void {
    const identification = (this.#random() * 2 ** 32) | 0;
    setIdentification6(this.#egress.view, rows[p + packetWord.fragment]!, identification);
    this.learn(tunDevice, (flow << 1) | original, nowMs, identification);
  }

  /** Remembers what was decided for the first fragment in hand (`flow << 1 | direction`, or minus the owner plus one) and sends on those that waited for it. */
  learn(device: number, value: number, nowMs: number, identification = 0): void {
    const source = this.#source;
    const destination = this.#destination;
    const datagram = this.#datagram;
    const fragments = this.#fragments;
    if (fragments.find(source, destination, datagram, nowMs) >= 0) return;
    const known = fragments.learn(source, destination, datagram, value, identification, nowMs) / entryWords;
    this.#ranges.reset(known);
    this.#ranges.add(known, this.#from, this.#to);
    while (fragments.waiting > 0) {
      const to = this.#egress.takeScratch();
      if (to === 0) return;
      const length = fragments.release(this.#egress.memory, to, source, destination, datagram, nowMs);
      if (length === 0) return;
      let result = this.#decoder.decode(this.#egress.view, to, length, 0, this.#held, 0);
      if (result === verdict.forward) result = this.later(this.#held, 0, device, nowMs);
      if (result !== verdict.forward) this.#drop(result);
    }
  }

  /** A fragment without ports: follows its first, or waits for it. `device` is where it came from. */
  later(rows: Int32Array, p: number, device: number, nowMs: number): number {
    this.#takeInHand(rows, p, device);
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const fragments = this.#fragments;
    const known = fragments.find(this.#source, this.#destination, this.#datagram, nowMs);
    if (known < 0)
      return fragments.hold(this.#egress.memory, at, length, this.#source, this.#destination, this.#datagram, nowMs);
    const result = this.#ranges.add(known / entryWords, this.#from, this.#to);
    return result === verdict.forward
      ? this.#follow(known, rows[p + packetWord.fragment]!, at, length, device)
      : result;
  }

  /** `known`: the entry of its datagram; `header`: where its fragment header is. */
  #follow(known: number, header: number, at: number, length: number, device: number): number {
    const value = this.#fragments.value(known);
    if (value < 0) return this.#mail(-value - 1, at, length, device);
    const { words } = this.#conntrack.flows;
    const { names } = this.#conntrack;
    const { view } = this.#egress;
    const row = (value >>> 1) * flowWords;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    const isOriginal = (value & 1) === original;
    const source = nameAt(names, view, at + ipv6.source);
    const destination = nameAt(names, view, at + ipv6.destination);
    const inside = words[row + flowWord.inside]!;
    const remote = words[row + flowWord.remote]!;
    const mapped = words[row + flowWord.mapped]!;
    // The flow may have ended, and its row serve another, since the first fragment was seen.
    const same = isOriginal ? inside === source && remote === destination : remote === source && mapped === destination;
    if (outside === 0 || source === 0 || !same) return verdict.unsolicited;
    if (!isOriginal) {
      this.#count(row, uplink, reply, length, 1);
      setAddress6(view, at + ipv6.destination, names, inside);
      return this.#egress.toInside(at, length, 0, at, 0);
    }
    if (!this.#uplinks.isReady(uplink) || !this.#uplinks.isOwn(uplink, mapped)) return verdict.uplinkNotReady;
    const turnsBack = (words[row + flowWord.state]! & flowFlag.turnsBack) !== 0;
    // The first one fitted, and its sender knows the MTU: no second word about it.
    if (!turnsBack && length > this.#egress.uplinkWord(uplink, uplinkWord.mtu)) return verdict.tooBig;
    this.#count(row, uplink, original, length, 1);
    setAddress6(view, at + ipv6.source, names, mapped);
    setIdentification6(view, header, this.#fragments.identification(known));
    if (turnsBack) return this.#turnBack(row, at, length);
    return this.#egress.toUplink6(uplink, at, length, 0, at, 0);
  }

  #mail(owner: number, at: number, length: number, device: number): number {
    clearVnetHeader(this.#egress.view, at - vnetBytes);
    return this.#post.send(owner, at, length, device === tunDevice ? fromInside : fromOutside + device - 1);
  }

  /** Notes which datagram a fragment is of, and which part. With the device, so that nobody's fragments follow a first that came another way. */
  #takeInHand(rows: Int32Array, p: number, device: number): void {
    const { view } = this.#egress;
    const at = rows[p + packetWord.at]!;
    const offset = view.getUint16(rows[p + packetWord.fragment]! + fragmentHeader.offset) & fragmentOffsetMask6;
    const bytes = at + rows[p + packetWord.length]! - rows[p + packetWord.fragment]! - fragmentHeaderBytes;
    this.#source = this.#hash(view, at + ipv6.source, device);
    this.#destination = this.#hash(view, at + ipv6.destination, device);
    this.#datagram = rows[p + packetWord.identification]!;
    this.#from = offset >>> 3;
    this.#to = (offset + bytes + 7) >>> 3;
  }

  #hash(view: DataView, at: number, device: number): number {
    const word3 = view.getInt32(at + 12);
    const key0 = this.#key0 ^ device;
    return hashWords(key0, this.#key1, view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), word3);
  }
}

function setIdentification6(view: DataView, header: number, identification: number): void {
  view.setInt32(header + fragmentHeader.identification, identification);
}
