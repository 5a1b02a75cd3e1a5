/**
 * Connection tracking: the flows, their mappings, ports and ages.
 *
 * Theory of operation. A flow is opened by its first packet from the inside, on an uplink it keeps
 * for life, behind a mapping: a port of that uplink's address, from this worker's slice. All flows
 * of one inside endpoint share one mapping while it lives (endpoint-independent, RFC 4787 REQ-1),
 * unless configured otherwise. Ports are found in this order: an unused one; that of the TCP flow
 * closed longest ago; for TCP alone, one in use towards other remotes. UDP ports are never shared.
 *
 * Ageing. Every flow is either on the timer wheel or, once its TCP connection is over, in its
 * uplink's list of closed flows, least recently used first: that list is both the queue of expiry and
 * the queue of recycling. The timeout follows from protocol and state; `expire` does a bounded amount
 * a turn. A closed flow no longer counts as its host's: it gives way to any other, so it takes nothing
 * from anyone, and a host may open short connections for as long as it likes.
 *
 * Invariants: no two flows have one reply tuple (never two flows with one external tuple); a flow
 * is in exactly one list; a mapping's `uses` is the number of flows that name it; a host's count is
 * the number of its flows that are not over. A flow never changes uplink, mapped address or mapped port.
 */
import { FlowTable, flowWord, flowWords } from "../tables/flow-table.ts";
import { HostTable } from "../tables/host-table.ts";
import { LinkedLists } from "../tables/linked-lists.ts";
import { MappingTable } from "../tables/mapping-table.ts";
import { PortPool, portSlice } from "../tables/port-pool.ts";
import { counter, uplinkCounter, uplinkCounterAt } from "../tables/shared-state.ts";
import { TimerWheel, wheelSlots } from "../tables/timer-wheel.ts";
import { protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { isOpen, isOver, nextTcpState, tcpState } from "./tcp-state.ts";
import { verdict } from "./verdict.ts";

export interface ConntrackOptions {
  uplinks: number;
  worker: number;
  workers: number;
  /** Flows of this worker. */
  flows: number;
  flowsPerHost: number;
  firstPort: number;
  lastPort: number;
  endpointIndependent: boolean;
  timeouts: { tcpEstablishedMs: number; tcpTransitoryMs: number; udpMs: number; icmpMs: number };
  /** The secret that keys every table. */
  key0: number;
  key1: number;
  random: () => number;
  nowMs: number;
}

/** How many ports in use are tried before TCP gives up sharing one. */
const sharedPortTries = 16;
/** How many closed flows are ended for one port before giving up. */
const recycleTries = 4;

export class Conntrack {
  readonly flows: FlowTable;
  readonly mappings: MappingTable;
  readonly #hosts: HostTable;
  readonly #lists: LinkedLists;
  readonly #wheel: TimerWheel;
  readonly #pools: PortPool[];
  readonly #slice: number[];
  readonly #options: ConntrackOptions;
  readonly #counters: Float64Array;

  constructor(options: ConntrackOptions, counters: Float64Array) {
    const { flows, uplinks, key0, key1 } = options;
    this.#options = options;
    this.#counters = counters;
    this.#slice = portSlice(options.firstPort, options.lastPort, options.worker, options.workers);
    this.flows = new FlowTable(flows, key0, key1);
    const ports = this.#slice.length * uplinks * 3;
    this.mappings = new MappingTable(Math.min(flows, ports), key0, key1);
    this.#hosts = new HostTable(Math.min(flows, 65_536), key0, key1);
    this.#lists = new LinkedLists(flows, wheelSlots + uplinks);
    this.#wheel = new TimerWheel(this.#lists, options.nowMs);
    this.#pools = Array.from({ length: uplinks * 3 }, () => new PortPool(this.#slice, options.random));
  }

  get bytes(): number {
    return this.flows.bytes + this.mappings.bytes + this.#hosts.bytes + this.#lists.bytes;
  }

  /** The uplink that an inside endpoint is mapped to, or -1: its next flow goes there too. */
  mappedUplink(inside: number, ports: number, protocol: number): number {
    const mapping = this.#options.endpointIndependent ? this.mappings.find(inside, ports >>> 16, protocol) : 0;
    return mapping === 0 ? -1 : this.mappings.uplink(mapping);
  }

  /**
   * Opens the flow of an original tuple that is not there yet, on an uplink with this address.
   * Returns the flow, or minus the verdict when it can't be opened.
   */
  open(
    inside: number,
    remote: number,
    ports: number,
    protocol: number,
    uplink: number,
    address: number,
    nowMs: number,
  ): number {
    const host = this.#hosts.findOrInsert(inside);
    if (host === 0) return -verdict.flowTableFull;
    if (this.#hosts.flows(host) >= this.#options.flowsPerHost) return -verdict.hostFlowLimit;
    // The host is held from here on: recycling below may end its last other flow.
    this.#hosts.addFlow(host);
    const flow = this.#openRow(inside, remote, ports, protocol, uplink, address);
    if (flow < 0) {
      this.#hosts.removeFlow(host);
      return flow;
    }
    const words = this.flows.words;
    const row = flow * flowWords;
    words[row + flowWord.host] = host;
    words[row + flowWord.opened] = nowMs | 0;
    words[row + flowWord.lastSeen] = nowMs | 0;
    this.#wheel.arm(flow, nowMs + this.#timeoutMs(protocol, tcpState.none));
    this.#count(protocol, uplink, 1);
    this.#counters[counter.flowsOpened]!++;
    return flow;
  }

  /** Lets the state of a TCP flow follow a segment. */
  trackTcp(flow: number, direction: number, flags: number, nowMs: number): void {
    const words = this.flows.words;
    const at = flow * flowWords + flowWord.state;
    const before = words[at]!;
    const after = nextTcpState(before, direction, flags);
    if (after === before && !isOver(after)) return;
    words[at] = after;
    if (isOver(after)) this.#retire(flow);
    else if (isOver(before)) this.#revive(flow, nowMs);
    else if (isOpen(before) && !isOpen(after)) this.#wheel.arm(flow, nowMs + this.#timeoutMs(protocolTcp, after));
  }

  /** Ends up to `budget` flows whose time is over. */
  expire(nowMs: number, budget: number): void {
    const words = this.flows.words;
    let left = budget;
    for (let flow = this.#wheel.due(nowMs); flow !== 0 && left > 0; flow = this.#wheel.due(nowMs), left--) {
      const row = flow * flowWords;
      const protocol = (words[row + flowWord.outside]! >>> 8) & 0xff;
      const remainingMs = this.#timeoutMs(protocol, words[row + flowWord.state]!) - this.#idleMs(row, nowMs);
      if (remainingMs > 0) this.#wheel.arm(flow, nowMs + remainingMs);
      else this.close(flow);
    }
    for (let uplink = 0; uplink < this.#options.uplinks; uplink++) {
      for (; left > 0; left--) {
        const flow = this.#lists.head(wheelSlots + uplink);
        if (flow === 0 || this.#idleMs(flow * flowWords, nowMs) < this.#options.timeouts.tcpTransitoryMs) break;
        this.close(flow);
      }
    }
  }

  close(flow: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const protocol = (outside >>> 8) & 0xff;
    const uplink = outside & 0xff;
    const mapping = words[row + flowWord.mapping]!;
    this.#lists.remove(flow);
    this.#releaseHost(row);
    this.flows.close(flow);
    if (mapping !== 0 && this.mappings.release(mapping)) this.#pool(uplink, protocol).release(outside >>> 16);
    this.#count(protocol, uplink, -1);
  }

  #openRow(inside: number, remote: number, ports: number, protocol: number, uplink: number, address: number): number {
    if (this.flows.full && !this.#recycleAny()) return -verdict.flowTableFull;
    const mappings = this.mappings;
    let mapping = this.#options.endpointIndependent ? mappings.find(inside, ports >>> 16, protocol) : 0;
    // A mapping on another uplink, or on an address that the uplink has lost, serves only the flows it has.
    if (mapping !== 0 && (mappings.uplink(mapping) !== uplink || mappings.address(mapping) !== address)) {
      mappings.hide(mapping);
      mapping = 0;
    }
    let port = 0;
    if (mapping !== 0) {
      if (this.#replyTupleFree(remote, address, ports, mappings.port(mapping), protocol)) port = mappings.port(mapping);
      else if (protocol !== protocolTcp) return -verdict.noPort;
      else mapping = 0;
    }
    if (mapping === 0) {
      const findable = this.#options.endpointIndependent && mappings.find(inside, ports >>> 16, protocol) === 0;
      port = this.#takePort(remote, address, ports, protocol, uplink);
      if (port !== 0) mapping = mappings.insert(inside, ports >>> 16, protocol, uplink, address, port, findable);
      else if (protocol === protocolTcp) port = this.#sharePort(remote, address, ports);
      if (port === 0) return -verdict.noPort;
    }
    const flow = this.flows.insert(inside, remote, ports, address, port, protocol, uplink);
    this.flows.words[flow * flowWords + flowWord.mapping] = mapping;
    if (mapping !== 0) mappings.use(mapping);
    return flow;
  }

  /** An unused port, or that of a closed flow; 0 when there is neither. */
  #takePort(remote: number, address: number, ports: number, protocol: number, uplink: number): number {
    const pool = this.#pool(uplink, protocol);
    for (let tries = 0; tries < recycleTries; tries++) {
      if (pool.free === 0) {
        const oldest = protocol === protocolTcp ? this.#lists.head(wheelSlots + uplink) : 0;
        if (oldest === 0) return 0;
        this.close(oldest);
        continue;
      }
      const port = pool.take();
      if (this.#replyTupleFree(remote, address, ports, port, protocol)) return port;
      // A sharer of this port already talks to this remote: leave it, try the next.
      pool.release(port);
    }
    return 0;
  }

  /** A port in use, towards other remotes than this; 0 when none was found in bounded tries. */
  #sharePort(remote: number, address: number, ports: number): number {
    const slice = this.#slice;
    let at = Math.floor(this.#options.random() * slice.length);
    for (let tries = 0; tries < sharedPortTries; tries++, at = (at + 1) % slice.length) {
      if (this.#replyTupleFree(remote, address, ports, slice[at]!, protocolTcp)) return slice[at]!;
    }
    return 0;
  }

  #replyTupleFree(remote: number, address: number, ports: number, port: number, protocol: number): boolean {
    const replyPorts = (ports << 16) | port;
    const hash = this.flows.hash(remote, address, replyPorts, protocol);
    return this.flows.find(hash, remote, address, replyPorts, protocol) === 0;
  }

  /** Ends the closed flow that has waited longest on some uplink, to make room in the table. */
  #recycleAny(): boolean {
    for (let uplink = 0; uplink < this.#options.uplinks; uplink++) {
      const oldest = this.#lists.head(wheelSlots + uplink);
      if (oldest === 0) continue;
      this.close(oldest);
      return true;
    }
    return false;
  }

  /** Moves a flow whose connection is over to the end of its uplink's list of closed ones, and does so again with every packet. */
  #retire(flow: number): void {
    const row = flow * flowWords;
    const uplink = this.flows.words[row + flowWord.outside]! & 0xff;
    this.#lists.remove(flow);
    this.#lists.append(wheelSlots + uplink, flow);
    this.#releaseHost(row);
  }

  /** A flow that was over has been opened again. Its host may exceed its share by it: the flow was there already. */
  #revive(flow: number, nowMs: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    const host = this.#hosts.findOrInsert(words[row + flowWord.inside]!);
    if (host !== 0) this.#hosts.addFlow(host);
    words[row + flowWord.host] = host;
    this.#wheel.arm(flow, nowMs + this.#timeoutMs(protocolTcp, words[row + flowWord.state]!));
  }

  #releaseHost(row: number): void {
    const words = this.flows.words;
    const host = words[row + flowWord.host]!;
    if (host !== 0) this.#hosts.removeFlow(host);
    words[row + flowWord.host] = 0;
  }

  #idleMs(row: number, nowMs: number): number {
    return ((nowMs | 0) - this.flows.words[row + flowWord.lastSeen]!) | 0;
  }

  #timeoutMs(protocol: number, state: number): number {
    const timeouts = this.#options.timeouts;
    if (protocol === protocolTcp) return isOpen(state) ? timeouts.tcpEstablishedMs : timeouts.tcpTransitoryMs;
    return protocol === protocolUdp ? timeouts.udpMs : timeouts.icmpMs;
  }

  #pool(uplink: number, protocol: number): PortPool {
    const which = protocol === protocolTcp ? 0 : protocol === protocolUdp ? 1 : 2;
    return this.#pools[uplink * 3 + which]!;
  }

  #count(protocol: number, uplink: number, change: number): void {
    const gauge =
      protocol === protocolTcp
        ? counter.flowsTcp
        : protocol === protocolUdp
          ? counter.flowsUdp
          : protocol === protocolIcmp
            ? counter.flowsIcmp
            : counter.flowsOther;
    this.#counters[gauge]! += change;
    this.#counters[uplinkCounterAt(uplink, uplinkCounter.flows)]! += change;
    this.#counters[counter.mappings] = this.mappings.open;
  }
}
