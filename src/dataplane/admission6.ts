/**
 * Which IPv6 packets may open a flow, and where it goes: admission.ts for the other family. Only here do
 * addresses get names; a flow that was opened holds its own, and the ones taken meanwhile are given back.
 */
import type { AddressBook } from "../tables/address-book.ts";
import { packetWord } from "../tables/batch.ts";
import { type Forward, findForward, insidePortOf } from "../tables/forwards.ts";
import { isInside6 } from "../tables/inside-networks.ts";
import { noUplink } from "../tables/shared-state.ts";
import { icmpv6Type } from "../wire/icmpv6.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { ipv6 } from "../wire/ipv6.ts";
import { isFirstSyn } from "../wire/tcp.ts";
import type { AdmissionOptions } from "./admission.ts";
import { notReady } from "./choice.ts";
import { Choice6 } from "./choice6.ts";
import { type Conntrack, filtering } from "./conntrack.ts";
import type { Egress } from "./egress.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import { flowFlag } from "./flow-state.ts";
import type { PrefixTranslation } from "./prefix-translation.ts";
import type { Uplinks6 } from "./uplinks6.ts";
import { verdict } from "./verdict.ts";

/** The forwards are those over IPv6. */
export interface Admission6Options extends AdmissionOptions {
  /** A number of `filtering`. */
  filtering: number;
}

export class Admission6 {
  readonly #options: Admission6Options;
  readonly #view: DataView;
  readonly #inside: Int32Array;
  readonly #conntrack: Conntrack;
  readonly #names: AddressBook;
  readonly #uplinks: Uplinks6;
  readonly #choice: Choice6;

  constructor(options: Admission6Options, egress: Egress, conntrack: Conntrack, uplinks: Uplinks6) {
    this.#options = options;
    this.#view = egress.view;
    this.#inside = egress.inside;
    this.#conntrack = conntrack;
    this.#names = conntrack.names;
    this.#uplinks = uplinks;
    this.#choice = new Choice6(options, egress.view, conntrack, uplinks);
  }

  /** Opens flows by another policy from now on. */
  follow(policy: FlowPolicy): void {
    this.#choice.follow(policy);
  }

