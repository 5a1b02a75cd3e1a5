/**
 * The whole data plane between in-memory devices, with a clock that a test moves and a random number
 * that it seeds. Nothing is stubbed but Linux.
 *
 *     client 192.168.10.2 ── TUN ── forwarder ── uplink 0, address 203.0.113.2 ── server 192.0.2.10
 *                                             ├─ uplink 1, address 198.51.100.2
 *                                             └─ uplink 2, address 198.51.100.130
 *
 * Every packet that comes out anywhere passes `leaves` or `leaves6` below, so that each test of this folder also
 * checks what must hold always: a right header checksum, a true length, no foreign source on an uplink.
 *
 * Of IPv6, client fd00:10::2, server 2001:db8:ff::10, uplink n has 2001:db8:n+1::2.
 */

import { expect } from "vitest";
import { FlowMemory, flowMemoryBytes } from "../../src/dataplane/flow-memory.ts";
import { Forwarder, type ForwarderOptions } from "../../src/dataplane/forwarder.ts";
import { dropNames } from "../../src/dataplane/verdict.ts";
import { MemoryIO } from "../../src/io/memory-io.ts";
import { writeInsideNetworks } from "../../src/tables/inside-networks.ts";
import { mailboxBytes } from "../../src/tables/mailbox.ts";
import {
  counter,
  SharedState,
  uplinkCounter,
  uplinkCounterAt,
  uplinkWord,
  uplinkWords,
} from "../../src/tables/shared-state.ts";
import {
  addressNumber,
  concat,
  type ParsedPacket,
  parse,
  randomFrom,
  readVnetHeader,
  type VnetFields,
  vnetHeader,
} from "../support/packets.ts";
import { address6Words, type ParsedPacket6, parse6 } from "../support/packets6.ts";
import { plainForwarder } from "../support/plain-forwarder.ts";

export { errorSource } from "../support/plain-forwarder.ts";
export const client = "192.168.10.2";
export const otherClient = "192.168.10.3";
export const server = "192.0.2.10";
export const otherServer = "192.0.2.11";
export const uplinkAddresses = ["203.0.113.2", "198.51.100.2", "198.51.100.130"];
export const firstPort = 16_384;
export const client6 = "fd00:10::2";
export const otherClient6 = "fd00:10::3";
export const server6 = "2001:db8:ff::10";
export const otherServer6 = "2001:db8:ff::11";
export const uplinkAddresses6 = ["2001:db8:1::2", "2001:db8:2::2", "2001:db8:3::2"];

export interface RigOptions extends Partial<Omit<ForwarderOptions, "io" | "shared" | "mailboxes" | "wake" | "clock">> {
  /** Whether the uplinks have IPv6 too; else all of it goes nowhere. */
  hasIpv6?: boolean;
  /** MAC header bytes of each uplink. */
  links?: number[];
  mtu?: number;
  seed?: number;
  startMs?: number;
  receiveSlots?: number;
  scratchSlots?: number;
  shared?: SharedState;
  mailboxes?: SharedArrayBuffer;
  /** Other devices than those that `links` describes. */
  io?: MemoryIO;
}

/** A packet that left on a device. */
export interface Left extends ParsedPacket {
  /** The IP packet. */
  bytes: Uint8Array;
  vnet: Required<VnetFields>;
  ethernet: Uint8Array;
}

export interface Left6 extends ParsedPacket6 {
  bytes: Uint8Array;
  vnet: Required<VnetFields>;
  ethernet: Uint8Array;
}

export interface UplinkRow {
  ready?: number;
  address?: string;
  mtu?: number;
  ready6?: number;
  /** "": none. */
  address6?: string;
  /** "2001:db8:a::/48"; "": none. */
  prefix6?: string;
  /** 1 while it gets flows only because a lower tier is away. */
  standsIn?: number;
  /** Any other number than before has its flows cut off, or the displaced ones. */
  cutAll?: number;
  cutDisplaced?: number;
}

