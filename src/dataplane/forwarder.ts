/**
 * The path of a packet, both ways, top to bottom. A worker calls `breath` for ever: inhale what the
 * devices have, process it in batches, exhale with the next turn (the breath is Snabb's).
 *
 * Outbound, inside -> uplink:            Inbound, uplink -> inside:
 *   1 decode   validate, tuple             1 decode
 *   2 hash     and touch the tables        2 hash
 *   3 find     the flow, or open one       3 find     the flow by its reply tuple, or drop
 *   4 track    TCP state                   4 track
 *   5 fit      or tell the sender          5 rewrite  the destination
 *   6 rewrite  the source                  6 queue    on the TUN
 *   7 queue    on the flow's uplink
 */
import { Batch, packetWord, packetWords } from "../tables/batch.ts";
import { flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { Mailbox } from "../tables/mailbox.ts";
import { type PacketIO, queueWords, vnetBytes } from "../tables/packet-memory.ts";
import {
  counter,
  noUplink,
  type SharedState,
  uplinkCounter,
  uplinkCounterAt,
  uplinkWord,
} from "../tables/shared-state.ts";
import { isQuery } from "../wire/icmp.ts";
import { protocolIcmp, protocolTcp } from "../wire/ipv4.ts";
import { ack, rst, syn } from "../wire/tcp.ts";
import { isPartial, isSuperPacket, vnet } from "../wire/vnet.ts";
import { chooseUplink } from "./classify.ts";
import { Conntrack, type ConntrackOptions } from "./conntrack.ts";
import { decode, decodeBatch, kind } from "./decode.ts";
import { Egress } from "./egress.ts";
import { FragmentPath } from "./fragment-path.ts";
import { findQuotedFlow, floorNextHopMtu, translateErrorInbound, translateErrorOutbound } from "./icmp-error.ts";
import { setDestination, setSource } from "./masquerade.ts";
import { isOver, tcpState } from "./tcp-state.ts";
import { verdict } from "./verdict.ts";

export interface ForwarderOptions extends Omit<ConntrackOptions, "nowMs"> {
  io: PacketIO;
  shared: SharedState;
  /** A number of `balanceKey`, and the secret of that hash. */
  balanceKey: number;
  balanceKey0: number;
  balanceKey1: number;
  /** Source address of our own ICMP errors. */
  errorSource: number;
  /** Shared memory of `mailboxBytes` for every ordered pair of workers; null when there is one worker. */
  mailboxes: SharedArrayBuffer | null;
  /** Wakes another worker from its wait, because there is mail. */
  wake: (worker: number) => void;
  /** Monotonic milliseconds. */
  clock: () => number;
}

/** Flows ended a turn, at most: some 100 us. */
const expiryBudget = 256;
/** What every IPv4 host takes (RFC 791, section 3.2). */
const smallestMtu = 576;
/** With fewer flows than this their rows are in the cache anyway, and touching them first costs more than it saves. */
const cachedFlows = 16_384;

export class Forwarder {
  readonly conntrack: Conntrack;
  readonly #options: ForwarderOptions;
  readonly #io: PacketIO;
  readonly #egress: Egress;
  readonly #view: DataView;
  readonly #batch: Batch;
  readonly #fragments: FragmentPath;
  readonly #inboxes: readonly Mailbox[];
  readonly #counters: Float64Array;
  #generation = -1;
  #nowMs: number;
  /** Keeps the reads of the touch pass alive. */
  #touched = 0;

  constructor(options: ForwarderOptions) {
    const { io, shared, worker, workers, mailboxes } = options;
    this.#options = options;
    this.#io = io;
    this.#nowMs = options.clock();
    this.#counters = shared.counters(worker);
    this.conntrack = new Conntrack({ ...options, nowMs: this.#nowMs }, this.#counters);
    this.#egress = new Egress(io, options.errorSource);
    this.#view = this.#egress.view;
    this.#batch = new Batch(io.layout.receiveSlots);
    const others = mailboxes === null ? [] : Array.from({ length: workers }, (_, other) => other);
    const outboxes = others.map((other) => new Mailbox(mailboxes!, worker, other, workers));
    this.#inboxes = others.map((other) => new Mailbox(mailboxes!, other, worker, workers));
    const count = (row: number, uplink: number, direction: number, bytes: number) =>
      this.#count(row, uplink, direction, bytes, 1);
    this.#fragments = new FragmentPath(this.conntrack.flows, this.#egress, worker, outboxes, count);
  }

  /** One turn of the loop: sends what the last one queued, waits up to `timeoutMs`, forwards what came. Returns how many packets came. */
  breath(timeoutMs: number): number {
    const received = this.#io.turn(timeoutMs);
    const nowMs = this.#options.clock();
    this.#nowMs = nowMs;
    this.#egress.beginTurn();
    this.#followUplinks();
    if (received > 0) {
      this.#outbound();
      for (let uplink = 0; uplink < this.#options.uplinks; uplink++) this.#inbound(uplink);
    }
    this.#collectMail();
    this.#wakeMailed();
    this.conntrack.expire(nowMs, expiryBudget);
    this.#drop(verdict.fragmentTimedOut, this.#fragments.expire(nowMs));
    this.#countTurn();
    return received;
  }

  /** Inside -> uplinks. */
  #outbound(): void {
    const batch = this.#batch;
    decodeBatch(this.#view, this.#io.devices[0]!, batch); // 1
    this.#hashBatch(batch); // 2
    const { rows } = batch;
    for (let p = 0, end = batch.count * packetWords; p < end; p += packetWords) {
      let result = rows[p + packetWord.verdict]!;
      if (result === verdict.forward) result = this.#forwardOut(rows, p, false);
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  /** One packet from the inside. `mailed`: another worker passed it on. */
  #forwardOut(rows: Int32Array, p: number, mailed: boolean): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind !== kind.flow) {
      if (packetKind === kind.icmpError) return this.#errorOut(rows, p);
      if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, 0, this.#nowMs);
      const owner = mailed ? -1 : this.#fragments.foreignOwner(rows, p);
      if (owner >= 0) return this.#fragments.mailFirst(rows, p, owner, this.#nowMs);
    }
    const { flows } = this.conntrack;
    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if ((id & 1) === reply) return verdict.ownAddress;
    let flow = id >>> 1;
    if (flow !== 0 && (this.#hasLostItsAddress(flow) || this.#canBeginElsewhere(flow, rows, p))) {
      this.conntrack.close(flow);
      flow = 0;
    }
    if (flow === 0) flow = this.#openFlow(rows, p);
    if (flow < 0) return -flow;

    const { words } = flows;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    if (this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) return verdict.uplinkNotReady;
    if (protocol === protocolTcp) this.conntrack.trackTcp(flow, original, rows[p + packetWord.flags]!, this.#nowMs); // 4

    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const offload = rows[p + packetWord.offload]!;
    const l4End = rows[p + packetWord.l4End]!;
    const mtu = this.#egress.uplinkWord(uplink, uplinkWord.mtu);
    if (length > mtu && !this.#egress.fits(at, length, l4End, offload, mtu, this.#nowMs)) return verdict.tooBig; // 5
    this.#count(row, uplink, original, length, this.#segments(at, offload, at + length - l4End));

    const l4 = rows[p + packetWord.l4]!;
    setSource(this.#view, at, l4, protocol, words[row + flowWord.mapped]!, outside >>> 16, isPartial(offload)); // 6
    const result = this.#egress.toUplink(uplink, at, length, l4, at, offload); // 7
    if (packetKind === kind.firstFragment) this.#fragments.learn(rows, p, 0, (flow << 1) | original, this.#nowMs);
    return result;
  }

  /** Uplink -> inside. */
  #inbound(uplink: number): void {
    const device = this.#io.devices[uplink + 1]!;
    if (device.counts[queueWords.receiveCount] === 0) return;
    const batch = this.#batch;
    decodeBatch(this.#view, device, batch); // 1
    this.#hashBatch(batch); // 2
    const { rows } = batch;
    const { linkBytes } = device;
    for (let p = 0, end = batch.count * packetWords; p < end; p += packetWords) {
      let result = rows[p + packetWord.verdict]!;
      if (result === verdict.forward) result = this.#forwardIn(rows, p, uplink, linkBytes);
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  #forwardIn(rows: Int32Array, p: number, uplink: number, linkBytes: number): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind === kind.icmpError) return this.#errorIn(rows, p, uplink, linkBytes);
    if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, uplink + 1, this.#nowMs);

    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if (id === 0) return verdict.unsolicited;
    if ((id & 1) === original) return verdict.badSource;
    const { words } = this.conntrack.flows;
    const row = (id >>> 1) * flowWords;
    if ((words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    if (protocol === protocolTcp) this.conntrack.trackTcp(id >>> 1, reply, rows[p + packetWord.flags]!, this.#nowMs); // 4

    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const offload = rows[p + packetWord.offload]!;
    const start = at - linkBytes;
    this.#count(row, uplink, reply, length, this.#segments(start, offload, at + length - rows[p + packetWord.l4End]!));

    const l4 = rows[p + packetWord.l4]!;
    const insidePort = words[row + flowWord.ports]! >>> 16;
    setDestination(this.#view, at, l4, protocol, words[row + flowWord.inside]!, insidePort, isPartial(offload)); // 5
    const result = this.#egress.toInside(at, length, start, offload); // 6
    if (packetKind === kind.firstFragment) this.#fragments.learn(rows, p, uplink + 1, id, this.#nowMs);
    return result;
  }

  /** Hashes every tuple and reads its index slot and row before the work begins: the cache misses of a batch then overlap instead of adding up. */
  #hashBatch(batch: Batch): void {
    const { flows } = this.conntrack;
    const { rows } = batch;
    const end = batch.count * packetWords;
    let touched = 0;
    for (let p = 0; p < end; p += packetWords) {
      if (rows[p + packetWord.verdict] !== verdict.forward) continue;
      const source = rows[p + packetWord.source]!;
      const destination = rows[p + packetWord.destination]!;
      const hash = flows.hash(source, destination, rows[p + packetWord.ports]!, rows[p + packetWord.protocol]!);
      rows[p + packetWord.hash] = hash;
      touched ^= flows.touchIndex(hash);
    }
    if (flows.open > cachedFlows) {
      for (let p = 0; p < end; p += packetWords) touched ^= flows.touchRow(rows[p + packetWord.hash]!);
    }
    this.#touched ^= touched;
  }

  #findFlow(rows: Int32Array, p: number, protocol: number): number {
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const ports = rows[p + packetWord.ports]!;
    return this.conntrack.flows.find(rows[p + packetWord.hash]!, source, destination, ports, protocol);
  }

  /**
   * Whether the uplink has another address than the one that the flow is mapped to: nothing may leave with that source any
   * more. An uplink without any address, between two leases, may yet get the old one back.
   */
  #hasLostItsAddress(flow: number): boolean {
    const { words } = this.conntrack.flows;
    const row = flow * flowWords;
    const address = this.#egress.uplinkWord(words[row + flowWord.outside]! & 0xff, uplinkWord.address);
    return address !== 0 && words[row + flowWord.mapped] !== address;
  }

  /**
   * Whether a SYN finds its flow on an uplink that is down, and nothing is lost by a flow on another: the connection before
   * it is over and the client uses its port again, or it was never answered. On the old flow it would wait for the uplink.
   */
  #canBeginElsewhere(flow: number, rows: Int32Array, p: number): boolean {
    const { words } = this.conntrack.flows;
    const row = flow * flowWords;
    if (this.#egress.uplinkWord(words[row + flowWord.outside]! & 0xff, uplinkWord.ready) !== 0) return false;
    if (rows[p + packetWord.protocol] !== protocolTcp) return false;
    const state = words[row + flowWord.state]!;
    return (rows[p + packetWord.flags]! & (syn | ack | rst)) === syn && (isOver(state) || state <= tcpState.synSent);
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. */
  #openFlow(rows: Int32Array, p: number): number {
    const { uplinks, shared, balanceKey, balanceKey0, balanceKey1 } = this.#options;
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const ports = rows[p + packetWord.ports]!;
    const protocol = rows[p + packetWord.protocol]!;
    const flags = rows[p + packetWord.flags]!;
    if (protocol === protocolTcp && (flags & (syn | ack | rst)) !== syn) return -verdict.tcpNoFlow;
    if (protocol === protocolIcmp && !isQuery(flags)) return -verdict.unsolicited;
    for (let uplink = 0; uplink < uplinks; uplink++) {
      // Our own output, routed back to us.
      if (source === this.#egress.uplinkWord(uplink, uplinkWord.address)) return -verdict.ownAddress;
    }
    let uplink = this.conntrack.mappedUplink(source, ports, protocol);
    if (uplink < 0 || this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) {
      const { lookup } = shared;
      uplink = chooseUplink(lookup, balanceKey, balanceKey0, balanceKey1, source, destination, ports, protocol);
      if (uplink === noUplink) return -verdict.noUplink;
      // The table is a moment behind the uplinks.
      if (this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) return -verdict.uplinkNotReady;
    }
    const address = this.#egress.uplinkWord(uplink, uplinkWord.address);
    return this.conntrack.open(source, destination, ports, protocol, uplink, address, this.#nowMs);
  }

  /** An ICMP error that an inside host, or the router's own kernel, sends about a flow. */
  #errorOut(rows: Int32Array, p: number): number {
    const { flows } = this.conntrack;
    const at = rows[p + packetWord.at]!;
    const l4 = rows[p + packetWord.l4]!;
    const length = rows[p + packetWord.length]!;
    const id = findQuotedFlow(this.#view, at, length, l4, flows, original);
    if (id === 0) return verdict.icmpErrorNoFlow;
    const row = (id >>> 1) * flowWords;
    if (flows.words[row + flowWord.remote] !== rows[p + packetWord.destination]) return verdict.icmpErrorNoFlow;
    const uplink = flows.words[row + flowWord.outside]! & 0xff;
    if (!this.#egress.maySend(uplink, flows.words[row + flowWord.mapped]!)) return verdict.uplinkNotReady;
    translateErrorOutbound(this.#view, at, length, l4, flows.words, id >>> 1);
    return this.#egress.toUplink(uplink, at, length, l4, at, 0);
  }

  /** An ICMP error from outside about a flow. */
  #errorIn(rows: Int32Array, p: number, uplink: number, linkBytes: number): number {
    const { flows } = this.conntrack;
    const at = rows[p + packetWord.at]!;
    const l4 = rows[p + packetWord.l4]!;
    const length = rows[p + packetWord.length]!;
    const id = findQuotedFlow(this.#view, at, length, l4, flows, reply);
    if (id === 0) return verdict.icmpErrorNoFlow;
    const row = (id >>> 1) * flowWords;
    if (flows.words[row + flowWord.mapped] !== rows[p + packetWord.destination]) return verdict.icmpErrorNoFlow;
    if ((flows.words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    translateErrorInbound(this.#view, at, length, l4, flows.words, id >>> 1);
    floorNextHopMtu(this.#view, l4, smallestMtu);
    return this.#egress.toInside(at, length, at - linkBytes, 0);
  }

  /** What other workers passed on to this one. */
  #collectMail(): void {
    const { memory } = this.#egress;
    const { rows } = this.#batch;
    for (const inbox of this.#inboxes) {
      while (inbox.waiting) {
        const at = this.#egress.takeScratch();
        // Out of slots: what is left in the box waits for the next turn.
        if (at === 0) return;
        const length = inbox.collect(memory, at);
        memory.fill(0, at - vnetBytes, at);
        let result = decode(this.#view, at, length, 0, rows, 0);
        if (result === verdict.forward) {
          const { flows } = this.conntrack;
          const source = rows[packetWord.source]!;
          const destination = rows[packetWord.destination]!;
          const protocol = rows[packetWord.protocol]!;
          rows[packetWord.hash] = flows.hash(source, destination, rows[packetWord.ports]!, protocol);
          result = this.#forwardOut(rows, 0, true);
        }
        if (result !== verdict.forward) this.#drop(result, 1);
      }
    }
  }

  #wakeMailed(): void {
    let mailed = this.#fragments.takeMailed();
    for (let worker = 0; mailed !== 0; worker++, mailed >>>= 1) if (mailed & 1) this.#options.wake(worker);
  }

  /** Copies the uplink rows when the control plane has changed them. */
  #followUplinks(): void {
    const { shared } = this.#options;
    if (shared.generation === this.#generation) return;
    const generation = shared.readUplinks(this.#egress.uplinks);
    if (generation >= 0) this.#generation = generation;
  }

  /** How many packets a super-packet stands for. `start` is the first byte after its vnet header. */
  #segments(start: number, offload: number, payloadBytes: number): number {
    if (!isSuperPacket(offload)) return 1;
    return Math.ceil(payloadBytes / this.#view.getUint16(start - vnetBytes + vnet.gsoSize, true));
  }

  /** Bytes are those of IP packets as received; a super-packet counts as the segments it holds. */
  #count(row: number, uplink: number, direction: number, bytes: number, packets: number): void {
    const { words, doubles } = this.conntrack.flows;
    const counters = this.#counters;
    words[row + flowWord.lastSeen] = this.#nowMs | 0;
    if (direction === original) {
      words[row + flowWord.txPackets]! += packets;
      doubles[(row + flowWord.txBytes) >>> 1]! += bytes;
      counters[uplinkCounterAt(uplink, uplinkCounter.txPackets)]! += packets;
      counters[uplinkCounterAt(uplink, uplinkCounter.txBytes)]! += bytes;
    } else {
      words[row + flowWord.rxPackets]! += packets;
      doubles[(row + flowWord.rxBytes) >>> 1]! += bytes;
      counters[uplinkCounterAt(uplink, uplinkCounter.rxPackets)]! += packets;
      counters[uplinkCounterAt(uplink, uplinkCounter.rxBytes)]! += bytes;
    }
  }

  #countTurn(): void {
    const counters = this.#counters;
    counters[counter.turns]!++;
    let refused = 0;
    for (let device = 0; device < this.#io.devices.length; device++) {
      refused += this.#io.devices[device]!.counts[queueWords.dropped]! >>> 0;
    }
    counters[counter.sendRefused] = refused;
  }

  #drop(reason: number, packets: number): void {
    this.#counters[counter.drops + reason]! += packets;
  }
}
