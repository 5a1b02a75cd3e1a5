/**
 * A question that nobody answers goes out by another uplink when it is repeated. Where it is not the point, the table of uplinks
 * points to the black hole first and then to the other.
 */
import { describe, expect, test } from "vitest";
import { FlowMemory, flowMemoryBytes } from "../../src/dataplane/flow-memory.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, echo, fragmentsOf, pattern, RST, SYN, tcp, udp } from "../support/packets.ts";
import { address6Words, tcp6, udp6 } from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { portRule } from "../support/port-rule.ts";
import {
  client,
  client6,
  type Left,
  type Left6,
  openWorkers,
  otherServer,
  Rig,
  type RigOptions,
  server,
  server6,
  uplinkAddresses,
  uplinkAddresses6,
} from "./rig.ts";

const rescuing = { links: [14, 14], policy: { ...plainPolicy, rescue: true } };
const syn = { source: `${client}:5000`, destination: `${server}:80`, flags: SYN, sequence: 900 };
const question = { source: `${client}:5000`, destination: `${server}:53`, data: pattern(30) };

function open(options: RigOptions = {}): Rig {
  return new Rig({ ...rescuing, ...options });
}

/** Sends a packet; what left by each of the two uplinks, in numbers. */
function sent(rig: Rig, packet: Uint8Array): [number, number] {
  rig.injectInside(packet);
  rig.run();
  return [rig.io.takeSent(1).length, rig.io.takeSent(2).length];
}

/** Opens a flow on uplink 0, points new ones to uplink 1 and lets time pass. */
function unanswered(packet: Uint8Array, waitMs: number, options: RigOptions = {}): { rig: Rig; port: number } {
  const rig = open(options);
  const port = rig.outOne(packet).sourcePort;
  rig.steerTo(1);
  rig.pass(waitMs);
  return { rig, port };
}

interface Family {
  name: string;
  options: RigOptions;
  prefix6?: string;
  syn: Uint8Array;
  question: Uint8Array;
  is6: boolean;
  /** What the source is on uplink 1. */
  elsewhere: string;
  answer: (to: string, port: number, flags: number) => Uint8Array;
  reply: (to: string, port: number) => Uint8Array;
}

const syn6 = { source: `[${client6}]:5000`, destination: `[${server6}]:80` };
const answer6 = (to: string, port: number, flags: number) =>
  tcp6({ source: `[${server6}]:80`, destination: `[${to}]:${port}`, flags, sequence: 70, acknowledgment: 901 });
const six = {
  is6: true,
  syn: tcp6({ ...syn6, flags: SYN, sequence: 900 }),
  question: udp6({ ...syn6, destination: `[${server6}]:53`, data: pattern(30) }),
  answer: answer6,
  reply: (to: string, port: number) => udp6({ source: `[${server6}]:53`, destination: `[${to}]:${port}` }),
};
const families: Family[] = [
  {
    name: "IPv4",
    options: {},
    syn: tcp(syn),
    question: udp(question),
    is6: false,
    elsewhere: uplinkAddresses[1]!,
    answer: (to, port, flags) =>
      tcp({ source: `${server}:80`, destination: `${to}:${port}`, flags, sequence: 70, acknowledgment: 901 }),
    reply: (to, port) => udp({ source: `${server}:53`, destination: `${to}:${port}` }),
  },
  { name: "IPv6", options: { hasIpv6: true }, elsewhere: uplinkAddresses6[1]!, ...six },
  {
    name: "IPv6 whose prefix is translated",
    options: { hasIpv6: true, insidePrefix: { words: address6Words("fd00:10::"), length: 48 } },
    prefix6: "2001:db8:b::/48",
    elsewhere: "2001:db8:b:cf4c::2",
    ...six,
  },
];