  /** The group of the flow that was to be opened last. */
  get group(): number {
    return this.#choice.group;
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. `avoid`: an uplink that it must not get, or -1. */
  openOutbound(rows: Int32Array, p: number, avoid: number, nowMs: number): number {
    const protocol = rows[p + packetWord.protocol]!;
    const flags = rows[p + packetWord.flags]!;
    if (protocol === protocolTcp && !isFirstSyn(flags)) return -verdict.tcpNoFlow;
    if (protocol === protocolIcmp && flags !== icmpv6Type.echo) return -verdict.unsolicited;
    if (!this.#isInside(rows[p + packetWord.at]! + ipv6.source)) return -verdict.foreignSource;
    const source = this.#take(rows[p + packetWord.at]! + ipv6.source);
    const destination = this.#take(rows[p + packetWord.at]! + ipv6.destination);
    const flow =
      source === 0 || destination === 0
        ? -verdict.flowTableFull
        : this.#openOutbound(source, destination, rows, p, avoid, nowMs);
    if (flow > 0 && this.#uplinks.owning(destination) >= 0) this.#conntrack.setFlag(flow, flowFlag.turnsBack);
    this.#names.release(source);
    this.#names.release(destination);
    return flow;
  }

  #isInside(at: number): boolean {
    const view = this.#view;
    return isInside6(
      this.#inside,
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }

  #openOutbound(
    source: number,
    destination: number,
    rows: Int32Array,
    p: number,
    avoid: number,
    nowMs: number,
  ): number {
    if (source === destination) return -verdict.badSource;
    // Our own output, routed back to us.
    if (this.#uplinks.withAddress(source) >= 0) return -verdict.ownAddress;
    const ports = rows[p + packetWord.ports]!;
    const protocol = rows[p + packetWord.protocol]!;
    const nowS = Math.floor(nowMs / 1000);
    const uplink = this.#choice.choose(rows, p, source, destination, avoid, nowS);
    if (uplink === noUplink) return -verdict.noUplink;
    if (uplink === notReady) return -verdict.uplinkNotReady;
    const flow = this.#openOn(uplink, source, destination, ports, protocol, nowMs);
    if (flow > 0) this.#choice.remember(uplink, nowS);
    return flow;
  }

  #openOn(uplink: number, source: number, destination: number, ports: number, protocol: number, nowMs: number): number {
    const mapped = this.#translated(this.#uplinks.translation(uplink), source);
    if (mapped === 0) {
      const address = this.#uplinks.address(uplink);
      return this.#conntrack.open(source, destination, ports, protocol, uplink, address, nowMs);
    }
    const flow = this.#conntrack.openKeepingPort(source, destination, ports, protocol, uplink, mapped, nowMs);
    this.#names.release(mapped);
    return flow;
  }

  /** Opens the flow of a packet that nobody inside asked for, where a forward or the filtering allows it, or returns minus the verdict. */
  openInbound(rows: Int32Array, p: number, uplink: number, turned: boolean, nowMs: number): number {
    const protocol = rows[p + packetWord.protocol]!;
    const flags = rows[p + packetWord.flags]!;
    if (protocol === protocolTcp && !isFirstSyn(flags)) return -verdict.unsolicited;
    if (protocol === protocolIcmp && flags !== icmpv6Type.echo) return -verdict.unsolicited;
    const at = rows[p + packetWord.at]!;
    const ports = rows[p + packetWord.ports]!;
    const remote = this.#take(at + ipv6.source);
    if (remote === 0) return -verdict.flowTableFull;
    // From outside, one of our own addresses as the source is a lie.
    const isLie = !turned && this.#uplinks.owning(remote) >= 0;
    const flow = isLie
      ? -verdict.badSource
      : this.#openInbound(remote, rows[p + packetWord.destination]!, at, ports, protocol, uplink, nowMs);
    if (flow > 0 && turned) this.#conntrack.setFlag(flow, flowFlag.turnsBack);
    this.#names.release(remote);
    return flow;
  }

  #openInbound(
    remote: number,
    destination: number,
    at: number,
    ports: number,
    protocol: number,
    uplink: number,
    nowMs: number,
  ): number {
    const isOurs = destination !== 0 && this.#uplinks.isOwn(uplink, destination);
    const hasEndpoint = protocol === protocolTcp || protocol === protocolUdp;
    if (isOurs && hasEndpoint) {
      const isForwarded = destination === this.#uplinks.address(uplink);
      const forward = isForwarded ? findForward(this.#options.forwards, uplink, protocol, ports & 0xffff) : undefined;
      if (forward !== undefined) return this.#openForwarded(forward, remote, destination, ports, uplink, nowMs);
      const flow = this.#conntrack.openToMapping(remote, destination, ports, protocol, uplink, nowMs);
      if (flow !== -verdict.unsolicited || isForwarded) return flow;
    }
    return this.#openToPrefix(remote, at + ipv6.destination, ports, protocol, uplink, nowMs);
  }

  #openForwarded(
    forward: Forward,
    remote: number,
    mapped: number,
    ports: number,
    uplink: number,
    nowMs: number,
  ): number {
    const to = forward.to6!;
    const toPort = insidePortOf(forward, ports & 0xffff);
    const inside = this.#conntrack.takeName(to[0]!, to[1]!, to[2]!, to[3]!);
    if (inside === 0) return -verdict.flowTableFull;
    const { protocol } = forward;
    const flow = this.#conntrack.openForwarded(inside, toPort, remote, mapped, ports, protocol, uplink, nowMs);
    this.#names.release(inside);
    return flow;
  }

  /** To an address of the uplink's prefix, where everybody is let in. `field` is where it stands in the packet. */
  #openToPrefix(remote: number, field: number, ports: number, protocol: number, uplink: number, nowMs: number): number {
    const translation = this.#uplinks.translation(uplink);
    if (this.#options.filtering !== filtering.endpointIndependent || translation === null) return -verdict.unsolicited;
    const view = this.#view;
    const word0 = view.getInt32(field);
    const word1 = view.getInt32(field + 4);
    if (!translation.toInside(word0, word1, view.getInt32(field + 8), view.getInt32(field + 12)))
      return -verdict.unsolicited;
    const inside = this.#takeResult(translation);
    const mapped = this.#take(field);
    const insidePort = ports & 0xffff;
    const flow =
      inside === 0 || mapped === 0
        ? -verdict.flowTableFull
        : this.#conntrack.openForwarded(inside, insidePort, remote, mapped, ports, protocol, uplink, nowMs);
    this.#names.release(inside);
    this.#names.release(mapped);
    return flow;
  }

  /** The name, taken, of the address that stands for `source` where prefixes are translated; 0 where its prefix is not. */
  #translated(translation: PrefixTranslation | null, source: number): number {
    const names = this.#names;
    if (translation === null) return 0;
    const has = translation.toOutside(
      names.word(source, 0),
      names.word(source, 1),
      names.word(source, 2),
      names.word(source, 3),
    );
    return has ? this.#takeResult(translation) : 0;
  }

  #takeResult({ result }: PrefixTranslation): number {
    return this.#conntrack.takeName(result[0]!, result[1]!, result[2]!, result[3]!);
  }

  #take(at: number): number {
    const view = this.#view;
    return this.#conntrack.takeName(
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }
}
