/**
 * Connection tracking: the flows, their mappings and ages.
 *
 * Theory of operation. A flow is opened by its first packet, on an uplink it keeps for life. From the
 * inside it gets a mapping: a port of that uplink's address, from this worker's slice (ports.ts). All
 * flows of one inside endpoint share one mapping while it lives (endpoint-independent, RFC 4787
 * REQ-1), unless configured otherwise. From outside a flow is opened only to a mapping whose
 * filtering lets the remote in (RFC 4787, section 5), or by a configured forward.
 *
 * A flow ends when its time is over (ageing.ts). One whose connection is over no longer counts as its
 * host's: it gives way to any other, so it takes nothing from anyone, and a host may open short
 * connections for as long as it likes. When rows, ports or a host's share run out and nothing is over, flows
 * that nobody has answered are ended (unanswered.ts), in the full share of a host its own.
 *
 * Invariants: no two flows have one reply tuple (never two flows with one external tuple); a flow
 * is in exactly one list; a mapping's `uses` is the number of flows that name it; a host's count is
 * the number of its flows that are not over. A flow never changes uplink, mapped address or mapped port.
 */
import { AddressBook, isName } from "../tables/address-book.ts";
import { CountedKeys } from "../tables/counted-keys.ts";
import { FlowTable, flowWord, flowWords, original, reply } from "../tables/flow-table.ts";
import { MappingTable } from "../tables/mapping-table.ts";
import { counter, uplinkCounter, uplinkCounterAt } from "../tables/shared-state.ts";
import { hasPorts, protocolIcmp, protocolTcp, protocolUdp } from "../wire/ipv4.ts";
import { rst, syn, tcp } from "../wire/tcp.ts";
import { Ageing, type Timeouts } from "./ageing.ts";
import { flowFlag, stateMask, stateOf } from "./flow-state.ts";
import { Ports, type PortsOptions } from "./ports.ts";
import { givesWay, isOpen, isOver, nextStateFromUplink, nextTcpState, tcpState } from "./tcp-state.ts";
import { TcpWindows } from "./tcp-window.ts";
import { Unanswered } from "./unanswered.ts";
import { verdict } from "./verdict.ts";

export interface ConntrackOptions extends PortsOptions {
  /** Flows of this worker. */
  flows: number;
  flowsPerHost: number;
  endpointIndependent: boolean;
  /** A number of `filtering`. */
  filtering: number;
  timeouts: Timeouts;
  /** The secret that keys every table. */
  key0: number;
  key1: number;
  nowMs: number;
}

/** Which remotes may send to a mapping: those it has sent to, port and all; hosts it has sent to; everyone. */
export const filtering = { addressAndPort: 0, address: 1, endpointIndependent: 2 } as const;

/** Most inside hosts with flows at a time. */
const mostHosts = 32_768;
/** Most IPv6 addresses that flows name at a time: with the spare ones just so many that their index need not be larger than 2 MB. */
const mostNames = 262_000;
const spareNames = 8;
/** How many connections that are over are ended for a name, at most: others may use the same. */
const nameTries = 8;
/** Most flows that nobody has answered; more would be a flood. */
const mostUnanswered = 32_768;
/** How many unanswered flows of a host are looked at for one that holds a port of the right kind, and how many are ended for theirs. */
const lookTries = 16;
const endTries = 4;

export class Conntrack {
  readonly flows: FlowTable;
  readonly mappings: MappingTable;
  /** Names for the IPv6 addresses of flows. */
  readonly names: AddressBook;
  readonly #ports: Ports;
  readonly #hosts: CountedKeys;
  /** Flows between a mapping and a remote host: whom address-dependent filtering lets in. */
  readonly #peers: CountedKeys;
  readonly #ageing: Ageing;
  readonly #unanswered: Unanswered;
  readonly #windows: TcpWindows;
  readonly #options: ConntrackOptions;
  readonly #counters: Float64Array;
  readonly #close = (flow: number) => this.close(flow);

