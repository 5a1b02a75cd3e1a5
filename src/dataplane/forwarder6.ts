/**
 * The path of an IPv6 packet between the hash and the queue: the steps of forwarder.ts, in its order. What is different: addresses
 * are names (tables/address-book.ts), where an uplink has a prefix an address is translated to one of its own, nothing is
 * cut, and what stands behind extension headers, where the kernel's programs do not look, may be another worker's.
 */
import type { AddressBook } from "../tables/address-book.ts";
import { packetWord } from "../tables/batch.ts";
import { flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import type { Prefix6 } from "../tables/prefix6.ts";
import { maxUplinks, uplinkWord } from "../tables/shared-state.ts";
import { ipv4HeaderBytes, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6HeaderBytes } from "../wire/ipv6.ts";
import { rst, syn } from "../wire/tcp.ts";
import { isPartial, segmentsOf } from "../wire/vnet.ts";
import { Admission6, type Admission6Options } from "./admission6.ts";
import type { Answers } from "./answers.ts";
import type { Conntrack } from "./conntrack.ts";
import type { CutOff } from "./cut-off.ts";
import { kind } from "./decode-layer4.ts";
import { Domains } from "./domains.ts";
import type { Egress } from "./egress.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import { flowFlag, notOnItsWay } from "./flow-state.ts";
import { FragmentPath6 } from "./fragment-path6.ts";
import { IcmpErrors6, keepsIdentifier } from "./icmp6-error.ts";
import { keepPort, setDestination6, setSource6 } from "./masquerade6.ts";
import type { OwnErrors6 } from "./own-errors6.ts";
import { isPlain, Owner6 } from "./owner6.ts";
import { fromInside, fromOutside, type PostOffice } from "./post-office.ts";
import { Rescue } from "./rescue.ts";
import { clampMss } from "./tcp-mss.ts";
import type { Uplinks6 } from "./uplinks6.ts";
import { verdict } from "./verdict.ts";

export interface Forwarder6Options extends Admission6Options {
  uplinks: number;
  worker: number;
  /** The secret that keys every table. */
  key0: number;
  key1: number;
  /** From 0 to below 1. */
  random: () => number;
  /** Sources of this prefix are translated to the prefix of their uplink, where it has one; null: none are. */
  insidePrefix: Prefix6 | null;
}

const tunDevice = 0;
/** Where packets that have been turned back come from, for each uplink: no device's number. */
const turnedWays = 1 + maxUplinks;

/** Told of every packet that is sent on. */
export type CountPackets = (row: number, uplink: number, direction: number, bytes: number, packets: number) => void;
/** Told of every packet that is dropped where its verdict is no longer asked for. */
export type CountDrop = (reason: number) => void;

/** What it shares with the forwarder of IPv4. */
export interface Forwarder6Parts {
  conntrack: Conntrack;
  egress: Egress;
  uplinks: Uplinks6;
  ownErrors: OwnErrors6;
  answers: Answers;
  cutOff: CutOff;
  post: PostOffice;
  count: CountPackets;
  drop: CountDrop;
  /** Lets a packet that has been translated, and is for one of our own addresses, come in again by that uplink. */
  enter: (uplink: number, at: number, length: number) => number;
}

export class Forwarder6 {
  readonly #view: DataView;
  readonly #conntrack: Conntrack;
  readonly #names: AddressBook;
  readonly #egress: Egress;
  readonly #uplinks: Uplinks6;
  readonly #admission: Admission6;
  readonly #domains: Domains;
  readonly #errors: IcmpErrors6;
  readonly #ownErrors: OwnErrors6;
  readonly #answers: Answers;
  readonly #rescue: Rescue;
  readonly #fragments: FragmentPath6;
  readonly #owner: Owner6;
  readonly #count: CountPackets;

  constructor(options: Forwarder6Options, parts: Forwarder6Parts) {
    const { conntrack, egress, uplinks, ownErrors, answers, cutOff, post, count, drop, enter } = parts;
    const { view } = egress;
    const forwards = options.forwards.filter(({ to6 }) => to6 !== undefined);
    this.#view = view;
    this.#conntrack = conntrack;
    this.#names = conntrack.names;
    this.#egress = egress;
    this.#uplinks = uplinks;
    this.#admission = new Admission6({ ...options, forwards }, egress, conntrack, this.#uplinks);
    this.#domains = new Domains(options);
    this.#ownErrors = ownErrors;
    this.#answers = answers;
    const { masks6 } = options.shared;
    this.#rescue = new Rescue(conntrack, uplinks, masks6, this.#admission, answers, cutOff, options.policy.rescue);
    this.#errors = new IcmpErrors6(view, conntrack.flows, conntrack.names);
    this.#owner = new Owner6(conntrack.flows, egress, this.#uplinks, post, options.worker, forwards, enter);
    const { key0, key1 } = options;
    const turnBack = (row: number, at: number, length: number) => this.#owner.turnBack(row, at, length, 0, at, 0);
    this.#fragments = new FragmentPath6(
      conntrack,
      egress,
      uplinks,
      post,
      key0,
      key1,
      count,
      turnBack,
      drop,
      options.random,
    );
    this.#count = count;
  }

  /** Opens flows by another policy from now on. */
  followPolicy(policy: FlowPolicy): void {
    this.#admission.follow(policy);
    this.#domains.follow(policy);
    this.#rescue.turn(policy.rescue);
  }

  /** Forgets fragments that waited too long and returns how many. */
  expireFragments(nowMs: number): number {
    return this.#fragments.expire(nowMs);
  }

  /** Follows the rows of the uplinks, once they have been copied; false when it must be tried again. */
  followUplinks(): boolean {
    return this.#uplinks.follow();
  }

  /** One packet from the inside, decoded and hashed. `mailed`: another worker passed it on. Returns the verdict. */
  out(rows: Int32Array, p: number, linkBytes: number, mailed: boolean, nowMs: number): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind === kind.icmpError) return this.#errorOut(rows, p, linkBytes, mailed);
    if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, tunDevice, nowMs);
    const isFragment = packetKind === kind.firstFragment;
    const begun = isFragment ? this.#fragments.begin(rows, p, tunDevice, nowMs) : verdict.forward;
    if (begun !== verdict.forward) return begun;
    const owner = mailed ? -1 : this.#owner.ofInside(rows, p);
    if (owner >= 0 && isFragment) return this.#fragments.mailFirst(rows, p, owner, tunDevice, nowMs);
    if (owner >= 0) return this.#owner.mail(rows, p, linkBytes, owner, fromInside);

    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if ((id & 1) === reply) return verdict.ownAddress;
    let flow = id >>> 1;
    if (flow !== 0 && !this.#isOnItsWay(flow)) flow = this.#rescue.settle(flow, rows, p, nowMs);
    if (flow === 0) flow = this.#rescue.open(rows, p, nowMs);
    if (flow < 0) return this.#ownErrors.refuse(rows, p, -flow, nowMs);

    const { words } = this.#conntrack.flows;
    const row = flow * flowWords;
    const uplink = words[row + flowWord.outside]! & 0xff;
    if (protocol === protocolTcp) {
      const tracked = this.#trackTcp(rows, p, flow, original, uplink, nowMs); // 4
      if (tracked !== verdict.forward) return tracked;
    }
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const l4End = rows[p + packetWord.l4End]!;
    const offload = rows[p + packetWord.offload]!;
    const start = at - linkBytes;
    const mtu = this.#egress.uplinkWord(uplink, uplinkWord.mtu);
    const turnsBack = (words[row + flowWord.state]! & flowFlag.turnsBack) !== 0;
    if (length > mtu && !turnsBack && !this.#ownErrors.fits(at, length, l4End, start, offload, uplink, mtu, nowMs))
      return verdict.tooBig; // 5
    const segments = segmentsOf(this.#view, start - vnetBytes, offload, at + length - l4End);
    this.#count(row, uplink, original, length, segments);

    const l4 = rows[p + packetWord.l4]!;
    const mapped = words[row + flowWord.mapped]!;
    const port = keepsIdentifier(words, row) ? keepPort : words[row + flowWord.outside]! >>> 16;
    setSource6(this.#view, at, l4, protocol, this.#names, mapped, port, isPartial(offload)); // 6
    if (isFragment) this.#fragments.learnOut(rows, p, flow, nowMs);
    if (turnsBack) return this.#owner.turnBack(row, at, length, l4End, start, offload);
    return this.#egress.toUplink6(uplink, at, length, l4End, start, offload); // 7
  }

  /** Whether a packet met on a LAN is for a port of one of our addresses. */
  mayTurnBack(rows: Int32Array, p: number): boolean {
    const protocol = rows[p + packetWord.protocol]!;
    const hasPort = protocol === protocolTcp || protocol === protocolUdp;
    if (!hasPort && rows[p + packetWord.kind] !== kind.icmpError) return false;
    return this.#uplinks.withAddress(rows[p + packetWord.destination]!) >= 0;
  }

  /** One packet from outside, decoded and hashed; `turned`: it has been sent out by us and turned back. Returns the verdict. */
  in(
    rows: Int32Array,
    p: number,
    uplink: number,
    linkBytes: number,
    mailed: boolean,
    turned: boolean,
    nowMs: number,
  ): number {
    const packetKind = rows[p + packetWord.kind]!;
    if (packetKind === kind.icmpError) return this.#errorIn(rows, p, uplink, linkBytes, mailed);
    const device = turned ? turnedWays + uplink : uplink + 1;
    if (packetKind === kind.laterFragment) return this.#fragments.later(rows, p, device, nowMs);
    const isFragment = packetKind === kind.firstFragment;
    const begun = isFragment ? this.#fragments.begin(rows, p, device, nowMs) : verdict.forward;
    if (begun !== verdict.forward) return begun;
    const owner = mailed ? -1 : this.#owner.ofOutside(rows, p, uplink);
    if (owner >= 0 && isFragment) return this.#fragments.mailFirst(rows, p, owner, device, nowMs);
    if (owner >= 0) return this.#owner.mail(rows, p, linkBytes, owner, fromOutside + uplink);

    const protocol = rows[p + packetWord.protocol]!;
    const id = this.#findFlow(rows, p, protocol); // 3
    if (id !== 0 && (id & 1) === original) return verdict.badSource;
    const flow = id === 0 ? this.#admission.openInbound(rows, p, uplink, turned, nowMs) : id >>> 1;
    if (flow < 0) return -flow;
    const { words } = this.#conntrack.flows;
    const row = flow * flowWords;
    if (((words[row + flowWord.state]! & flowFlag.turnsBack) !== 0) !== turned) return verdict.badSource;
    if ((words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    if (protocol === protocolTcp) {
      const tracked = this.#trackTcp(rows, p, flow, reply, uplink, nowMs); // 4
      if (tracked !== verdict.forward) return tracked;
    }
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const l4End = rows[p + packetWord.l4End]!;
    const offload = rows[p + packetWord.offload]!;
    const start = at - linkBytes;
    const segments = segmentsOf(this.#view, start - vnetBytes, offload, at + length - l4End);
    this.#count(row, uplink, reply, length, segments);

    const l4 = rows[p + packetWord.l4]!;
    const inside = words[row + flowWord.inside]!;
    const port = keepsIdentifier(words, row) ? keepPort : words[row + flowWord.ports]! >>> 16;
    if (this.#domains.areWanted && protocol === protocolUdp)
      this.#domains.hear(rows, p, this.#view, words[row + flowWord.state]!, nowMs);
    setDestination6(this.#view, at, l4, protocol, this.#names, inside, port, isPartial(offload)); // 5
    if (isFragment) this.#fragments.learn(device, (flow << 1) | reply, nowMs);
    return this.#egress.toInside(at, length, l4End, start, offload); // 6
  }

  /** An ICMPv6 error that an inside host, or the router's own kernel, sends about a flow. */
  #errorOut(rows: Int32Array, p: number, linkBytes: number, mailed: boolean): number {
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const l4 = rows[p + packetWord.l4]!;
    const errors = this.#errors;
    if (!errors.read(at, length, l4)) return verdict.icmpErrorNoFlow;
    const seen = mailed || (errors.isPlain && isPlain(rows, p));
    const owner = seen ? -1 : this.#owner.ofInsidePort(errors.protocol, errors.ports);
    if (owner >= 0) return this.#owner.mail(rows, p, linkBytes, owner, fromInside);
    const id = errors.find(original);
    if (id === 0) return verdict.icmpErrorNoFlow;
    const { words } = this.#conntrack.flows;
    const row = (id >>> 1) * flowWords;
    if (words[row + flowWord.remote] !== rows[p + packetWord.destination]) return verdict.icmpErrorNoFlow;
    const uplink = words[row + flowWord.outside]! & 0xff;
    if (!this.#uplinks.isReady(uplink) || this.#uplinks.hasLost(uplink, words[row + flowWord.mapped]!))
      return verdict.uplinkNotReady;
    errors.translateOutbound(at, length, l4, id >>> 1);
    if ((words[row + flowWord.state]! & flowFlag.turnsBack) !== 0)
      return this.#owner.turnBack(row, at, length, 0, at - linkBytes, 0);
    return this.#egress.toUplink6(uplink, at, length, 0, at - linkBytes, 0);
  }

  /** An ICMPv6 error from outside about a flow. */
  #errorIn(rows: Int32Array, p: number, uplink: number, linkBytes: number, mailed: boolean): number {
    const at = rows[p + packetWord.at]!;
    const length = rows[p + packetWord.length]!;
    const l4 = rows[p + packetWord.l4]!;
    const errors = this.#errors;
    if (!errors.read(at, length, l4)) return verdict.icmpErrorNoFlow;
    const seen = mailed || (errors.isPlain && isPlain(rows, p));
    const owner = seen ? -1 : this.#owner.ofOutsidePort(at, uplink, errors.protocol, errors.ports);
    if (owner >= 0) return this.#owner.mail(rows, p, linkBytes, owner, fromOutside + uplink);
    const id = errors.find(reply);
    if (id === 0) return verdict.icmpErrorNoFlow;
    const { words } = this.#conntrack.flows;
    const row = (id >>> 1) * flowWords;
    if (words[row + flowWord.mapped] !== rows[p + packetWord.destination]) return verdict.icmpErrorNoFlow;
    if ((words[row + flowWord.outside]! & 0xff) !== uplink) return verdict.wrongUplink;
    errors.translateInbound(at, length, l4, id >>> 1);
    return this.#egress.toInside(at, length, 0, at - linkBytes, 0);
  }

  /** Follows a TCP segment, and clamps what a SYN of either side offers to the flow's uplink. Returns the verdict. */
  #trackTcp(rows: Int32Array, p: number, flow: number, direction: number, uplink: number, nowMs: number): number {
    const l4 = rows[p + packetWord.l4]!;
    const l4End = rows[p + packetWord.l4End]!;
    const packetEnd = rows[p + packetWord.at]! + rows[p + packetWord.length]!;
    const flags = rows[p + packetWord.flags]!;
    if ((flags & (syn | rst)) === 0)
      return this.#conntrack.trackTcp(flow, direction, this.#view, l4, l4End, packetEnd, nowMs);
    if ((flags & syn) !== 0) {
      // The clamp reckons with the header of IPv4.
      const mtu = this.#egress.uplinkWord(uplink, uplinkWord.mtu) - (ipv6HeaderBytes - ipv4HeaderBytes);
      clampMss(this.#view, l4, l4End, mtu, isPartial(rows[p + packetWord.offload]!));
    }
    const before = this.#conntrack.state(flow);
    const result = this.#conntrack.trackTcp(flow, direction, this.#view, l4, l4End, packetEnd, nowMs);
    this.#answers.follow(flow, direction, before, flags, nowMs);
    return result;
  }

  #findFlow(rows: Int32Array, p: number, protocol: number): number {
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const ports = rows[p + packetWord.ports]!;
    return this.#conntrack.flows.find(rows[p + packetWord.hash]!, source, destination, ports, protocol);
  }

  /** As in forwarder.ts: whether nothing is to be thought about before a packet of a known flow goes on. */
  #isOnItsWay(flow: number): boolean {
    const { words } = this.#conntrack.flows;
    const row = flow * flowWords;
    const uplink = words[row + flowWord.outside]! & 0xff;
    return (
      (words[row + flowWord.state]! & notOnItsWay) === 0 &&
      this.#uplinks.isReady(uplink) &&
      this.#uplinks.isOwn(uplink, words[row + flowWord.mapped]!)
    );
  }
}
