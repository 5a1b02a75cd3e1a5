/**
 * Connection tracking against a model of plain objects: thousands of random operations on tables so
 * small that everything runs out all the time. The model does not choose ports, which is random, but
 * judges every choice; it knows exactly which flows may and which must be gone.
 */
import { expect, test } from "vitest";
import { Conntrack, filtering } from "../../src/dataplane/conntrack.ts";
import {
  givesWay,
  isOpen,
  isOver,
  nextStateFromUplink,
  nextTcpState,
  tcpState,
} from "../../src/dataplane/tcp-state.ts";
import { dropNames } from "../../src/dataplane/verdict.ts";
import { flowWord, flowWords, original, reply } from "../../src/tables/flow-table.ts";
import { SharedState } from "../../src/tables/shared-state.ts";
import { ACK, FIN, GRE, ICMP, RST, randomFrom, SYN, TCP, UDP } from "../support/packets.ts";
import { checkInvariants } from "./invariants.ts";

const limits = { flows: 24, flowsPerHost: 9, firstPort: 1000, lastPort: 1003, uplinks: 2 };
const timeouts = {
  tcpEstablishedMs: 3_000_000,
  tcpTransitoryMs: 240_000,
  udpMs: 300_000,
  icmpMs: 60_000,
  otherMs: 200_000,
};
const addresses = [0xcb00_7102 | 0, 0xc633_6402 | 0];
/** Where the stopwatch of a flow may be off: an idle flow ends within a second of its time. */
const graceMs = 1000;

interface ModelFlow {
  key: string;
  flow: number;
  inside: number;
  insidePort: number;
  remote: number;
  remotePort: number;
  protocol: number;
  uplink: number;
  address: number;
  port: number;
  state: number;
  lastSeenMs: number;
  /** Grows with every packet after the connection was over: the order of recycling. */
  retired: number;
  openedByRemote: boolean;
  /** Whether the other end has answered: until then it gives way to others. */
  answered: boolean;
  /** Whether a segment of this end has been followed since the connection began: [original, reply]. */
  heard: [boolean, boolean];
}

class Model {
  readonly flows = new Map<string, ModelFlow>();
  #clock = 0;

  touch(flow: ModelFlow, nowMs: number): void {
    flow.lastSeenMs = nowMs;
  }

  /**
   * All segments have the number 0, so that the windows let them pass but for one: a RST of an end that has not been
   * heard names nothing that it could refuse. The verdict: whether it goes on.
   */
  segment(flow: ModelFlow, direction: 0 | 1, flags: number): boolean {
    const nextState = direction === reply ? nextStateFromUplink : nextTcpState;
    const next = nextState(flow.state, flow.openedByRemote ? direction ^ 1 : direction, flags);
    if (next === tcpState.synSent && flow.state > next) flow.heard = [false, false];
    const isGenuine = flags !== RST || flow.heard[direction];
    if (!isGenuine && direction === reply) return false;
    if (isGenuine) {
      flow.heard[direction] = true;
      if (!givesWay(next)) flow.answered = true;
      else if (!givesWay(flow.state)) flow.answered = false;
      flow.state = next;
    }
    flow.retired = isOver(flow.state) ? ++this.#clock : 0;
    return true;
  }

  timeoutMs(flow: ModelFlow): number {
    if (flow.protocol === UDP) return timeouts.udpMs;
    if (flow.protocol === ICMP) return timeouts.icmpMs;
    if (flow.protocol === GRE) return timeouts.otherMs;
    return isOpen(flow.state) ? timeouts.tcpEstablishedMs : timeouts.tcpTransitoryMs;
  }

  list(wanted: (flow: ModelFlow) => boolean): ModelFlow[] {
    return [...this.flows.values()].filter(wanted);
  }

  /** Flows that gave way were unanswered, or over, and then none of their uplink that was over longer has been spared. */
  expectRecycled(gone: readonly ModelFlow[]): void {
    for (const flow of gone) {
      expect(flow.retired > 0 || !flow.answered, "only what is over or unanswered gives way").toBe(true);
      if (flow.retired === 0) continue;
      const spared = this.list((other) => other.uplink === flow.uplink && other.retired > 0);
      for (const other of spared) expect(other.retired, "least recently used first").toBeGreaterThan(flow.retired);
    }
  }
}