describe.each(families)("over $name", (family) => {
  const outOne = (rig: Rig, packet: Uint8Array, uplink: number): Left | Left6 =>
    family.is6 ? rig.outOne6(packet, uplink) : rig.outOne(packet, uplink);
  const arrivals = (rig: Rig, packet: Uint8Array, uplink: number) =>
    (family.is6 ? rig.in6(packet, uplink) : rig.in(packet, uplink)).length;
  const openFamily = () => {
    const rig = open(family.options);
    if (family.prefix6 !== undefined) {
      rig.setUplink(0, { prefix6: "2001:db8:a::/48" });
      rig.setUplink(1, { prefix6: family.prefix6 });
    }
    return rig;
  };

  test("a SYN that is repeated opens its connection by another uplink, and a late answer by the old one is dropped", () => {
    const rig = openFamily();
    const first = outOne(rig, family.syn, 0);
    rig.steerTo(1);
    rig.pass(1000);
    const second = outOne(rig, family.syn, 1);
    expect(second).toMatchObject({ source: family.elsewhere, checksumOk: true });
    expect(rig.openFlows).toBe(1);
    expect(arrivals(rig, family.answer(first.source, first.sourcePort, SYN | ACK), 0)).toBe(0);
    expect(rig.drops).toEqual({ unsolicited: 1 });
    expect(arrivals(rig, family.answer(second.source, second.sourcePort, SYN | ACK), 1)).toBe(1);
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, answered: 0, repeated: 1, rescued: 1, flows: 0 });
    expect(rig.uplinkCounters(0).answeredElsewhere).toBe(1);
    expect(rig.uplinkCounters(1)).toMatchObject({ asked: 1, answered: 1, repeated: 0, rescued: 0, flows: 1 });
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });

  test("a datagram that is repeated is asked by another uplink, once", () => {
    const rig = openFamily();
    const first = outOne(rig, family.question, 0);
    rig.steerTo(1);
    rig.pass(1000);
    const second = outOne(rig, family.question, 1);
    expect(second).toMatchObject({ source: family.elsewhere, checksumOk: true });
    rig.steerTo(0);
    rig.pass(1000);
    expect(outOne(rig, family.question, 1).source).toBe(family.elsewhere);
    expect(arrivals(rig, family.reply(first.source, first.sourcePort), 0)).toBe(0);
    expect(arrivals(rig, family.reply(second.source, second.sourcePort), 1)).toBe(1);
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, repeated: 1, rescued: 1, answeredElsewhere: 1 });
    expect(rig.uplinkCounters(1)).toMatchObject({ asked: 1, answered: 1, repeated: 0, rescued: 0 });
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });
});

describe("a flow whose uplink the table goes on to name", () => {
  test.each([
    ["a SYN", tcp(syn)],
    ["a datagram", udp(question)],
  ])("moves all the same when %s is repeated", (_, packet) => {
    const rig = open();
    rig.outOne(packet, 0);
    rig.pass(1000);
    expect(sent(rig, packet)).toEqual([0, 1]);
  });

  test("stays when a rule has it go nowhere else", () => {
    const rig = open({ policy: { ...rescuing.policy, rules: portRule(80, 5) } });
    rig.shared.lookups[5]!.fill(0);
    rig.shared.masks[5] = 1;
    const { sourcePort } = rig.outOne(tcp(syn), 0);
    for (let repeats = 0; repeats < 3; repeats++) {
      rig.pass(1000);
      expect(rig.outOne(tcp(syn), 0).sourcePort).toBe(sourcePort);
    }
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, repeated: 1, rescued: 0 });
    expect(rig.left(-1)).toEqual([]);
  });
});

test("each repetition of a SYN may move on", () => {
  const { rig } = unanswered(tcp(syn), 1000);
  expect(sent(rig, tcp(syn))).toEqual([0, 1]);
  rig.steerTo(0);
  rig.pass(2000);
  expect(sent(rig, tcp(syn))).toEqual([1, 0]);
  rig.steerTo(1);
  rig.pass(4000);
  expect(sent(rig, tcp(syn))).toEqual([0, 1]);
  expect(rig.openFlows).toBe(1);
  expect([rig.uplinkCounters(0).rescued, rig.uplinkCounters(1).rescued]).toEqual([2, 1]);
});

