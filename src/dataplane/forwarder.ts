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
import { findForward, insidePortOf } from "../tables/forwards.ts";
import { type DeviceQueues, type PacketIO, queueWords, vnetBytes } from "../tables/packet-memory.ts";
import { counter, maxUplinks, uplinkCounter, uplinkCounterAt, uplinkWord } from "../tables/shared-state.ts";
import { steer } from "../tables/steering-hash.ts";
import { isAtomic, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { rst, syn } from "../wire/tcp.ts";
import { isPartial, moveVnetHeader, segmentsOf } from "../wire/vnet.ts";
import { Admission, type AdmissionOptions } from "./admission.ts";
import { Answers } from "./answers.ts";
import { Conntrack, type ConntrackOptions } from "./conntrack.ts";
import { CutOff } from "./cut-off.ts";
import { decodeBatch, decodePacket, kind } from "./decode.ts";
import { Decoder6 } from "./decode6.ts";
import { Domains } from "./domains.ts";
import { Egress } from "./egress.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import { flowFlag, notOnItsWay } from "./flow-state.ts";
import { Forwarder6, type Forwarder6Options } from "./forwarder6.ts";
import { FragmentPath } from "./fragment-path.ts";
import { findQuotedFlow, floorNextHopMtu, translateErrorInbound, translateErrorOutbound } from "./icmp-error.ts";
import { Identifications } from "./identifications.ts";
import { setDestination, setIdentification, setSource } from "./masquerade.ts";
import { OwnErrors6 } from "./own-errors6.ts";
import { fromInside, fromOutside, PostOffice } from "./post-office.ts";
import { Rescue } from "./rescue.ts";
import { clampMss } from "./tcp-mss.ts";
import { Uplinks6 } from "./uplinks6.ts";
import { verdict } from "./verdict.ts";

export interface ForwarderOptions extends Omit<ConntrackOptions, "nowMs">, AdmissionOptions, Forwarder6Options {
  io: PacketIO;
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
/** The ways that fragments come: 0 from the inside, then one an uplink, and from here one an uplink for what turns back by it. */
const turnedWays = 1 + maxUplinks;
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
  readonly #post: PostOffice;
  readonly #take = (at: number, length: number, note: number) => this.#takeMail(at, length, note);
  /** The row of a packet that comes alone. */
  readonly #single = new Int32Array(packetWords);
  /** The row of one that turns back, for its way in: on its way out it has another. */
  readonly #turned = new Int32Array(packetWords);
  readonly #counters: Float64Array;
  readonly #admission: Admission;
  readonly #domains: Domains;
  readonly #answers: Answers;
  readonly #cutOff: CutOff;
  readonly #rescue: Rescue;
  readonly #identifications: Identifications;
  readonly #decoder6: Decoder6;
  readonly #ipv6: Forwarder6;
  #generation = -1;
  #nowMs: number;
  /** Keeps the reads of the touch pass alive. */
  #touched = 0;

  constructor(options: ForwarderOptions) {
    const { io, shared, worker, workers, mailboxes, policy } = options;
    this.#options = { ...options, forwards: options.forwards.filter(({ to6 }) => to6 === undefined) };
    this.#io = io;
    this.#nowMs = options.clock();
    this.#counters = shared.counters(worker);
    this.conntrack = new Conntrack({ ...options, nowMs: this.#nowMs }, this.#counters);
    this.#identifications = new Identifications(worker, workers, options.random);
    this.#decoder6 = new Decoder6(this.conntrack.names);
    this.#egress = new Egress(io, options.uplinks, options.errorSource);
    this.#admission = new Admission(this.#options, this.conntrack, this.#egress);
    this.#domains = new Domains(options);
    this.#view = this.#egress.view;
    this.#batch = new Batch(io.layout.receiveSlots);
    this.#post = new PostOffice(worker, workers, mailboxes, this.#egress, options.wake);
    const count = (row: number, uplink: number, direction: number, bytes: number, packets = 1) =>
      this.#count(row, uplink, direction, bytes, packets);
    const drop = (reason: number) => this.#drop(reason, 1);
    const enter = (uplink: number, at: number, length: number) => this.#enter(uplink, at, length);
    const { conntrack } = this;
    const egress = this.#egress;
    const samples = options.memory.samples[worker]!;
    const answers = new Answers(conntrack.flows, conntrack.names, egress, this.#counters, samples, options);
    const uplinks6 = new Uplinks6(egress, conntrack.names, options.uplinks, options.insidePrefix);
    const ownErrors6 = new OwnErrors6(egress, uplinks6, conntrack.names);
    const cutOff = new CutOff(conntrack, egress, uplinks6, ownErrors6, this.#counters, options.uplinks);
    this.#answers = answers;
    this.#cutOff = cutOff;
    this.#rescue = new Rescue(conntrack, egress, shared.masks, this.#admission, answers, cutOff, policy.rescue);
    this.#ipv6 = new Forwarder6(options, {
      ...{ conntrack, egress, uplinks: uplinks6, ownErrors: ownErrors6, answers, cutOff, post: this.#post },
      ...{ count, drop, enter },
    });
    this.#fragments = new FragmentPath(this.conntrack.flows, this.#egress, worker, this.#post, {
      count,
      turnBack: (row, at, length) => this.#turnBack(row, at, length, 0, at, 0),
      drop,
    });
  }

  /** Opens flows by another policy from now on. */
  followPolicy(policy: FlowPolicy): void {
    this.#admission.follow(policy);
    this.#domains.follow(policy);
    this.#rescue.turn(policy.rescue);
    this.#ipv6.followPolicy(policy);
  }

  /** All tables of this worker. */
  get memoryBytes(): number {
    return this.conntrack.bytes + this.conntrack.names.bytes;
  }

  /** One turn of the loop: sends what the last one queued, waits up to `timeoutMs`, forwards what came. Returns how many packets came. */
  breath(timeoutMs: number): number {
    const received = this.#io.turn(this.#post.isWaiting || this.#cutOff.isPending ? 0 : timeoutMs);
    const nowMs = this.#options.clock();
    this.#nowMs = nowMs;
    this.#egress.beginTurn();
    this.#followUplinks();
    if (received > 0) {
      this.#outbound(this.#io.devices[0]!);
      for (let uplink = 0; uplink < this.#options.uplinks; uplink++) this.#inbound(uplink);
      for (let lan = this.#options.uplinks + 1; lan < this.#io.devices.length; lan++)
        this.#outbound(this.#io.devices[lan]!);
    }
    this.#post.collect(this.#take);
    this.#post.deliver();
    this.conntrack.expire(nowMs, expiryBudget);
    if (this.#cutOff.isPending) this.#cutOff.sweep(nowMs);
    this.#drop(verdict.fragmentTimedOut, this.#fragments.expire(nowMs) + this.#ipv6.expireFragments(nowMs));
    this.#countTurn();
    return received;
  }

  /** Inside -> uplinks. Device 0 is the TUN; what follows the uplinks are the LANs, where packets to our own addresses are met. */
  #outbound(device: DeviceQueues): void {
    if (device.counts[queueWords.receiveCount] === 0) return;
    const batch = this.#batch;
    decodeBatch(this.#view, device, batch, this.#decoder6); // 1
    this.#hashBatch(batch); // 2
    const { rows } = batch;
    const { linkBytes } = device;
    const isLan = device !== this.#io.devices[0];
    for (let p = 0, end = batch.count * packetWords; p < end; p += packetWords) {
      let result = rows[p + packetWord.verdict]!;
      if (isLan && (result !== verdict.forward || !this.#mayTurnBack(rows, p))) continue;
      if (result === verdict.forward) result = this.#anyOut(rows, p, linkBytes, false);
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  /** One packet from the inside, of either family. `mailed`: another worker passed it on. */
  #anyOut(rows: Int32Array, p: number, linkBytes: number, mailed: boolean): number {
    if (rows[p + packetWord.version] === 6) return this.#ipv6.out(rows, p, linkBytes, mailed, this.#nowMs);
    return this.#forwardOut(rows, p, linkBytes, mailed);
  }

  /** One of IPv4. */
  #forwardOut(rows: Int32Array, p: number, linkBytes: number, mailed: boolean): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind !== kind.flow) {
      if (packetKind === kind.icmpError) return this.#errorOut(rows, p, linkBytes);
      if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, 0, this.#nowMs);
      const owner = mailed ? -1 : this.#fragments.foreignOwner(rows, p);
      if (owner >= 0) return this.#fragments.mailFirst(rows, p, owner, this.#nowMs);
    }
    const { flows } = this.conntrack;
    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if ((id & 1) === reply) return verdict.ownAddress;
    let flow = id >>> 1;
    if (flow !== 0 && !this.#isOnItsWay(flow)) flow = this.#rescue.settle(flow, rows, p, this.#nowMs);
    if (flow === 0) flow = this.#rescue.open(rows, p, this.#nowMs);
    if (flow < 0) return this.#admission.refuse(rows, p, -flow, this.#nowMs);

    const { words } = flows;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const uplink = outside & 0xff;
    if (protocol === protocolTcp) {
      const tracked = this.#trackTcp(rows, p, flow, original, uplink); // 4
      if (tracked !== verdict.forward) return tracked;
    }
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const offload = rows[p + packetWord.offload]!;
    const l4End = rows[p + packetWord.l4End]!;
    const start = at - linkBytes;
    const turnsBack = (words[row + flowWord.state]! & flowFlag.turnsBack) !== 0;
    const mtu = this.#egress.uplinkWord(uplink, uplinkWord.mtu);
    if (length > mtu && !turnsBack && !this.#egress.fits(at, length, l4End, offload, mtu, this.#nowMs))
      return verdict.tooBig; // 5
    const segments = segmentsOf(this.#view, start - vnetBytes, offload, at + length - l4End);
    this.#count(row, uplink, original, length, segments);

    // An atomic datagram's identification means nothing (RFC 6864, section 4.1).
    if (!isAtomic(this.#view, at)) setIdentification(this.#view, at, this.#identifications.take(segments));
    const l4 = rows[p + packetWord.l4]!;
    setSource(this.#view, at, l4, protocol, words[row + flowWord.mapped]!, outside >>> 16, isPartial(offload)); // 6
    const result = turnsBack
      ? this.#turnBack(row, at, length, l4End, start, offload)
      : this.#egress.toUplink(uplink, at, length, l4End, start, offload); // 7
    if (packetKind === kind.firstFragment) this.#fragments.learn(rows, p, 0, (flow << 1) | original, this.#nowMs);
    return result;
  }

  /** Uplink -> inside. */
  #inbound(uplink: number): void {
    const device = this.#io.devices[uplink + 1]!;
    if (device.counts[queueWords.receiveCount] === 0) return;
    const batch = this.#batch;
    decodeBatch(this.#view, device, batch, this.#decoder6); // 1
    this.#hashBatch(batch); // 2
    const { rows } = batch;
    const { linkBytes } = device;
    for (let p = 0, end = batch.count * packetWords; p < end; p += packetWords) {
      let result = rows[p + packetWord.verdict]!;
      if (result === verdict.forward) {
        result =
          rows[p + packetWord.version] === 6
            ? this.#ipv6.in(rows, p, uplink, linkBytes, false, false, this.#nowMs)
            : this.#forwardIn(rows, p, uplink, linkBytes, false);
      }
      if (result !== verdict.forward) this.#drop(result, 1);
    }
  }

  /** One packet from outside; `turned`: it has been sent out by us and turned back. */
  #forwardIn(rows: Int32Array, p: number, uplink: number, linkBytes: number, turned: boolean): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind === kind.icmpError) return this.#errorIn(rows, p, uplink, linkBytes);
    const way = turned ? turnedWays + uplink : uplink + 1;
    if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, way, this.#nowMs);

    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if (id !== 0 && (id & 1) === original) return verdict.badSource;
    const flow = id === 0 ? this.#admission.openInbound(rows, p, uplink, turned, this.#nowMs) : id >>> 1;
    if (flow < 0) return -flow;
    const { words } = this.conntrack.flows;
    const row = flow * flowWords;
    // From outside, one of our own addresses as the source is a lie.
    if (((words[row + flowWord.state]! & flowFlag.turnsBack) !== 0) !== turned) return verdict.badSource;
    if ((words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    if (protocol === protocolTcp) {
      const tracked = this.#trackTcp(rows, p, flow, reply, uplink); // 4
      if (tracked !== verdict.forward) return tracked;
    }
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const offload = rows[p + packetWord.offload]!;
    const start = at - linkBytes;
    const payloadBytes = at + length - rows[p + packetWord.l4End]!;
    this.#count(row, uplink, reply, length, segmentsOf(this.#view, start - vnetBytes, offload, payloadBytes));

    const l4 = rows[p + packetWord.l4]!;
    const insidePort = words[row + flowWord.ports]! >>> 16;
    if (this.#domains.areWanted && protocol === protocolUdp)
      this.#domains.hear(rows, p, this.#view, words[row + flowWord.state]!, this.#nowMs);
    setDestination(this.#view, at, l4, protocol, words[row + flowWord.inside]!, insidePort, isPartial(offload)); // 5
    const result = this.#egress.toInside(at, length, rows[p + packetWord.l4End]!, start, offload); // 6
    if (packetKind === kind.firstFragment) this.#fragments.learn(rows, p, way, (flow << 1) | reply, this.#nowMs);
    return result;
  }

  /** Follows a TCP segment, and clamps what a SYN of either side offers to the flow's uplink. Returns the verdict. */
  #trackTcp(rows: Int32Array, p: number, flow: number, direction: number, uplink: number): number {
    const l4 = rows[p + packetWord.l4]!;
    const l4End = rows[p + packetWord.l4End]!;
    const packetEnd = rows[p + packetWord.at]! + rows[p + packetWord.length]!;
    const flags = rows[p + packetWord.flags]!;
    if ((flags & (syn | rst)) === 0)
      return this.conntrack.trackTcp(flow, direction, this.#view, l4, l4End, packetEnd, this.#nowMs);
    if ((flags & syn) !== 0) {
      const partial = isPartial(rows[p + packetWord.offload]!);
      clampMss(this.#view, l4, l4End, this.#egress.uplinkWord(uplink, uplinkWord.mtu), partial);
    }
    const before = this.conntrack.state(flow);
    const result = this.conntrack.trackTcp(flow, direction, this.#view, l4, l4End, packetEnd, this.#nowMs);
    this.#answers.follow(flow, direction, before, flags, this.#nowMs);
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

  /** Whether nothing is to be thought about before a packet of a known flow goes on: somebody has answered, and its uplink can send, from its address. */
  #isOnItsWay(flow: number): boolean {
    const { words } = this.conntrack.flows;
    const row = flow * flowWords;
    const uplink = words[row + flowWord.outside]! & 0xff;
    return (
      (words[row + flowWord.state]! & notOnItsWay) === 0 &&
      this.#egress.uplinkWord(uplink, uplinkWord.ready) !== 0 &&
      this.#egress.uplinkWord(uplink, uplinkWord.address) === words[row + flowWord.mapped]
    );
  }

  /** An ICMP error that an inside host, or the router's own kernel, sends about a flow. */
  #errorOut(rows: Int32Array, p: number, linkBytes: number): number {
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
    if (!isAtomic(this.#view, at)) setIdentification(this.#view, at, this.#identifications.take(1));
    if ((flows.words[row + flowWord.state]! & flowFlag.turnsBack) !== 0)
      return this.#turnBack(row, at, length, 0, at - linkBytes, 0);
    return this.#egress.toUplink(uplink, at, length, 0, at - linkBytes, 0);
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
    return this.#egress.toInside(at, length, 0, at - linkBytes, 0);
  }

  /** A packet that another worker passed on, its vnet header right before it. */
  #takeMail(at: number, length: number, note: number): void {
    let result: number;
    if (note === fromInside) result = this.#mailedOut(at, length);
    else if (note >= fromOutside) result = this.#mailedIn(note - fromOutside, at, length);
    else result = this.#enter(note, at, length);
    if (result !== verdict.forward) this.#drop(result, 1);
  }

  #mailedOut(at: number, length: number): number {
    const result = this.#decodeOne(at, length, this.#single);
    return result === verdict.forward ? this.#anyOut(this.#single, 0, 0, true) : result;
  }

  /** Only IPv6 has packets from outside which the kernel brings to another worker than their own. */
  #mailedIn(uplink: number, at: number, length: number): number {
    const result = this.#decodeOne(at, length, this.#single);
    return result === verdict.forward ? this.#ipv6.in(this.#single, 0, uplink, 0, true, false, this.#nowMs) : result;
  }

  /** A packet that has been translated on its way out, and is for one of our own addresses: it comes in again by that uplink. */
  #enter(uplink: number, at: number, length: number): number {
    const result = this.#decodeOne(at, length, this.#turned);
    if (result !== verdict.forward) return result;
    if (this.#turned[packetWord.version] === 6)
      return this.#ipv6.in(this.#turned, 0, uplink, 0, true, true, this.#nowMs);
    return this.#forwardIn(this.#turned, 0, uplink, 0, true);
  }

  #decodeOne(at: number, length: number, rows: Int32Array): number {
    const result = decodePacket(this.#view, at, length, 0, rows, 0, this.#decoder6);
    if (result !== verdict.forward) return result;
    const source = rows[packetWord.source]!;
    const destination = rows[packetWord.destination]!;
    const protocol = rows[packetWord.protocol]!;
    rows[packetWord.hash] = this.conntrack.flows.hash(source, destination, rows[packetWord.ports]!, protocol);
    return verdict.forward;
  }

  /**
   * Turns a packet back that is for one of our own addresses (hairpinning, RFC 4787, REQ-9): translated
   * as for an uplink, it goes to whoever owns the mapping it is for, and comes in there.
   */
  #turnBack(row: number, at: number, length: number, l4End: number, start: number, offload: number): number {
    const { words } = this.conntrack.flows;
    const uplink = this.#egress.uplinkWith(words[row + flowWord.remote]!);
    if (uplink < 0) return verdict.badDestination;
    moveVnetHeader(this.#view, start - vnetBytes, at - vnetBytes, start - at, l4End - at, offload);
    const protocol = (words[row + flowWord.outside]! >>> 8) & 0xff;
    const owner = this.#ownerOf(uplink, protocol, words[row + flowWord.ports]! & 0xffff);
    if (owner === this.#options.worker) return this.#enter(uplink, at, length);
    return this.#post.send(owner, at, length, uplink);
  }

  /** Whether a packet met on a LAN is for a port of one of our addresses. The rest is the kernel's: pings of the router, or what comes by the TUN. */
  #mayTurnBack(rows: Int32Array, p: number): boolean {
    if (rows[p + packetWord.version] === 6) return this.#ipv6.mayTurnBack(rows, p);
    const protocol = rows[p + packetWord.protocol]!;
    const hasPort = protocol === protocolTcp || protocol === protocolUdp;
    return (
      (hasPort || rows[p + packetWord.kind] === kind.icmpError) &&
      this.#egress.uplinkWith(rows[p + packetWord.destination]!) >= 0
    );
  }

  /** The worker that owns an outside port: as the fanout program finds it. */
  #ownerOf(uplink: number, protocol: number, port: number): number {
    const { forwards, workers } = this.#options;
    const forward = findForward(forwards, uplink, protocol, port);
    return forward === undefined ? port % workers : steer(forward.to, insidePortOf(forward, port), workers);
  }

  /** Copies the uplink rows when the control plane has changed them. */
  #followUplinks(): void {
    const { shared } = this.#options;
    if (shared.generation === this.#generation) return;
    const generation = shared.readUplinks(this.#egress.uplinks, this.#egress.inside);
    if (generation < 0) return;
    const isWhole = this.#ipv6.followUplinks();
    this.#cutOff.follow(this.#nowMs);
    if (isWhole) this.#generation = generation;
  }

  /** Bytes are those of IP packets as received; a super-packet counts as the segments it holds. */
  #count(row: number, uplink: number, direction: number, bytes: number, packets: number): void {
    const { words, doubles } = this.conntrack.flows;
    const counters = this.#counters;
    words[row + flowWord.lastSeen] = this.#nowMs | 0;
    if ((words[row + flowWord.state]! & flowFlag.unanswered) !== 0) this.#heard(row / flowWords, direction);
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

  #heard(flow: number, direction: number): void {
    if (this.conntrack.heard(flow, direction)) this.#answers.answered(flow, false, this.#nowMs);
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