export class Rig {
  readonly io: MemoryIO;
  readonly shared: SharedState;
  readonly forwarder: Forwarder;
  readonly links: number[];
  /** Workers that were woken because they have mail. */
  readonly woken: number[] = [];
  readonly #worker: number;
  nowMs: number;

  constructor(options: RigOptions = {}) {
    const { links = [14], mtu = 1500, seed = 1, startMs = 1000, receiveSlots = 32, scratchSlots = 64 } = options;
    this.links = links;
    this.nowMs = startMs;
    this.#worker = options.worker ?? 0;
    this.io = options.io ?? new MemoryIO({ linkHeaderBytes: links, receiveSlots, scratchSlots });
    this.shared = options.shared ?? new SharedState();
    if (options.shared === undefined) {
      this.shared.lookups[0]!.fill(0);
      this.shared.lookups6[0]!.fill(0);
      for (const masks of [this.shared.masks, this.shared.masks6]) masks.fill(-1);
      for (let uplink = 0; uplink < links.length; uplink++) {
        const [address, address6] = [uplinkAddresses[uplink]!, uplinkAddresses6[uplink]!];
        this.setUplink(uplink, { ready: 1, address, mtu });
        if (options.hasIpv6 === true) this.setUplink(uplink, { ready6: 1, address6 });
      }
      this.setInside("0.0.0.0/0", "::/0");
    }
    this.forwarder = new Forwarder({
      ...plainForwarder,
      uplinks: links.length,
      flows: 1024,
      flowsPerHost: 1024,
      firstPort,
      lastPort: firstPort + 1023,
      key0: 0x1234_5678,
      key1: 0x0fed_cba9,
      memory: openMemory(options.workers ?? 1),
      random: randomFrom(seed),
      ...options,
      io: this.io,
      shared: this.shared,
      mailboxes: options.mailboxes ?? null,
      wake: (worker) => this.woken.push(worker),
      clock: () => this.nowMs,
    });
  }

  setUplink(uplink: number, row: UplinkRow): void {
    this.shared.updateUplinks((words, bytes) => {
      const at = uplink * uplinkWords;
      if (row.ready !== undefined) words[at + uplinkWord.ready] = row.ready;
      if (row.address !== undefined) words[at + uplinkWord.address] = addressNumber(row.address);
      if (row.mtu !== undefined) words[at + uplinkWord.mtu] = row.mtu;
      if (row.ready6 !== undefined) words[at + uplinkWord.ready6] = row.ready6;
      if (row.address6 !== undefined) words.set(address6Words(row.address6 || "::"), at + uplinkWord.address6);
      if (row.prefix6 !== undefined) {
        const [prefix, length] = row.prefix6.split("/") as [string, string?];
        words.set(address6Words(prefix || "::"), at + uplinkWord.prefix6);
        words[at + uplinkWord.prefix6Length] = Number(length ?? 0);
      }
      if (row.standsIn !== undefined) words[at + uplinkWord.standsIn] = row.standsIn;
      if (row.cutAll !== undefined) words[at + uplinkWord.cutAll] = row.cutAll;
      if (row.cutDisplaced !== undefined) words[at + uplinkWord.cutDisplaced] = row.cutDisplaced;
      bytes.set(linkHeader(uplink), (at + uplinkWord.linkHeader) * 4);
      bytes.set(linkHeader6(uplink), (at + uplinkWord.linkHeader6) * 4);
    });
  }

  /** The networks that inside hosts may have their addresses from; unless told, all. */
  setInside(...networks: string[]): void {
    const parsed = networks.map((network) => {
      const [address, length] = network.split("/");
      const words = address!.includes(":") ? address6Words(address!) : [addressNumber(address!)];
      return { words, prefixLength: Number(length) };
    });
    this.shared.updateUplinks(() => writeInsideNetworks(this.shared.inside, parsed));
  }