describe("a flow stays where it is", () => {
  test("when rescue is off, though the repetition is counted, once a flow", () => {
    const { rig } = unanswered(tcp(syn), 1000, { policy: plainPolicy });
    for (let repeats = 0; repeats < 3; repeats++) {
      expect(sent(rig, tcp(syn))).toEqual([1, 0]);
      rig.pass(3000);
    }
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, repeated: 1, rescued: 0 });
  });

  test("until the policy says otherwise", () => {
    const { rig } = unanswered(tcp(syn), 1000, { policy: plainPolicy });
    rig.forwarder.followPolicy(rescuing.policy);
    expect(sent(rig, tcp(syn))).toEqual([0, 1]);
  });

  test.each([
    ["a SYN", tcp(syn), 299],
    ["a datagram", udp(question), 249],
  ])("when %s comes again so soon that it may be a copy of the first", (_, packet, waitMs) => {
    const { rig } = unanswered(packet, waitMs);
    expect(sent(rig, packet)).toEqual([1, 0]);
    expect(rig.uplinkCounters(0).repeated).toBe(0);
    rig.pass(1000);
    const isTcp = rig.forwarder.conntrack.state(1) !== 0;
    expect(sent(rig, packet), "a third datagram repeats nothing that is known").toEqual(isTcp ? [0, 1] : [1, 0]);
  });

  test("when the second datagram is another than the first", () => {
    const { rig } = unanswered(udp(question), 1000);
    expect(sent(rig, udp({ ...question, data: pattern(31) }))).toEqual([1, 0]);
  });

  test("when somebody has answered", () => {
    const { rig, port } = unanswered(udp(question), 10);
    rig.inOne(udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${port}` }), 0);
    rig.pass(1000);
    expect(sent(rig, udp(question))).toEqual([1, 0]);
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, answered: 1, repeated: 0 });
  });

  test("when its handshake has begun", () => {
    const { rig, port } = unanswered(tcp(syn), 10);
    const synAck = { flags: SYN | ACK, sequence: 70, acknowledgment: 901 };
    rig.inOne(tcp({ source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}`, ...synAck }), 0);
    rig.pass(1000);
    expect(sent(rig, tcp(syn))).toEqual([1, 0]);
  });

  test("when its endpoint has another flow, whose address it keeps", () => {
    const { rig, port } = unanswered(udp(question), 10);
    rig.outOne(udp({ ...question, destination: `${otherServer}:53` }), 0);
    rig.pass(1000);
    expect(rig.outOne(udp(question), 0).sourcePort).toBe(port);
    expect(rig.uplinkCounters(0)).toMatchObject({ repeated: 1, rescued: 0 });
  });

  test("when it is a ping, or comes in fragments", () => {
    const { rig } = unanswered(echo({ source: client, destination: server }), 1000);
    expect(sent(rig, echo({ source: client, destination: server }))).toEqual([1, 0]);
    const pieces = fragmentsOf(udp({ ...question, data: pattern(2000) }), 1400);
    const large = open();
    expect(large.out(pieces)).toHaveLength(2);
    large.steerTo(1);
    large.pass(1000);
    expect(large.out(pieces)).toHaveLength(2);
  });

  test("when the remote has opened it", () => {
    const forward = { uplinks: 3, protocol: 17, firstPort: 53, lastPort: 53, to: 0xc0a8_0a02 | 0, toPort: 5000 };
    const rig = open({ forwards: [forward] });
    rig.inOne(udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:53` }), 0);
    rig.steerTo(1);
    for (let repeats = 0; repeats < 3; repeats++) {
      rig.pass(1000);
      expect(sent(rig, udp(question))).toEqual([1, 0]);
    }
    expect(rig.uplinkCounters(0)).toMatchObject({ asked: 0, answered: 0, repeated: 0 });
  });

  test.each([
    ["no other uplink may have it", (rig: Rig) => rig.steerTo(0)],
    ["there is no other", (rig: Rig) => rig.steerTo(noUplink)],
    ["the other can't send", (rig: Rig) => rig.setUplink(1, { ready: 0 })],
  ])("when %s", (_, prevent) => {
    for (const packet of [tcp(syn), udp(question)]) {
      const { rig, port } = unanswered(packet, 1000);
      for (const masks of [rig.shared.masks, rig.shared.masks6]) masks.fill(1);
      prevent(rig);
      expect(rig.outOne(packet, 0).sourcePort).toBe(port);
      expect(rig.openFlows).toBe(1);
      expect(rig.left(-1), "nobody is told anything").toEqual([]);
      expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, repeated: 1, rescued: 0, flows: 1 });
      checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
    }
  });
});

test.each([
  ["its host's share is", { flowsPerHost: 1 }],
  ["the table is", { flows: 1 }],
])("a flow moves though %s full of it alone", (_, limits) => {
  const { rig } = unanswered(tcp(syn), 1000, limits);
  expect(sent(rig, tcp(syn))).toEqual([0, 1]);
  expect(rig.openFlows).toBe(1);
  checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
});

test("a datagram on an uplink that can't send any more moves as well", () => {
  const { rig } = unanswered(udp(question), 1000);
  rig.setUplink(0, { ready: 0 });
  expect(sent(rig, udp(question))).toEqual([0, 1]);
});

test("the flow that has moved goes on by its new uplink alone", () => {
  const { rig } = unanswered(tcp(syn), 1000);
  const { sourcePort } = rig.outOne(tcp(syn), 1);
  const outside = `${uplinkAddresses[1]}:${sourcePort}`;
  const remote = { source: `${server}:80`, destination: outside };
  rig.inOne(tcp({ ...remote, flags: SYN | ACK, sequence: 70, acknowledgment: 901 }), 1);
  rig.steerTo(0);
  rig.pass(5000);
  const next = { ...syn, sequence: 901, acknowledgment: 71 };
  expect(rig.outOne(tcp({ ...next, flags: ACK }), 1).sourcePort).toBe(sourcePort);
  expect(rig.outOne(tcp({ ...next, flags: ACK, data: pattern(100) }), 1).checksumOk).toBe(true);
  expect(rig.in(tcp({ ...remote, flags: ACK, sequence: 71, acknowledgment: 1001, data: pattern(9) }), 1)).toHaveLength(
    1,
  );
});

test("with two workers, a flow moves within its own", () => {
  const rigs = openWorkers(2, rescuing);
  for (const [worker, rig] of rigs.entries()) {
    rigs[0]!.steerTo(0);
    expect(sent(rig, tcp(syn))).toEqual([1, 0]);
    rigs[0]!.steerTo(1);
    rig.pass(1000);
    rig.injectInside(tcp(syn));
    rig.run();
    const [left] = rig.left(1);
    expect(left!.sourcePort % 2, "a port of its own slice").toBe(worker);
    expect(rig.uplinkCounters(0)).toMatchObject({ rescued: 1 });
  }
});

test("a connection from a port whose last one is over is asked for, timed and moved like any other", () => {
  const memory = new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(1)), 1);
  const { rig, port } = unanswered(tcp(syn), 10, { memory });
  const remote = { source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}` };
  const finish = (inside: number) => {
    rig.in(tcp({ ...remote, flags: SYN | ACK, sequence: 70, acknowledgment: inside + 1 }), 0);
    rig.in(tcp({ ...remote, flags: RST, sequence: 71 }), 0);
    rig.out(tcp({ ...syn, flags: RST, sequence: inside + 1 }));
  };
  finish(900);
  rig.pass(5000);
  rig.outOne(tcp({ ...syn, sequence: 90_000 }), 0);
  rig.pass(20);
  finish(90_000);
  rig.pass(5000);
  rig.outOne(tcp({ ...syn, sequence: 500_000 }), 0);
  rig.pass(1000);
  expect(sent(rig, tcp({ ...syn, sequence: 500_000 }))).toEqual([0, 1]);
  expect(rig.uplinkCounters(0)).toMatchObject({ asked: 3, answered: 2, repeated: 1, rescued: 1 });
  const times: number[] = [];
  memory.samples[0]!.take((_, __, tenths) => times.push(tenths));
  expect(times).toEqual([100, 200]);
});

