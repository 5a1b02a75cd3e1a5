/**
 * Which packets may open a flow, and where it goes: the decisions that are taken once per connection.
 */
import { packetWord } from "../tables/batch.ts";
import { type Forward, findForward, insidePortOf } from "../tables/forwards.ts";
import { isInside } from "../tables/inside-networks.ts";
import { noUplink, type SharedState, uplinkWord } from "../tables/shared-state.ts";
import { codeNetUnreachable, codeProhibited, isQuery } from "../wire/icmp.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { isFirstSyn } from "../wire/tcp.ts";
import { chooseUplink } from "./classify.ts";
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
  #policy: FlowPolicy;

  constructor(options: AdmissionOptions, conntrack: Conntrack, egress: Egress) {
    this.#options = options;
    this.#conntrack = conntrack;
    this.#egress = egress;
    this.#policy = options.policy;
  }

  /** Opens flows by another policy from now on. */
  follow(policy: FlowPolicy): void {
    this.#policy = policy;
  }

  /** Opens the flow of a packet from the inside, or returns minus the verdict. `avoid`: an uplink that it must not get, or -1. */
  openOutbound(rows: Int32Array, p: number, avoid: number, nowMs: number): number {
    const { shared, balanceKey0, balanceKey1 } = this.#options;
    const { balanceKey } = this.#policy;
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
    let uplink = this.#conntrack.mappedUplink(source, ports, protocol);
    if (uplink < 0 || uplink === avoid || this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) {
      const lookup = shared.lookups[0]!;
      uplink = chooseUplink(lookup, balanceKey, balanceKey0, balanceKey1, source, destination, ports, protocol);
      if (uplink === noUplink) return -verdict.noUplink;
      // The table is a moment behind the uplinks.
      if (this.#egress.uplinkWord(uplink, uplinkWord.ready) === 0) return -verdict.uplinkNotReady;
    }
    const address = this.#egress.uplinkWord(uplink, uplinkWord.address);
    const flow = this.#conntrack.open(source, destination, ports, protocol, uplink, address, nowMs);
    if (flow > 0 && this.#egress.uplinkWith(destination) >= 0) this.#conntrack.setFlag(flow, flowFlag.turnsBack);
    return flow;
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
