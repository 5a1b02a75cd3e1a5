/**
 * Which packets may open a flow, and where it goes: the decisions that are taken once per connection.
 */
import { packetWord } from "../tables/batch.ts";
import { type Forward, findForward, insidePortOf } from "../tables/forwards.ts";
import { isInside } from "../tables/inside-networks.ts";
import { noUplink, type SharedState, uplinkWord } from "../tables/shared-state.ts";
import { codeNetUnreachable, codeProhibited, isQuery } from "../wire/icmp.ts";
import { ipv4, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { isFirstSyn } from "../wire/tcp.ts";
import { ableUplinks, isIn, notReady, UplinkChoice } from "./choice.ts";
import { addressHash, networkHash } from "./classify.ts";
import type { Conntrack } from "./conntrack.ts";
import type { Egress } from "./egress.ts";
import type { FlowMemory } from "./flow-memory.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import { flowFlag } from "./flow-state.ts";
import { isOutOfRoom, verdict } from "./verdict.ts";

export interface AdmissionOptions {
  shared: SharedState;
  memory: FlowMemory;
  /** What holds until `follow` brings another. */
  policy: FlowPolicy;
  /** The secret of the hashes that choose an uplink. */
  balanceKey0: number;
  balanceKey1: number;
  forwards: readonly Forward[];
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #conntrack: Conntrack;
  readonly #egress: Egress;
  readonly #choice: UplinkChoice;
  /** The group of the flow that was to be opened last. */
  group = 0;

  constructor(options: AdmissionOptions, conntrack: Conntrack, egress: Egress) {
    this.#options = options;
    this.#conntrack = conntrack;
    this.#egress = egress;
    this.#choice = new UplinkChoice(options);
  }

  /** Opens flows by another policy from now on. */
  follow(policy: FlowPolicy): void {
    this.#choice.follow(policy);
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. `avoid`: an uplink that it must not get, or -1. */
  openOutbound(rows: Int32Array, p: number, avoid: number, nowMs: number): number {
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const ports = rows[p + packetWord.ports]!;
    const protocol = rows[p + packetWord.protocol]!;
    const flags = rows[p + packetWord.flags]!;
    if (protocol === protocolTcp && !isFirstSyn(flags)) return -verdict.tcpNoFlow;
    if (protocol === protocolIcmp && !isQuery(flags)) return -verdict.unsolicited;
    if (source === destination) return -verdict.badSource;
    // Our own output, routed back to us.
    if (this.#egress.uplinkWith(source) >= 0) return -verdict.ownAddress;
    if (!isInside(this.#egress.inside, source)) return -verdict.foreignSource;
    const nowS = Math.floor(nowMs / 1000);
    const group = this.#groupOf(rows, p, nowS);
    const uplink = this.#choose(group, source, destination, ports, protocol, avoid, nowS);
    if (uplink === noUplink) return -verdict.noUplink;
    if (uplink === notReady) return -verdict.uplinkNotReady;
    const address = this.#egress.uplinkWord(uplink, uplinkWord.address);
    const flow = this.#conntrack.open(source, destination, ports, protocol, uplink, address, nowMs);
    if (flow < 0) return flow;
    this.#choice.remember(group, source, destination, uplink, nowS);
    if (this.#egress.uplinkWith(destination) >= 0) this.#conntrack.setFlag(flow, flowFlag.turnsBack);
    return flow;
  }

  /** The group of uplinks that the rules send a flow to. */
  #groupOf(rows: Int32Array, p: number, nowS: number): number {
    this.group = 0;
    if (!this.#choice.hasRules) return 0;
    const { balanceKey0, balanceKey1 } = this.#options;
    const source = rows[p + packetWord.source]!;
    const destination = rows[p + packetWord.destination]!;
    const dscp = this.#egress.view.getUint8(rows[p + packetWord.at]! + ipv4.tos) >>> 2;
    const hash = this.#choice.hasDomains ? addressHash(balanceKey0, balanceKey1, destination) : 0;
    const ports = rows[p + packetWord.ports]!;
    this.group = this.#choice.groupOf(source, destination, hash, ports, rows[p + packetWord.protocol]!, dscp, nowS);
    return this.group;
  }

  /** The uplink of a new flow: that of its endpoint's other flows, if the group has it and it can send; else the choice's. */
  #choose(
    group: number,
    source: number,
    destination: number,
    ports: number,
    protocol: number,
    avoid: number,
    nowS: number,
  ): number {
    const { shared, balanceKey0, balanceKey1 } = this.#options;
    const mask = shared.masks[group]!;
    const able = ableUplinks(this.#egress, avoid);
    const mapped = this.#conntrack.mappedUplink(source, ports, protocol);
    if (isIn(mask & able, mapped)) return mapped;
    const network = this.#choice.wantsNearest ? networkHash(balanceKey0, balanceKey1, destination) : 0;
    const lookup = shared.lookups[group]!;
    return this.#choice.choose(lookup, group, mask, able, source, destination, network, ports, protocol, nowS);
  }

  /** Opens the flow of a packet that nobody inside asked for, where a forward or the filtering allows it, or returns minus the verdict. */
  openInbound(rows: Int32Array, p: number, uplink: number, turned: boolean, nowMs: number): number {
    const mapped = rows[p + packetWord.destination]!;
    const protocol = rows[p + packetWord.protocol]!;
    const isFirst = protocol === protocolTcp ? isFirstSyn(rows[p + packetWord.flags]!) : protocol === protocolUdp;
    const remote = rows[p + packetWord.source]!;
    if (!turned && (remote === mapped || this.#egress.uplinkWith(remote) >= 0)) return -verdict.badSource;
    if (!isFirst || mapped !== this.#egress.uplinkWord(uplink, uplinkWord.address)) return -verdict.unsolicited;
    const ports = rows[p + packetWord.ports]!;
    const forward = findForward(this.#options.forwards, uplink, protocol, ports & 0xffff);
    const flow =
      forward === undefined
        ? this.#conntrack.openToMapping(remote, mapped, ports, protocol, uplink, nowMs)
        : this.#openForwarded(forward, remote, mapped, ports, uplink, nowMs);
    if (flow > 0 && turned) this.#conntrack.setFlag(flow, flowFlag.turnsBack);
    return flow;
  }

  #openForwarded(
    forward: Forward,
    remote: number,
    mapped: number,
    ports: number,
    uplink: number,
    nowMs: number,
  ): number {
    const toPort = insidePortOf(forward, ports & 0xffff);
    return this.#conntrack.openForwarded(forward.to, toPort, remote, mapped, ports, forward.protocol, uplink, nowMs);
  }

  /** Tells the sender why its first packet goes nowhere, where that is not his mistake (RFC 5508, REQ-8: silence would look like loss). */
  refuse(rows: Int32Array, p: number, reason: number, nowMs: number): number {
    const isFull = isOutOfRoom(reason);
    if (isFull || reason === verdict.noUplink) {
      const code = isFull ? codeProhibited : codeNetUnreachable;
      this.#egress.tellUnreachable(rows[p + packetWord.at]!, rows[p + packetWord.length]!, code, 0, nowMs);
    }
    return reason;
  }
}