  /** Sends new flows to this uplink, or to what the function says for a hash. */
  steerTo(uplink: number | ((hash: number) => number)): void {
    for (let hash = 0; hash < this.shared.lookups[0]!.length; hash++) {
      this.shared.lookups[0]![hash] = typeof uplink === "number" ? uplink : uplink(hash);
      this.shared.lookups6[0]![hash] = this.shared.lookups[0]![hash]!;
    }
  }

  injectInside(packet: Uint8Array, vnet: VnetFields = {}): void {
    this.io.inject(0, concat(vnetHeader(vnet), packet));
  }

  injectUplink(uplink: number, packet: Uint8Array, vnet: VnetFields = {}): void {
    const ethernet = new Uint8Array(this.links[uplink]!).fill(0xee);
    this.io.inject(uplink + 1, concat(vnetHeader(vnet), ethernet, packet));
  }

  /** Turns of the loop until nothing is received and everything is sent. */
  run(): void {
    while (this.forwarder.breath(0) > 0);
    // What the last turn made of its mail is sent by the next.
    this.forwarder.breath(0);
  }

  /** What left on an uplink, or with -1 towards the inside, since last asked. */
  left(uplink: number): Left[] {
    const linkBytes = uplink < 0 ? 0 : this.links[uplink]!;
    return this.io.takeSent(uplink + 1).map((frame) => this.#leaves(frame, uplink, linkBytes));
  }

  /** Sends packets from the inside and returns what leaves on an uplink. */
  out(packets: Uint8Array | Uint8Array[], uplink = 0, vnet: VnetFields = {}): Left[] {
    for (const packet of [packets].flat()) this.injectInside(packet, vnet);
    this.run();
    return this.left(uplink);
  }

  /** Lets packets arrive on an uplink and returns what leaves towards the inside. */
  in(packets: Uint8Array | Uint8Array[], uplink = 0, vnet: VnetFields = {}): Left[] {
    for (const packet of [packets].flat()) this.injectUplink(uplink, packet, vnet);
    this.run();
    return this.left(-1);
  }

  /** Like `out`, for one packet that must leave as one packet. */
  outOne(packet: Uint8Array, uplink = 0, vnet: VnetFields = {}): Left {
    const left = this.out(packet, uplink, vnet);
    expect(left, `one packet on uplink ${uplink}; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  inOne(packet: Uint8Array, uplink = 0, vnet: VnetFields = {}): Left {
    const left = this.in(packet, uplink, vnet);
    expect(left, `one packet inside; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  /** `left`, `out`, `in`, `outOne` and `inOne` for IPv6. */
  left6(uplink: number): Left6[] {
    const linkBytes = uplink < 0 ? 0 : this.links[uplink]!;
    return this.io.takeSent(uplink + 1).map((frame) => this.#leaves6(frame, uplink, linkBytes));
  }

  out6(packets: Uint8Array | Uint8Array[], uplink = 0, vnet: VnetFields = {}): Left6[] {
    for (const packet of [packets].flat()) this.injectInside(packet, vnet);
    this.run();
    return this.left6(uplink);
  }

  in6(packets: Uint8Array | Uint8Array[], uplink = 0, vnet: VnetFields = {}): Left6[] {
    for (const packet of [packets].flat()) this.injectUplink(uplink, packet, vnet);
    this.run();
    return this.left6(-1);
  }

  outOne6(packet: Uint8Array, uplink = 0, vnet: VnetFields = {}): Left6 {
    const left = this.out6(packet, uplink, vnet);
    expect(left, `one packet on uplink ${uplink}; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  inOne6(packet: Uint8Array, uplink = 0, vnet: VnetFields = {}): Left6 {
    const left = this.in6(packet, uplink, vnet);
    expect(left, `one packet inside; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  /** Moves the clock and lets the forwarder look at it. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.run();
  }

  /** The drop counters that are not 0, by name. */
  get drops(): Record<string, number> {
    const counters = this.shared.counters(this.#worker);
    const drops: Record<string, number> = {};
    for (const [reason, name] of dropNames.entries()) {
      if (counters[counter.drops + reason] !== 0) drops[name] = counters[counter.drops + reason]!;
    }
    return drops;
  }

  counter(which: number): number {
    return this.shared.counters(this.#worker)[which]!;
  }

  uplinkCounters(uplink: number): Record<keyof typeof uplinkCounter, number> {
    const read = Object.entries(uplinkCounter).map(([name, which]) => [
      name,
      this.counter(uplinkCounterAt(uplink, which)),
    ]);
    return Object.fromEntries(read);
  }

  get openFlows(): number {
    return this.forwarder.conntrack.flows.open;
  }

  #leaves(frame: Uint8Array, uplink: number, linkBytes: number): Left {
    const bytes = frame.slice(10 + linkBytes);
    const parsed = parse(bytes);
    if (!parsed.headerChecksumOk) throw new Error("a packet left with a wrong header checksum");
    const own = this.shared.uplinks[uplink * uplinkWords + uplinkWord.address];
    if (uplink >= 0 && addressNumber(parsed.source) !== own)
      throw new Error(`a packet left uplink ${uplink} with the source ${parsed.source}`);
    return Object.assign(parsed, { bytes, vnet: readVnetHeader(frame), ethernet: frame.slice(10, 10 + linkBytes) });
  }

  #leaves6(frame: Uint8Array, uplink: number, linkBytes: number): Left6 {
    const bytes = frame.slice(10 + linkBytes);
    const parsed = parse6(bytes);
    if (uplink >= 0 && !this.#isOwn6(uplink, parsed.source))
      throw new Error(`a packet left uplink ${uplink} with the source ${parsed.source}`);
    return Object.assign(parsed, { bytes, vnet: readVnetHeader(frame), ethernet: frame.slice(10, 10 + linkBytes) });
  }

  /** Whether an address is an uplink's, or of its prefix. */
  #isOwn6(uplink: number, address: string): boolean {
    const words = this.shared.uplinks.subarray(uplink * uplinkWords, (uplink + 1) * uplinkWords);
    const bits = (from: ArrayLike<number>) =>
      [0, 1, 2, 3].map((word) => (from[word]! >>> 0).toString(2).padStart(32, "0")).join("");
    const given = bits(address6Words(address));
    if (given === bits(words.subarray(uplinkWord.address6))) return true;
    const length = words[uplinkWord.prefix6Length]!;
    return length > 0 && given.slice(0, length) === bits(words.subarray(uplinkWord.prefix6)).slice(0, length);
  }
}

function openMemory(workers: number): FlowMemory {
  return new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(workers)), workers);
}

/** Next hop, own address, IPv4: told apart by the uplink. */
export function linkHeader(uplink: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, uplink, 1, 2, 0, 0, 0, uplink, 2, 8, 0);
}

/** The same for IPv6. */
export function linkHeader6(uplink: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, uplink, 9, 2, 0, 0, 0, uplink, 2, 0x86, 0xdd);
}

/** A rig whose uplinks have IPv6. */
export function openRig6(options: RigOptions = {}): Rig {
  return new Rig({ ...options, hasIpv6: true });
}

/** Several workers of one box: shared uplinks, a mailbox for every pair. */
export function openWorkers(workers: number, options: RigOptions = {}): Rig[] {
  const mailboxes = new SharedArrayBuffer(workers * workers * mailboxBytes);
  const first = new Rig({ ...options, worker: 0, workers, mailboxes });
  const others = Array.from(
    { length: workers - 1 },
    (_, i) => new Rig({ ...options, worker: i + 1, workers, mailboxes, shared: first.shared }),
  );
  return [first, ...others];
}