class Subject {
  readonly model = new Model();
  readonly conntrack: Conntrack;
  readonly #counters = new SharedState().counters(0);
  readonly #random: () => number;
  readonly #endpointIndependent: boolean;
  readonly #filtering: number;
  readonly #segment = new DataView(new ArrayBuffer(20));
  nowMs = 5000;
  refused: Record<string, number> = {};
  /** How many flows the remote has opened. */
  opened = 0;

  constructor(seed: number, endpointIndependent: boolean, filtering: number) {
    this.#random = randomFrom(seed);
    this.#endpointIndependent = endpointIndependent;
    this.#filtering = filtering;
    this.#segment.setUint8(12, 0x50);
    this.#segment.setUint16(14, 1000);
    this.conntrack = new Conntrack(
      {
        ...limits,
        endpointIndependent,
        filtering,
        timeouts,
        worker: 0,
        workers: 1,
        key0: seed,
        key1: ~seed,
        random: randomFrom(seed + 1),
        nowMs: this.nowMs,
      },
      this.#counters,
    );
  }

  step(): void {
    const dice = this.#random();
    if (dice < 0.35) this.open();
    else if (dice < 0.45) this.openToMapping();
    else if (dice < 0.5) this.openForwarded();
    else if (dice < 0.8) this.segment();
    else if (dice < 0.9) this.touch();
    else this.pass(this.#pick([1, 500, 10_000, 60_000, 100_000, 250_000]));
    checkInvariants(this.conntrack, this.#counters);
  }

  open(): void {
    const { model } = this;
    const inside = 0xc0a8_0a00 + this.#pick([2, 3, 4, 5]);
    const remote = 0xc000_0200 + this.#pick([1, 2, 3]);
    const protocol = this.#pick([TCP, TCP, TCP, TCP, UDP, UDP, ICMP, GRE]);
    const insidePort = protocol === GRE ? 0 : this.#pick([1, 2, 3, 4, 5, 6]);
    const remotePort = protocol === ICMP || protocol === GRE ? 0 : this.#pick([80, 81]);
    const key = [inside, insidePort, remote, remotePort, protocol].join(" ");
    if (model.flows.has(key)) return;
    const ports = (insidePort << 16) | remotePort;
    const mappedUplink = this.conntrack.mappedUplink(inside | 0, ports, protocol);
    const uplink = mappedUplink >= 0 && this.#random() < 0.8 ? mappedUplink : this.#pick([0, 1]);
    const address = addresses[uplink]!;

    const before = model.list(() => true);
    const mapping = this.#endpointIndependent
      ? this.#mappingOf(inside, insidePort, protocol, uplink, address)
      : undefined;
    const live = before.filter((flow) => flow.inside === inside && flow.retired === 0).length;
    const taken = new Set(before.filter((flow) => this.#ownsPort(flow, uplink, protocol)).map((flow) => flow.port));
    const result = this.conntrack.open(inside | 0, remote | 0, ports, protocol, uplink, address, this.nowMs);
    const gone = this.#forgetGone();
    model.expectRecycled(gone);
    if (result < 0) {
      this.#expectRefusal(dropNames[-result]!, {
        ...{ live, before, gone, taken, inside, protocol, remote, remotePort, uplink },
      });
      return;
    }

    this.#expectShareIsKept(live, gone, inside);
    const port = this.#portOf(result);
    const flow: ModelFlow = {
      ...{ key, flow: result, inside, insidePort, remote, remotePort, protocol, uplink, address, port },
      ...{
        state: 0,
        lastSeenMs: this.nowMs,
        retired: 0,
        openedByRemote: false,
        answered: false,
        heard: [false, false],
      },
    };
    if (protocol === GRE) this.#judgeClash(flow);
    else this.#judgePort(flow, mapping, taken, gone);
    model.flows.set(key, flow);
    if (protocol === TCP) this.#track(flow, original, SYN);
    if (this.#random() < 0.9) this.#answer(flow);
  }

  /** Somebody outside sends to a port of ours: one that a mapping has, or any. */
  openToMapping(): void {
    const remote = 0xc000_0200 + this.#pick([1, 2, 3, 4]);
    const remotePort = this.#pick([80, 81, 82]);
    const protocol = this.#pick([TCP, UDP]);
    const uplink = this.#pick([0, 1]);
    const port = this.#pick([1000, 1001, 1002, 1003, 1004]);
    const isFlow = (flow: ModelFlow) => this.#hasReplyTuple(flow, protocol, uplink, port, remote, remotePort);
    // A packet of a flow never comes this far.
    if (this.model.list(isFlow).length > 0) return;
    const users = this.model.list((flow) => this.#ownsPort(flow, uplink, protocol) && flow.port === port);
    const isAsked =
      this.#filtering === filtering.endpointIndependent ||
      (this.#filtering === filtering.address && users.some((flow) => flow.remote === remote));
    const target = users.length > 0 && isAsked ? users[0]! : null;
    const ports = (remotePort << 16) | port;
    this.#openInbound(target, { remote, remotePort, protocol, uplink, port }, () =>
      this.conntrack.openToMapping(remote | 0, addresses[uplink]!, ports, protocol, uplink, this.nowMs),
    );
  }

  /** Somebody outside sends to a port that is forwarded. */
  openForwarded(): void {
    const remote = 0xc000_0200 + this.#pick([1, 2, 3, 4]);
    const remotePort = this.#pick([80, 81, 82]);
    const protocol = this.#pick([TCP, UDP]);
    const uplink = this.#pick([0, 1]);
    const target = { inside: 0xc0a8_0a00 + this.#pick([2, 3]), insidePort: this.#pick([1, 2]) };
    const port = target.insidePort === 1 ? 443 : 8000 + (target.inside & 15);
    const isFlow = (flow: ModelFlow) => this.#hasReplyTuple(flow, protocol, uplink, port, remote, remotePort);
    if (this.model.list(isFlow).length > 0) return;
    const ports = (remotePort << 16) | port;
    this.#openInbound(target, { remote, remotePort, protocol, uplink, port }, () =>
      this.conntrack.openForwarded(
        target.inside | 0,
        target.insidePort,
        remote | 0,
        addresses[uplink]!,
        ports,
        protocol,
        uplink,
        this.nowMs,
      ),
    );
  }

  /** `target`: the inside endpoint that it must lead to, null when it must be refused. */
  #openInbound(
    target: { inside: number; insidePort: number } | null,
    packet: { remote: number; remotePort: number; protocol: number; uplink: number; port: number },
    open: () => number,
  ): void {
    const { model } = this;
    const before = model.list(() => true);
    const result = open();
    const gone = this.#forgetGone();
    model.expectRecycled(gone);
    const { remote, remotePort, protocol, uplink, port } = packet;
    const key = target === null ? "" : [target.inside, target.insidePort, remote, remotePort, protocol].join(" ");
    if (result < 0) {
      const name = dropNames[-result]!;
      this.refused[name] = (this.refused[name] ?? 0) + 1;
      if (target === null || before.some((flow) => flow.key === key)) expect(name).toBe("unsolicited");
      else {
        expect(["host-flow-limit", "flow-table-full"]).toContain(name);
        if (name === "host-flow-limit") this.#expectShareIsFull(before, target.inside);
        else this.#expectFull(before);
      }
      return;
    }
    if (target === null) throw new Error("somebody was let in who was not asked");
    expect(this.#portOf(result), "the port it was sent to").toBe(port);
    const flow: ModelFlow = {
      ...{ key, flow: result, inside: target.inside, insidePort: target.insidePort, remote, remotePort },
      ...{ protocol, uplink, address: addresses[uplink]!, port },
      ...{ state: 0, lastSeenMs: this.nowMs, retired: 0, openedByRemote: true, answered: false, heard: [false, false] },
    };
    const row = result * flowWords;
    expect(this.conntrack.flows.words[row + flowWord.inside]).toBe(target.inside | 0);
    expect(this.conntrack.flows.words[row + flowWord.ports]! >>> 16).toBe(target.insidePort);
    const live = model.list((other) => other.inside === flow.inside && other.retired === 0).length;
    this.#expectShareIsKept(live, [], flow.inside);
    model.flows.set(key, flow);
    this.opened++;
    if (protocol === TCP) this.#track(flow, reply, SYN);
    if (this.#random() < 0.9) this.#answer(flow);
  }

  segment(): void {
    const flow = this.#pick(this.model.list(({ protocol }) => protocol === TCP));
    if (flow === undefined) return;
    const direction = this.#pick([original, reply] as const);
    this.#track(flow, direction, this.#pick([SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, FIN | ACK, RST]));
  }

  touch(): void {
    const flow = this.#pick(this.model.list(() => true));
    if (flow === undefined) return;
    const direction = this.#pick([original, reply] as const);
    if (flow.protocol === TCP) this.#track(flow, direction, ACK);
    else this.#hear(flow, direction);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.conntrack.expire(this.nowMs, 1000);
    for (const flow of this.#forgetGone()) {
      expect(this.nowMs - flow.lastSeenMs, `too early: ${flow.key}`).toBeGreaterThanOrEqual(this.model.timeoutMs(flow));
    }
    for (const flow of this.model.flows.values()) {
      if (this.nowMs - flow.lastSeenMs >= this.model.timeoutMs(flow) + graceMs)
        throw new Error(`too late: ${flow.key}`);
    }
  }

  /** Ends everything, and shows that all rows and ports are there again. */
  finish(): void {
    this.pass(timeouts.tcpEstablishedMs + graceMs);
    expect([this.conntrack.flows.open, this.conntrack.mappings.open]).toEqual([0, 0]);
    const ports = limits.lastPort - limits.firstPort + 1;
    for (const [uplink, address] of addresses.entries()) {
      const used = new Set<number>();
      for (let i = 0; i < ports; i++) {
        const inside = 0xc0a8_0b00 + i;
        const flow = this.conntrack.open(inside | 0, 1, (7 << 16) | 9, UDP, uplink, address, this.nowMs);
        used.add(this.#portOf(flow));
      }
      expect(used.size).toBe(ports);
    }
  }

  #track(flow: ModelFlow, direction: 0 | 1, flags: number): void {
    this.#segment.setUint8(13, flags);
    const result = this.conntrack.trackTcp(flow.flow, direction, this.#segment, 0, 20, 20, this.nowMs);
    const goesOn = this.model.segment(flow, direction, flags);
    expect(result === 0, "whether the segment goes on").toBe(goesOn);
    if (goesOn) this.#seen(flow);
    expect(this.conntrack.state(flow.flow)).toBe(flow.state);
  }

  /** The other end answers, and a TCP handshake is completed. */
  #answer(flow: ModelFlow): void {
    const [opener, responder] = flow.openedByRemote ? ([reply, original] as const) : ([original, reply] as const);
    if (flow.protocol !== TCP) this.#hear(flow, responder);
    else {
      this.#track(flow, responder, SYN | ACK);
      this.#track(flow, opener, ACK);
    }
  }

  #hear(flow: ModelFlow, direction: 0 | 1): void {
    this.conntrack.heard(flow.flow, direction);
    if (direction !== (flow.openedByRemote ? reply : original)) flow.answered = true;
    this.#seen(flow);
  }

  /** What the forwarder does with every packet. */
  #seen(flow: ModelFlow): void {
    this.conntrack.flows.words[flow.flow * flowWords + flowWord.lastSeen] = this.nowMs | 0;
    this.model.touch(flow, this.nowMs);
  }

  /** Takes the flows that are no longer there out of the model and returns them; the others are what they were. */
  #forgetGone(): ModelFlow[] {
    const { flows } = this.conntrack;
    const gone: ModelFlow[] = [];
    for (const flow of this.model.flows.values()) {
      const ports = (flow.insidePort << 16) | flow.remotePort;
      const hash = flows.hash(flow.inside | 0, flow.remote | 0, ports, flow.protocol);
      const id = flows.find(hash, flow.inside | 0, flow.remote | 0, ports, flow.protocol);
      if (id === 0) {
        gone.push(flow);
        continue;
      }
      const row = flow.flow * flowWords;
      if (id >>> 1 !== flow.flow) throw new Error(`a flow changed its row: ${flow.key}`);
      if (this.#portOf(flow.flow) !== flow.port) throw new Error(`a flow changed its port: ${flow.key}`);
      if ((flows.words[row + flowWord.outside]! & 0xff) !== flow.uplink)
        throw new Error(`a flow changed its uplink: ${flow.key}`);
      if (flows.words[row + flowWord.mapped] !== flow.address)
        throw new Error(`a flow changed its address: ${flow.key}`);
    }
    for (const flow of gone) this.model.flows.delete(flow.key);
    return gone;
  }

  /** The findable mapping of an endpoint, when it is on this uplink and address. */
  #mappingOf(inside: number, port: number, protocol: number, uplink: number, address: number): number | undefined {
    const { mappings } = this.conntrack;
    const mapping = mappings.find(inside | 0, port, protocol);
    if (mapping === 0 || mappings.uplink(mapping) !== uplink || mappings.address(mapping) !== address) return undefined;
    return mappings.port(mapping);
  }

  #ownsPort(flow: ModelFlow, uplink: number, protocol: number): boolean {
    const isOwner = this.conntrack.flows.words[flow.flow * flowWords + flowWord.mapping] !== 0;
    return isOwner && flow.uplink === uplink && flow.protocol === protocol;
  }

  #judgePort(flow: ModelFlow, mapping: number | undefined, taken: Set<number>, gone: readonly ModelFlow[]): void {
    expect(flow.port).toBeGreaterThanOrEqual(limits.firstPort);
    expect(flow.port).toBeLessThanOrEqual(limits.lastPort);
    const others = this.model.list((other) => other.uplink === flow.uplink && other.protocol === flow.protocol);
    const isFree = (port: number) =>
      !others.some(
        (other) => other.port === port && other.remote === flow.remote && other.remotePort === flow.remotePort,
      );
    expect(isFree(flow.port), "no two flows have one reply tuple").toBe(true);
    // A mapping whose last flow was recycled to make room is gone with it, though others of its endpoint may share its port.
    const isUser = (other: ModelFlow) => this.#ownsPort(other, flow.uplink, flow.protocol) && other.port === mapping;
    const isMapped = mapping !== undefined && others.some((other) => this.#sameEndpoint(other, flow) && isUser(other));
    // One that had its reply tuple until it was recycled for this flow's port may have been in the way.
    const wasInTheWay = gone.some(
      (other) => other.port === mapping && other.remote === flow.remote && other.remotePort === flow.remotePort,
    );
    if (isMapped && isFree(mapping) && !wasInTheWay) expect(flow.port, "endpoint-independent").toBe(mapping);
    else if (flow.protocol !== TCP) expect([...taken].includes(flow.port) && gone.length === 0, "unshared").toBe(false);
    else {
      const all = Array.from({ length: limits.lastPort - limits.firstPort + 1 }, (_, i) => limits.firstPort + i);
      const unused = all.filter((port) => !taken.has(port));
      if (unused.length > 0 && unused.every(isFree))
        expect(unused.includes(flow.port) || gone.length > 0, "an unused port before a shared one").toBe(true);
    }
  }

  /** Without ports, the remote and the protocol must tell it from all others of its address. */
  #judgeClash(flow: ModelFlow): void {
    expect(flow.port).toBe(0);
    const others = this.model.list((other) => other.protocol === GRE && other.uplink === flow.uplink);
    expect(
      others.some(({ remote }) => remote === flow.remote),
      "no two flows have one reply tuple",
    ).toBe(false);
  }