  constructor(options: ConntrackOptions, counters: Float64Array) {
    const { flows, uplinks, key0, key1 } = options;
    this.#options = options;
    this.#counters = counters;
    this.flows = new FlowTable(flows, key0, key1);
    this.#ports = new Ports(options, this.flows, (uplink) => this.#recycle(uplink));
    this.mappings = new MappingTable(Math.min(flows, this.#ports.count), key0, key1);
    // A flow names three at the most, and each uplink one; some more while one is opened.
    this.names = new AddressBook(Math.min(flows * 3, mostNames) + uplinks + spareNames, key0, key1);
    const hosts = Math.min(flows, mostHosts);
    this.#hosts = new CountedKeys(hosts, key0, key1);
    this.#unanswered = new Unanswered(Math.min(flows, mostUnanswered), hosts);
    this.#peers = new CountedKeys(options.filtering === filtering.address ? flows : 0, key0, key1);
    this.#windows = new TcpWindows(flows);
    this.#ageing = new Ageing(this.flows, uplinks, options.timeouts, options.nowMs);
  }

  /** Of the tables that grow with the number of flows; `names` is bounded for itself. */
  get bytes(): number {
    const { flows, mappings } = this;
    const tables = [flows, mappings, this.#hosts, this.#peers, this.#ageing, this.#unanswered, this.#windows];
    return tables.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** The name of an IPv6 address, with a reference for the caller; for want of room a connection that is over gives way. 0 when there is none. */
  takeName(word0: number, word1: number, word2: number, word3: number): number {
    for (let tries = 0; tries < nameTries; tries++) {
      const name = this.names.take(word0, word1, word2, word3);
      if (name !== 0 || !this.#makeRoom()) return name;
    }
    return 0;
  }

  /** The uplink that an inside endpoint is mapped to, or -1: its next flow goes there too. */
  mappedUplink(inside: number, ports: number, protocol: number): number {
    const mapping = this.#findMapping(inside, ports, protocol);
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
    const host = this.#admitHost(inside);
    if (host < 0) return host;
    const flow = this.#openRow(inside, remote, ports, protocol, uplink, address, host);
    return this.#register(flow, host, protocol, uplink, 0, nowMs);
  }

  /**
   * As `open`, on an outside address that belongs to the inside one alone (RFC 6296): the port stays. The mapping
   * is there for those whom the filtering lets in by it; when the table is full the flow goes without.
   */
  openKeepingPort(
    inside: number,
    remote: number,
    ports: number,
    protocol: number,
    uplink: number,
    mapped: number,
    nowMs: number,
  ): number {
    const host = this.#admitHost(inside);
    if (host < 0) return host;
    const flow = this.#openRowKeepingPort(inside, remote, ports, protocol, uplink, mapped);
    return this.#register(flow, host, protocol, uplink, 0, nowMs);
  }

  /**
   * Opens the flow of a packet from outside that a mapping lets in; `ports` are the packet's. Returns
   * the flow, or minus the verdict: unsolicited when no mapping has that port or its filtering says no.
   */
  openToMapping(
    remote: number,
    mapped: number,
    ports: number,
    protocol: number,
    uplink: number,
    nowMs: number,
  ): number {
    const mapping = this.mappings.findByPort(mapped, ports & 0xffff, protocol);
    if (mapping === 0 || !this.#letsIn(mapping, remote)) return -verdict.unsolicited;
    const insidePorts = (this.mappings.insidePort(mapping) << 16) | (ports >>> 16);
    return this.#openInbound(
      this.mappings.inside(mapping),
      remote,
      insidePorts,
      mapped,
      ports,
      protocol,
      uplink,
      mapping,
      nowMs,
    );
  }

  /** Opens the flow of a packet from outside to a forwarded port, which leads to `inside` and its port. */
  openForwarded(
    inside: number,
    insidePort: number,
    remote: number,
    mapped: number,
    ports: number,
    protocol: number,
    uplink: number,
    nowMs: number,
  ): number {
    const insidePorts = (insidePort << 16) | (ports >>> 16);
    return this.#openInbound(inside, remote, insidePorts, mapped, ports, protocol, uplink, 0, nowMs);
  }

  /**
   * Follows a TCP segment: header at `l4`, data from `l4End` to `packetEnd`. One outside of the windows
   * goes on without any say in the state, unless it is a SYN of the remote's, or a RST where it could do harm, which are dropped.
   * Returns the verdict.
   */
  trackTcp(
    flow: number,
    direction: number,
    view: DataView,
    l4: number,
    l4End: number,
    packetEnd: number,
    nowMs: number,
  ): number {
    const words = this.flows.words;
    const at = flow * flowWords + flowWord.state;
    const before = words[at]! & stateMask;
    const flags = view.getUint8(l4 + tcp.flags);
    // The table of states is told from the side of whoever began.
    const fromOpener = (words[at]! & flowFlag.openedByRemote) === 0 ? direction : direction ^ 1;
    const next =
      direction === reply ? nextStateFromUplink(before, fromOpener, flags) : nextTcpState(before, fromOpener, flags);
    if (next === tcpState.synSent && before > next) this.#beginAnew(flow, nowMs);
    // SYN cookies, a port that is used again after nobody answered: the numbers may change until both ends are agreed.
    const mayBegin = before < (fromOpener === 0 ? tcpState.simultaneousOpen : tcpState.established);
    const isGenuine = this.#windows.accept(flow, direction, mayBegin, view, l4, l4End, packetEnd);
    if (!isGenuine && direction === reply && (flags & (syn | rst)) !== 0) {
      // A remote that is about to begin refuses what the inside has left of an earlier connection, in that one's numbers.
      const refusesLeftover = (flags & rst) !== 0 && fromOpener === 0 && before === tcpState.synSent;
      if (!refusesLeftover) return verdict.tcpOutOfWindow;
    }
    const after = isGenuine ? next : before;
    if (after === before && !isOver(after)) return verdict.forward;
    words[at] = (words[at]! & ~stateMask) | after;
    if (isOver(after)) {
      if (!isOver(before)) this.#countOver(flow, 1);
      this.#retire(flow);
      return verdict.forward;
    }
    if (isOver(before)) this.#revive(flow);
    if (!givesWay(after)) this.#vouch(flow);
    else if (!givesWay(before)) this.#doubt(flow);
    if (isOver(before) || (isOpen(before) && !isOpen(after))) this.#ageing.arm(flow, nowMs);
    return verdict.forward;
  }

  /** Takes note of a packet of a flow that is unanswered so far; true when it is an answer. Of TCP the handshake alone is one. */
  heard(flow: number, direction: number): boolean {
    const words = this.flows.words;
    const row = flow * flowWords;
    if (((words[row + flowWord.outside]! >>> 8) & 0xff) === protocolTcp) return false;
    const opener = (words[row + flowWord.state]! & flowFlag.openedByRemote) === 0 ? original : reply;
    if (direction === opener) return false;
    this.#vouch(flow);
    return true;
  }

  /** The TCP state of a flow. */
  state(flow: number): number {
    return stateOf(this.flows.words, flow);
  }

  /** The number that the receiver of the segments in this direction expects next. */
  sentEnd(flow: number, direction: number): number {
    return this.#windows.sentEnd(flow, direction);
  }

  /** Ends a connection on our own account. Its row stays, as that of one that is over: see cut-off.ts. */
  cutOff(flow: number, nowMs: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    words[row + flowWord.state] = (words[row + flowWord.state]! & ~stateMask) | tcpState.closed | flowFlag.cutOff;
    words[row + flowWord.lastSeen] = nowMs | 0;
    this.hideMapping(flow);
    this.#countOver(flow, 1);
    this.#retire(flow);
  }

  /** Gives the next flow of an inside endpoint another mapping than this flow's. */
  hideMapping(flow: number): void {
    const mapping = this.flows.words[flow * flowWords + flowWord.mapping]!;
    if (mapping !== 0) this.mappings.hide(mapping);
  }

  setFlag(flow: number, flag: number): void {
    this.flows.words[flow * flowWords + flowWord.state]! |= flag;
  }

  /** Ends up to `budget` flows whose time is over. */
  expire(nowMs: number, budget: number): void {
    this.#ageing.expire(nowMs, budget, this.#close);
  }

  close(flow: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    const outside = words[row + flowWord.outside]!;
    const protocol = (outside >>> 8) & 0xff;
    const uplink = outside & 0xff;
    const mapping = words[row + flowWord.mapping]!;
    const remote = words[row + flowWord.remote]!;
    const inside = words[row + flowWord.inside]!;
    if (isOver(stateOf(words, flow))) this.#countOver(flow, -1);
    this.#ageing.remove(flow);
    this.#releaseHost(flow);
    this.flows.close(flow);
    if (mapping !== 0) {
      if (this.#options.filtering === filtering.address) this.#peers.release(this.#peers.find(mapping, remote));
      if (this.mappings.release(mapping)) this.#ports.release(outside >>> 16, protocol, uplink);
    }
    if (isName(inside)) this.#releaseNames(inside, remote, words[row + flowWord.mapped]!);
    this.#count(protocol, uplink, -1);
  }

  #openRow(
    inside: number,
    remote: number,
    ports: number,
    protocol: number,
    uplink: number,
    address: number,
    host: number,
  ): number {
    if (this.flows.full && !this.#makeRoom()) return -verdict.flowTableFull;
    if (!hasPorts(protocol)) return this.#openWithoutPort(inside, remote, protocol, uplink, address);
    const mappings = this.mappings;
    let mapping = this.#findMapping(inside, ports, protocol);
    // A mapping on another uplink, or on an address that the uplink has lost, serves only the flows it has.
    if (mapping !== 0 && (mappings.uplink(mapping) !== uplink || mappings.address(mapping) !== address)) {
      mappings.hide(mapping);
      mapping = 0;
    }
    let port = 0;
    if (mapping !== 0) {
      if (this.#ports.isFree(remote, address, ports, mappings.port(mapping), protocol)) port = mappings.port(mapping);
      else if (protocol !== protocolTcp) return -verdict.noPort;
      else mapping = 0;
    }
    if (mapping === 0) {
      port = this.#ports.take(remote, address, ports, protocol, uplink);
      const shared = port === 0 && protocol === protocolTcp ? this.#ports.share(remote, address, ports) : 0;
      if (port === 0 && shared === 0) port = this.#winPort(remote, address, ports, protocol, uplink, host);
      if (port !== 0) {
        const findable = this.#options.endpointIndependent && mappings.find(inside, ports >>> 16, protocol) === 0;
        mapping = mappings.insert(inside, ports >>> 16, protocol, uplink, address, port, findable);
      } else port = shared;
      if (port === 0) return -verdict.noPort;
    }
    const flow = this.flows.insert(inside, remote, ports, address, port, protocol, uplink);
    this.#bind(flow, mapping, remote);
    return flow;
  }

  /** Only the address is translated, so the remote and the protocol must tell the flow from others. */
  #openWithoutPort(inside: number, remote: number, protocol: number, uplink: number, address: number): number {
    if (!this.#ports.isFree(remote, address, 0, 0, protocol)) return -verdict.protocolClash;
    return this.flows.insert(inside, remote, 0, address, 0, protocol, uplink);
  }

  #openRowKeepingPort(
    inside: number,
    remote: number,
    ports: number,
    protocol: number,
    uplink: number,
    mapped: number,
  ): number {
    if (this.flows.full && !this.#makeRoom()) return -verdict.flowTableFull;
    const { mappings } = this;
    const port = hasPorts(protocol) ? ports >>> 16 : 0;
    if (!this.#ports.isFree(remote, mapped, ports, port, protocol)) return -verdict.noPort;
    let mapping = mappings.findByPort(mapped, port, protocol);
    if (mapping !== 0 && mappings.inside(mapping) !== inside) return -verdict.noPort;
    const displaced = this.#findMapping(inside, ports, protocol);
    if (displaced !== 0 && displaced !== mapping) mappings.hide(displaced);
    if (mapping === 0 && hasPorts(protocol) && !mappings.full) {
      const findable = this.#options.endpointIndependent;
      mapping = mappings.insertKeepingPort(inside, port, protocol, uplink, mapped, findable);
    }
    const flow = this.flows.insert(inside, remote, ports, mapped, port, protocol, uplink);
    this.#bind(flow, mapping, remote);
    return flow;
  }

  #openInbound(
    inside: number,
    remote: number,
    insidePorts: number,
    mapped: number,
    ports: number,
    protocol: number,
    uplink: number,
    mapping: number,
    nowMs: number,
  ): number {
    // The inside endpoint may talk to this remote already, by another mapping.
    const hash = this.flows.hash(inside, remote, insidePorts, protocol);
    if (this.flows.find(hash, inside, remote, insidePorts, protocol) !== 0) return -verdict.unsolicited;
    // A flow that is ended for this one could be the last of this mapping: hold it meanwhile.
    if (mapping !== 0) this.mappings.use(mapping);
    const host = this.#admitHost(inside);
    let flow: number = -verdict.flowTableFull;
    if (host > 0 && (!this.flows.full || this.#makeRoom())) {
      flow = this.flows.insert(inside, remote, insidePorts, mapped, ports & 0xffff, protocol, uplink);
      this.#bind(flow, mapping, remote);
    }
    if (mapping !== 0 && this.mappings.release(mapping)) this.#ports.release(ports & 0xffff, protocol, uplink);
    return host < 0 ? host : this.#register(flow, host, protocol, uplink, flowFlag.openedByRemote, nowMs);
  }

  /** Counts a new flow as its host's; the host's entry, or minus the verdict when it has its share. */
  #admitHost(inside: number): number {
    let host = this.#hosts.add(inside, 0);
    for (let tries = 0; host === 0 && tries < endTries && this.#makeRoom(); tries++) host = this.#hosts.add(inside, 0);
    if (host === 0) return -verdict.flowTableFull;
    const { flowsPerHost } = this.#options;
    // More than one when it has exceeded its share by connections that came back to life.
    for (let tries = 0; tries < endTries && this.#hosts.count(host) > flowsPerHost; tries++) this.#endUnanswered(host);
    if (this.#hosts.count(host) <= flowsPerHost) return host;
    this.#hosts.release(host);
    return -verdict.hostFlowLimit;
  }

  /** Completes a flow that was opened, or gives its host back when it was not. */
  #register(flow: number, host: number, protocol: number, uplink: number, state: number, nowMs: number): number {
    this.#counters[counter.mappings] = this.mappings.open;
    if (flow < 0) {
      this.#hosts.release(host);
      return flow;
    }
    const words = this.flows.words;
    const row = flow * flowWords;
    words[row + flowWord.state] = state;
    words[row + flowWord.host] = host;
    if (isName(words[row + flowWord.inside]!)) this.#holdNames(row);
    words[row + flowWord.opened] = nowMs | 0;
    words[row + flowWord.lastSeen] = nowMs | 0;
    this.#doubt(flow);
    if (protocol === protocolTcp) this.#windows.reset(flow);
    this.#ageing.arm(flow, nowMs);
    this.#count(protocol, uplink, 1);
    this.#counters[counter.flowsOpened]!++;
    return flow;
  }

  #holdNames(row: number): void {
    const { words } = this.flows;
    this.names.hold(words[row + flowWord.inside]!);
    this.names.hold(words[row + flowWord.remote]!);
    this.names.hold(words[row + flowWord.mapped]!);
  }

  #releaseNames(inside: number, remote: number, mapped: number): void {
    this.names.release(inside);
    this.names.release(remote);
    this.names.release(mapped);
  }

  #bind(flow: number, mapping: number, remote: number): void {
    this.flows.words[flow * flowWords + flowWord.mapping] = mapping;
    if (mapping === 0) return;
    this.mappings.use(mapping);
    if (this.#options.filtering === filtering.address) this.#peers.add(mapping, remote);
  }

  #findMapping(inside: number, ports: number, protocol: number): number {
    return this.#options.endpointIndependent ? this.mappings.find(inside, ports >>> 16, protocol) : 0;
  }

  #letsIn(mapping: number, remote: number): boolean {
    if (this.#options.filtering === filtering.endpointIndependent) return true;
    return this.#options.filtering === filtering.address && this.#peers.find(mapping, remote) !== 0;
  }

  /** Frees a row: of the connection that has been over longest, else an unanswered one. */
  #makeRoom(): boolean {
    for (let uplink = 0; uplink < this.#options.uplinks; uplink++) if (this.#recycle(uplink)) return true;
    return this.#endUnanswered(this.#unanswered.greatestHost);
  }

  /** Ends the TCP flow of an uplink that was closed longest ago; false when there is none. */
  #recycle(uplink: number): boolean {
    const oldest = this.#ageing.oldestClosed(uplink);
    if (oldest === 0) return false;
    this.close(oldest);
    return true;
  }

  /** Ends a host's oldest unanswered flow; false when it has none. */
  #endUnanswered(host: number): boolean {
    const record = host === 0 ? 0 : this.#unanswered.first(host);
    if (record === 0) return false;
    this.close(this.#unanswered.flow(record));
    return true;
  }

  /** A port for which an unanswered flow is ended, rather one of whoever has the most than one of `host`; 0 when there is none. */
  #winPort(remote: number, address: number, ports: number, protocol: number, uplink: number, host: number): number {
    for (let tries = 0; tries < endTries; tries++) {
      const greatest = this.#unanswered.greatestHost;
      const flow = this.#holderOfPort(greatest, protocol, uplink) || this.#holderOfPort(host, protocol, uplink);
      if (flow === 0) return 0;
      this.close(flow);
      const port = this.#ports.take(remote, address, ports, protocol, uplink);
      if (port !== 0) return port;
    }
    return 0;
  }

  /** One of a host's oldest unanswered flows that alone holds a port of this kind, or 0. */
  #holderOfPort(host: number, protocol: number, uplink: number): number {
    const { words } = this.flows;
    let record = host === 0 ? 0 : this.#unanswered.first(host);
    for (let tries = 0; record !== 0 && tries < lookTries; record = this.#unanswered.next(record), tries++) {
      const flow = this.#unanswered.flow(record);
      const row = flow * flowWords;
      const mapping = words[row + flowWord.mapping]!;
      const isOfKind = (words[row + flowWord.outside]! & 0xffff) === ((protocol << 8) | uplink);
      if (isOfKind && mapping !== 0 && this.mappings.uses(mapping) === 1) return flow;
    }
    return 0;
  }

  /** Lets a flow whose connection is over wait to be recycled, behind all others, and does so again with every packet. */
  #retire(flow: number): void {
    this.setFlag(flow, flowFlag.over);
    this.#ageing.retire(flow);
    this.#releaseHost(flow);
  }

  /** The tuple of a connection that is over, or as good as, serves another one. */
  #beginAnew(flow: number, nowMs: number): void {
    const { words, doubles } = this.flows;
    const row = flow * flowWords;
    this.#windows.reset(flow);
    words[row + flowWord.opened] = nowMs | 0;
    words[row + flowWord.txPackets] = 0;
    words[row + flowWord.rxPackets] = 0;
    doubles[(row + flowWord.txBytes) >>> 1] = 0;
    doubles[(row + flowWord.rxBytes) >>> 1] = 0;
  }

  /** A flow that was over has been opened again. Its host may exceed its share by it: the flow was there already. */
  #revive(flow: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    words[row + flowWord.state]! &= ~(flowFlag.over | flowFlag.cutOff);
    words[row + flowWord.host] = this.#hosts.add(words[row + flowWord.inside]!, 0);
    this.#countOver(flow, -1);
  }

