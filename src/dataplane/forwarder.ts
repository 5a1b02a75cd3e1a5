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
import { Batch } from "../tables/batch.ts";
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
import { icmpHeaderBytes, isQuery } from "../wire/icmp.ts";
import { protocolIcmp, protocolTcp } from "../wire/ipv4.ts";
import { ack, rst, syn, tcp } from "../wire/tcp.ts";
import { gso, needsChecksum, vnet } from "../wire/vnet.ts";
import { chooseUplink } from "./classify.ts";
import { Conntrack, type ConntrackOptions } from "./conntrack.ts";
import { decode, decodeBatch, kind } from "./decode.ts";
import { Egress } from "./egress.ts";
import { FragmentPath } from "./fragment-path.ts";
import { findQuotedFlow, translateErrorInbound, translateErrorOutbound } from "./icmp-error.ts";
import { setDestination, setSource } from "./masquerade.ts";
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
    this.#fragments = new FragmentPath(this.conntrack.flows, this.#egress, worker, outboxes);
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
    for (let i = 0; i < batch.count; i++) {
      let result = batch.verdict[i]!;
      if (result === verdict.forward) result = this.#forwardOut(batch, i, false);
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  /** One packet from the inside. `mailed`: another worker passed it on. */
  #forwardOut(batch: Batch, i: number, mailed: boolean): number {
    const packetKind = batch.kind[i]!;
    if (packetKind !== kind.flow) {
      if (packetKind === kind.icmpError) return this.#errorOut(batch, i);
      if (packetKind === kind.laterFragment) return this.#fragments.later(batch, i, this.#nowMs);
      const owner = mailed ? -1 : this.#fragments.foreignOwner(batch, i);
      if (owner >= 0) return this.#fragments.mailFirst(batch, i, owner, this.#nowMs);
    }
    const { flows } = this.conntrack;
    const protocol = batch.protocol[i]!;
    const id = flows.find(batch.hash[i]!, batch.source[i]!, batch.destination[i]!, batch.ports[i]!, protocol); // 3
    if ((id & 1) === reply) return verdict.ownAddress;
    const flow = id === 0 ? this.#openFlow(batch, i) : id >>> 1;
    if (flow < 0) return -flow;

    const words = flows.words;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    if (this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) return verdict.uplinkNotReady;
    if (protocol === protocolTcp) this.conntrack.trackTcp(flow, original, batch.flags[i]!, this.#nowMs); // 4

    const at = batch.at[i]!;
    const l4 = batch.l4[i]!;
    const length = batch.length[i]!;
    const header = at - vnetBytes;
    const l4End = this.#l4End(l4, protocol);
    if (!this.#egress.fits(at, length, header, l4End, uplink, this.#nowMs)) return verdict.tooBig; // 5
    this.#count(row, uplink, original, length, this.#segments(header, at + length - l4End));

    const partial = (this.#view.getUint8(header + vnet.flags) & needsChecksum) !== 0;
    setSource(this.#view, at, l4, protocol, words[row + flowWord.mapped]!, outside >>> 16, partial); // 6
    const result = this.#egress.toUplink(uplink, at, length, header, l4); // 7
    if (packetKind === kind.firstFragment) this.#fragments.learn(batch, i, (flow << 1) | original, this.#nowMs);
    return result;
  }

  /** Uplink -> inside. */
  #inbound(uplink: number): void {
    const device = this.#io.devices[uplink + 1]!;
    if (device.counts[0] === 0) return;
    const batch = this.#batch;
    decodeBatch(this.#view, device, batch); // 1
    this.#hashBatch(batch); // 2
    for (let i = 0; i < batch.count; i++) {
      let result = batch.verdict[i]!;
      if (result === verdict.forward) result = this.#forwardIn(batch, i, uplink, device.linkBytes);
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  #forwardIn(batch: Batch, i: number, uplink: number, linkBytes: number): number {
    const packetKind = batch.kind[i]!;
    if (packetKind === kind.icmpError) return this.#errorIn(batch, i, uplink, linkBytes);
    if (packetKind === kind.laterFragment) return this.#fragments.later(batch, i, this.#nowMs);

    const { flows } = this.conntrack;
    const protocol = batch.protocol[i]!;
    const id = flows.find(batch.hash[i]!, batch.source[i]!, batch.destination[i]!, batch.ports[i]!, protocol); // 3
    if (id === 0) return verdict.unsolicited;
    if ((id & 1) === original) return verdict.badSource;
    const words = flows.words;
    const row = (id >>> 1) * flowWords;
    if ((words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    if (protocol === protocolTcp) this.conntrack.trackTcp(id >>> 1, reply, batch.flags[i]!, this.#nowMs); // 4

    const at = batch.at[i]!;
    const l4 = batch.l4[i]!;
    const length = batch.length[i]!;
    const header = at - linkBytes - vnetBytes;
    this.#count(row, uplink, reply, length, this.#segments(header, at + length - this.#l4End(l4, protocol)));

    const partial = (this.#view.getUint8(header + vnet.flags) & needsChecksum) !== 0;
    const insidePort = words[row + flowWord.ports]! >>> 16;
    setDestination(this.#view, at, l4, protocol, words[row + flowWord.inside]!, insidePort, partial); // 5
    const result = this.#egress.toInside(at, length, header); // 6
    if (packetKind === kind.firstFragment) this.#fragments.learn(batch, i, id, this.#nowMs);
    return result;
  }

  /** Hashes every tuple and reads its index slot before the work begins: the cache misses of a batch then overlap instead of adding up. */
  #hashBatch(batch: Batch): void {
    const { flows } = this.conntrack;
    const { verdict: verdicts, kind: kinds, hash, source, destination, ports, protocol } = batch;
    let touched = 0;
    for (let i = 0; i < batch.count; i++) {
      if (verdicts[i] !== verdict.forward || (kinds[i] !== kind.flow && kinds[i] !== kind.firstFragment)) continue;
      const tupleHash = flows.hash(source[i]!, destination[i]!, ports[i]!, protocol[i]!);
      hash[i] = tupleHash;
      touched ^= flows.touchIndex(tupleHash);
    }
    for (let i = 0; i < batch.count; i++) touched ^= flows.touchRow(hash[i]!);
    this.#touched ^= touched;
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. */
  #openFlow(batch: Batch, i: number): number {
    const options = this.#options;
    const source = batch.source[i]!;
    const ports = batch.ports[i]!;
    const protocol = batch.protocol[i]!;
    const flags = batch.flags[i]!;
    if (protocol === protocolTcp && (flags & (syn | ack | rst)) !== syn) return -verdict.tcpNoFlow;
    if (protocol === protocolIcmp && !isQuery(flags)) return -verdict.unsolicited;
    for (let uplink = 0; uplink < options.uplinks; uplink++) {
      // Our own output, routed back to us.
      if (source === this.#egress.uplinkWord(uplink, uplinkWord.address)) return -verdict.ownAddress;
    }
    let uplink = this.conntrack.mappedUplink(source, ports, protocol);
    if (uplink < 0 || this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) {
      const { lookup } = options.shared;
      const { balanceKey, balanceKey0, balanceKey1 } = options;
      const destination = batch.destination[i]!;
      uplink = chooseUplink(lookup, balanceKey, balanceKey0, balanceKey1, source, destination, ports, protocol);
      if (uplink === noUplink) return -verdict.noUplink;
    }
    const address = this.#egress.uplinkWord(uplink, uplinkWord.address);
    return this.conntrack.open(source, batch.destination[i]!, ports, protocol, uplink, address, this.#nowMs);
  }

  /** An ICMP error that an inside host, or the router's own kernel, sends about a flow. */
  #errorOut(batch: Batch, i: number): number {
    const { flows } = this.conntrack;
    const at = batch.at[i]!;
    const l4 = batch.l4[i]!;
    const length = batch.length[i]!;
    const id = findQuotedFlow(this.#view, at, length, l4, flows, original);
    if (id === 0 || flows.words[(id >>> 1) * flowWords + flowWord.remote] !== batch.destination[i])
      return verdict.icmpErrorNoFlow;
    const uplink = flows.words[(id >>> 1) * flowWords + flowWord.outside]! & 0xff;
    if (this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) return verdict.uplinkNotReady;
    translateErrorOutbound(this.#view, at, length, l4, flows.words, id >>> 1);
    return this.#egress.toUplink(uplink, at, length, at - vnetBytes, l4);
  }

  /** An ICMP error from outside about a flow. */
  #errorIn(batch: Batch, i: number, uplink: number, linkBytes: number): number {
    const { flows } = this.conntrack;
    const at = batch.at[i]!;
    const l4 = batch.l4[i]!;
    const length = batch.length[i]!;
    const id = findQuotedFlow(this.#view, at, length, l4, flows, reply);
    if (id === 0) return verdict.icmpErrorNoFlow;
    if ((flows.words[(id >>> 1) * flowWords + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    translateErrorInbound(this.#view, at, length, l4, flows.words, id >>> 1);
    return this.#egress.toInside(at, length, at - linkBytes - vnetBytes);
  }

  /** What other workers passed on to this one. */
  #collectMail(): void {
    const { memory } = this.#egress;
    const batch = this.#batch;
    for (const inbox of this.#inboxes) {
      while (inbox.waiting) {
        const at = this.#egress.takeScratch();
        // Out of slots: what is left in the box waits for the next turn.
        if (at === 0) return;
        const length = inbox.collect(memory, at);
        memory.fill(0, at - vnetBytes, at);
        let result: number = decode(this.#view, at, length, 0, batch, 0);
        if (result === verdict.forward) {
          batch.hash[0] = this.conntrack.flows.hash(
            batch.source[0]!,
            batch.destination[0]!,
            batch.ports[0]!,
            batch.protocol[0]!,
          );
          result = this.#forwardOut(batch, 0, true);
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

  #l4End(l4: number, protocol: number): number {
    return l4 + (protocol === protocolTcp ? (this.#view.getUint8(l4 + tcp.dataOffset) >>> 4) << 2 : icmpHeaderBytes);
  }

  /** How many packets a super-packet stands for. */
  #segments(header: number, payloadBytes: number): number {
    if (this.#view.getUint8(header + vnet.gsoType) === gso.none) return 1;
    return Math.ceil(payloadBytes / this.#view.getUint16(header + vnet.gsoSize, true));
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