  #hasReplyTuple(flow: ModelFlow, ...tuple: number[]): boolean {
    const own = [flow.protocol, flow.uplink, flow.port, flow.remote, flow.remotePort];
    return own.every((value, i) => value === tuple[i]);
  }

  #sameEndpoint(a: ModelFlow, b: ModelFlow): boolean {
    return a.inside === b.inside && a.insidePort === b.insidePort;
  }

  #expectRefusal(
    name: string,
    was: {
      live: number;
      before: ModelFlow[];
      gone: ModelFlow[];
      taken: Set<number>;
      inside: number;
      protocol: number;
      remote: number;
      remotePort: number;
      uplink: number;
    },
  ): void {
    this.refused[name] = (this.refused[name] ?? 0) + 1;
    const ports = limits.lastPort - limits.firstPort + 1;
    if (name === "host-flow-limit") this.#expectShareIsFull(was.before, was.inside);
    else if (name === "flow-table-full") this.#expectFull(was.before);
    else if (name === "protocol-clash") {
      expect(was.protocol).toBe(GRE);
      const rivals = was.before.filter(
        (flow) => flow.protocol === GRE && flow.uplink === was.uplink && flow.remote === was.remote,
      );
      expect(rivals.some(({ inside }) => inside !== was.inside)).toBe(true);
    } else {
      expect(name).toBe("no-port");
      if (was.protocol !== TCP) expect(was.taken.size).toBe(ports);
      else {
        const towards = this.model.list(
          (flow) =>
            flow.protocol === TCP &&
            flow.uplink === was.uplink &&
            flow.remote === was.remote &&
            flow.remotePort === was.remotePort &&
            // Of a forward.
            flow.port <= limits.lastPort &&
            flow.port >= limits.firstPort,
        );
        expect(new Set(towards.map((flow) => flow.port)).size, "every port talks to this remote").toBe(ports);
      }
    }
  }

  #expectFull(before: readonly ModelFlow[]): void {
    expect(before).toHaveLength(limits.flows);
    expect(before.filter((flow) => flow.retired > 0 || !flow.answered)).toHaveLength(0);
  }

  /** `live` flows of the host's before some were gone, and one came. */
  #expectShareIsKept(live: number, gone: readonly ModelFlow[], inside: number): void {
    const ended = gone.filter((flow) => flow.inside === inside && flow.retired === 0).length;
    expect(live - ended, "the host's share was kept").toBeLessThan(limits.flowsPerHost);
  }

  #expectShareIsFull(before: readonly ModelFlow[], inside: number): void {
    const live = before.filter((flow) => flow.inside === inside && flow.retired === 0);
    expect(live.length).toBeGreaterThanOrEqual(limits.flowsPerHost);
    expect(live.filter((flow) => !flow.answered)).toHaveLength(0);
  }

  #portOf(flow: number): number {
    return this.conntrack.flows.words[flow * flowWords + flowWord.outside]! >>> 16;
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)]!;
  }
}