  /** Puts a flow among those that give way. One of a host that is not counted stays where it is. */
  #doubt(flow: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    const host = words[row + flowWord.host]!;
    if (host === 0) return;
    if (this.#unanswered.full) this.#endUnanswered(this.#unanswered.greatestHost);
    words[row + flowWord.host] = this.#unanswered.add(host, flow);
    words[row + flowWord.state]! |= flowFlag.unanswered;
  }

  /** Takes a flow away from those that give way. */
  #vouch(flow: number): void {
    const words = this.flows.words;
    const row = flow * flowWords;
    if ((words[row + flowWord.state]! & flowFlag.unanswered) === 0) return;
    words[row + flowWord.host] = this.#unanswered.remove(words[row + flowWord.host]!);
    words[row + flowWord.state]! &= ~flowFlag.unanswered;
  }

  #releaseHost(flow: number): void {
    this.#vouch(flow);
    const words = this.flows.words;
    const row = flow * flowWords;
    const host = words[row + flowWord.host]!;
    if (host !== 0) this.#hosts.release(host);
    words[row + flowWord.host] = 0;
  }

  #countOver(flow: number, change: number): void {
    const uplink = this.flows.words[flow * flowWords + flowWord.outside]! & 0xff;
    this.#counters[uplinkCounterAt(uplink, uplinkCounter.over)]! += change;
  }

  #count(protocol: number, uplink: number, change: number): void {
    this.#counters[gaugeOf(protocol)]! += change;
    this.#counters[uplinkCounterAt(uplink, uplinkCounter.flows)]! += change;
    this.#counters[counter.mappings] = this.mappings.open;
  }
}

function gaugeOf(protocol: number): number {
  if (protocol === protocolTcp) return counter.flowsTcp;
  if (protocol === protocolUdp) return counter.flowsUdp;
  return protocol === protocolIcmp ? counter.flowsIcmp : counter.flowsOther;
}