test("a connection from a port whose last one is over begins elsewhere when its uplink gets no new flows", () => {
  const { rig, port } = unanswered(tcp(syn), 10);
  const remote = { source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}` };
  rig.in(tcp({ ...remote, flags: RST | ACK, acknowledgment: 901 }), 0);
  expect(sent(rig, tcp({ ...syn, sequence: 90_000 })), "as long as it may").toEqual([1, 0]);
  rig.in(tcp({ ...remote, flags: RST | ACK, acknowledgment: 90_001 }), 0);
  rig.shared.masks[0] = 2;
  expect(sent(rig, tcp({ ...syn, sequence: 500_000 }))).toEqual([0, 1]);
  expect(rig.openFlows).toBe(1);
  checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
});

test("a refusal is an answer", () => {
  const { rig, port } = unanswered(tcp(syn), 10);
  const refusal = { flags: RST | ACK, acknowledgment: 901 };
  rig.inOne(tcp({ source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}`, ...refusal }), 0);
  expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, answered: 1 });
});

test("a flow counts as answered once, and what turns back never", () => {
  const rig = open();
  const { sourcePort } = rig.outOne(udp(question));
  const answer = udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${sourcePort}` });
  expect(rig.in([answer, answer, answer])).toHaveLength(3);
  rig.out(udp({ ...question, destination: `${uplinkAddresses[0]}:99` }));
  expect(rig.uplinkCounters(0)).toMatchObject({ asked: 1, answered: 1 });
});

describe("the time of a handshake", () => {
  const handshake = (repeatMs: number | null) => {
    const memory = new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(1)), 1);
    const { rig, port } = unanswered(tcp(syn), repeatMs ?? 0, { policy: plainPolicy, startMs: 5000.75, memory });
    if (repeatMs !== null) sent(rig, tcp(syn));
    rig.pass(40.5);
    const synAck = { flags: SYN | ACK, sequence: 70, acknowledgment: 901 };
    const packet = tcp({ source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}`, ...synAck });
    expect(rig.in([packet, packet], 0)).toHaveLength(2);
    const samples: number[][] = [];
    memory.samples[0]!.take((...record) => samples.push(record));
    return samples;
  };

  test("is noted once, in tenths of a millisecond, under the network of the remote", () => {
    const samples = handshake(null);
    expect(samples).toEqual([[expect.any(Number), 0, 405, 0]]);
  });

  test("is not known when the SYN was sent twice (Karn)", () => {
    expect(handshake(500)).toEqual([]);
  });
});