const modes = Object.entries(filtering).flatMap(([name, mode]) =>
  [true, false].map((independent) => ({ name, mode, independent })),
);

test("a flow costs at most 128 bytes, all tables and lists together", () => {
  const flows = 1_048_576;
  const options = {
    ...limits,
    flows,
    firstPort: 16_384,
    lastPort: 32_767,
    endpointIndependent: true,
    filtering: filtering.addressAndPort,
    timeouts,
  };
  const random = randomFrom(1);
  const { bytes } = new Conntrack(
    { ...options, worker: 0, workers: 1, key0: 1, key1: 2, random, nowMs: 0 },
    new SharedState().counters(0),
  );
  expect(bytes / flows).toBeLessThanOrEqual(128);
  expect(bytes / flows).toBeGreaterThan(64);
});

test.each([1, 2].flatMap((seed) => modes.map((mode) => ({ seed, ...mode }))))(
  "conntrack does what the model says (seed $seed, endpoint-independent $independent, filtering $name)",
  ({ seed, independent, mode }) => {
    const subject = new Subject(seed, independent, mode);
    for (let i = 0; i < 6000; i++) {
      try {
        subject.step();
      } catch (error) {
        throw new Error(`seed ${seed}, operation ${i}`, { cause: error });
      }
    }
    subject.finish();
    // The test is worth something only where things do run out, and where some are let in and some are not.
    const names = ["flow-table-full", "host-flow-limit", "no-port", "protocol-clash", "unsolicited"];
    expect(Object.keys(subject.refused).sort()).toEqual(names);
    expect(subject.opened).toBeGreaterThan(50);
  },
);
