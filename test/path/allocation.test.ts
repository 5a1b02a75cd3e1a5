/** A packet costs no heap: neither on a known flow, nor when it opens or ends one, nor when it is dropped. */
import { GCProfiler, getHeapStatistics } from "node:v8";
import { encode } from "dns-packet";
import { describe, expect, test } from "vitest";
import { compileRules } from "../../src/control/rules.ts";
import { flowPolicy } from "../../src/daemon/policy-settings.ts";
import { MemoryIO, type MemoryIOOptions } from "../../src/io/memory-io.ts";
import { queueWords, slotBytes } from "../../src/tables/packet-memory.ts";
import { counter } from "../../src/tables/shared-state.ts";
import { ACK, echo, partialVnet, pattern, RST, SYN, tcp, udp } from "../support/packets.ts";
import {
  address6Words,
  echo6,
  HOP_BY_HOP,
  icmpError6,
  padding,
  partialVnet6,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { configWith } from "../support/rules.ts";
import { client, client6, Rig, type RigOptions, server, server6, uplinkAddresses, uplinkAddresses6 } from "./rig.ts";

/** The headers of a packet: all that forwarding changes. */
const headerWords = 32;
/** For a packet. The smallest object has 16; what a turn costs, and the profiler itself, stay below one. */
const mostBytes = 1;

/** Devices that receive the packets of one turn again and again, restored in place. */
class ReplayIO extends MemoryIO {
  readonly #words: Int32Array;
  #counts: number[] = [];
  #slots = new Int32Array(0);
  #headers = new Int32Array(0);
  #isReplaying = false;

  constructor(options: MemoryIOOptions) {
    super(options);
    this.#words = new Int32Array(this.memory);
  }

  /** From now on, every turn receives what has been injected since the last. */
  record(): void {
    super.turn(0);
    this.#counts = this.devices.map((device) => device.counts[queueWords.receiveCount]!);
    const slots = this.devices.flatMap((device, i) =>
      Array.from({ length: this.#counts[i]! }, (_, slot) => (device.firstSlotAt + slot * slotBytes) / 4),
    );
    this.#slots = Int32Array.from(slots);
    this.#headers = Int32Array.from(slots.flatMap((at) => [...this.#words.subarray(at, at + headerWords)]));
    this.#isReplaying = true;
  }

  override turn(timeoutMs: number): number {
    if (!this.#isReplaying) return super.turn(timeoutMs);
    const slots = this.#slots;
    const headers = this.#headers;
    const words = this.#words;
    for (let i = 0; i < slots.length; i++) {
      const at = slots[i]!;
      for (let word = 0; word < headerWords; word++) words[at + word] = headers[i * headerWords + word]!;
    }
    for (let i = 0; i < this.devices.length; i++) {
      const { counts } = this.devices[i]!;
      counts[queueWords.sendCount] = 0;
      counts[queueWords.receiveCount] = this.#counts[i]!;
    }
    return slots.length;
  }
}

function open(flows = 256, more: RigOptions = {}): { rig: Rig; io: ReplayIO } {
  const io = new ReplayIO({ linkHeaderBytes: more.links ?? [14], receiveSlots: 64, scratchSlots: 64 });
  return { rig: new Rig({ io, flows, flowsPerHost: flows, ...more }), io };
}

/** Heap bytes that this many turns allocate, collected or not. */
function allocatedBytes(rig: Rig, turns: number, turnMs = 1): number {
  const profiler = new GCProfiler();
  profiler.start();
  let last = getHeapStatistics().used_heap_size;
  for (let turn = 0; turn < turns; turn++) {
    rig.nowMs += turnMs;
    rig.forwarder.breath(0);
  }
  const end = getHeapStatistics().used_heap_size;
  let bytes = 0;
  for (const { beforeGC, afterGC } of profiler.stop()!.statistics) {
    bytes += beforeGC.heapStatistics.usedHeapSize - last;
    last = afterGC.heapStatistics.usedHeapSize;
  }
  return bytes + end - last;
}

/**
 * One round of three must be clean. The compiler works beside the test, and code that waits for it, on a busy machine for
 * longer than the warm-up, allocates numbers that its compiled form does not; what a packet allocates is there in every round.
 */
function expectNoAllocation(rig: Rig, packetsPerTurn: number, turnMs = 1): void {
  allocatedBytes(rig, 5000, turnMs); // warms up: the compiler allocates too
  const turns = Math.ceil(1_000_000 / packetsPerTurn);
  let perPacket = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3 && !(perPacket < mostBytes); round++) {
    perPacket = allocatedBytes(rig, turns, turnMs) / (turns * packetsPerTurn);
  }
  expect(perPacket).toBeLessThan(mostBytes);
}

test("the measure sees an object that a packet would allocate", () => {
  const { rig, io } = open();
  rig.injectInside(udp({ source: `${client}:5000`, destination: `${server}:53` }));
  io.record();
  const kept: object[] = [];
  const turn = io.turn.bind(io);
  io.turn = (timeoutMs) => {
    kept[0] = { timeoutMs };
    return turn(timeoutMs);
  };
  expect(allocatedBytes(rig, 100_000) / 100_000).toBeGreaterThan(15);
});

test("a million packets of known flows, both ways, with and without offloads", () => {
  const { rig, io } = open();
  const connections = Array.from({ length: 8 }, (_, i) => {
    const source = `${client}:${5000 + i}`;
    const syn = rig.outOne(tcp({ source, destination: `${server}:80`, flags: SYN }));
    const asked = rig.outOne(udp({ source, destination: `${server}:53` }));
    const pinged = rig.outOne(echo({ source: client, destination: server, identifier: i }));
    return { source, tcpPort: syn.sourcePort, udpPort: asked.sourcePort, identifier: pinged.identifier, i };
  });
  const mapped = uplinkAddresses[0]!;
  for (const { source, tcpPort, udpPort, identifier, i } of connections) {
    const segment = { data: pattern(20_000), flags: ACK, checksum: "partial" } as const;
    const out = tcp({ ...segment, source, destination: `${server}:80` });
    const back = tcp({ ...segment, source: `${server}:80`, destination: `${mapped}:${tcpPort}` });
    rig.injectInside(out, partialVnet(out, 0, 1400));
    rig.injectUplink(0, back, partialVnet(back, 14, 1400));
    rig.injectInside(udp({ source, destination: `${server}:53`, data: pattern(100) }));
    rig.injectUplink(0, udp({ source: `${server}:53`, destination: `${mapped}:${udpPort}`, data: pattern(100) }));
    rig.injectInside(echo({ source: client, destination: server, identifier: i }));
    rig.injectUplink(0, echo({ source: server, destination: mapped, type: 0, identifier }));
  }
  io.record();
  expectNoAllocation(rig, 48);
  expect(rig.drops).toEqual({});
  expect(rig.openFlows).toBe(24);
});

test("a million packets that open flows, end them, or are dropped", () => {
  // Every connection takes the row of one that is over.
  const { rig, io } = open(8);
  const destination = `${server}:80`;
  for (let i = 0; i < 16; i++) {
    const source = `${client}:${5000 + i}`;
    rig.injectInside(tcp({ source, destination, flags: SYN }));
    rig.injectInside(tcp({ source, destination, flags: RST }));
    rig.injectInside(udp({ source: `${client}:${i}`, destination, length: 3 }));
    rig.injectInside(tcp({ source: `${client}:1`, destination, flags: ACK }));
    rig.injectUplink(0, udp({ source: destination, destination: `${uplinkAddresses[0]}:${i + 1}` }));
  }
  io.record();
  expectNoAllocation(rig, 80);
  expect(Object.keys(rig.drops).sort()).toEqual(["tcp-no-flow", "udp-length", "unsolicited"]);
  expect(rig.counter(counter.flowsOpened)).toBeGreaterThan(200_000);
});

test("a million packets that nobody answers, whose flows move to and fro", () => {
  const { rig, io } = open(64, { links: [14, 14], policy: { ...plainPolicy, rescue: true } });
  for (let i = 0; i < 32; i++) {
    rig.injectInside(tcp({ source: `${client}:${5000 + i}`, destination: `${server}:80`, flags: SYN }));
    rig.injectInside(udp({ source: `${client}:${5000 + i}`, destination: `${server}:53` }));
  }
  io.record();
  expectNoAllocation(rig, 64, 400);
  expect(rig.uplinkCounters(0).rescued + rig.uplinkCounters(1).rescued).toBeGreaterThan(400_000);
});

test("a million packets of connections that were cut off", () => {
  const { rig, io } = open();
  for (let i = 0; i < 32; i++) {
    const ends = { source: `${client}:${5000 + i}`, destination: `${server}:80` };
    const { sourcePort } = rig.outOne(tcp({ ...ends, flags: SYN }));
    const answer = { source: ends.destination, destination: `${uplinkAddresses[0]}:${sourcePort}` };
    rig.inOne(tcp({ ...answer, flags: SYN | ACK, acknowledgment: 1 }));
  }
  rig.setUplink(0, { cutAll: 1 });
  rig.run();
  expect(rig.uplinkCounters(0).cut).toBe(32);
  for (let i = 0; i < 32; i++)
    rig.injectInside(tcp({ source: `${client}:${5000 + i}`, destination: `${server}:80`, flags: ACK }));
  io.record();
  expectNoAllocation(rig, 32);
  expect(Object.keys(rig.drops)).toEqual(["cut-off"]);
});

test("a million packets that open flows by rules, stickiness and nearness, and DNS answers that are read", () => {
  const config = configWith(`balance: { policy: lowest-latency, sticky: { by: source-destination } }
rules: [{ match: { domain: [example.org] }, use: [b] }, { match: { destination: [198.51.100.0/24, "::/1"], dscp: [1] }, use: [c] }]`);
  const policy = flowPolicy(config, compileRules(config, () => []).table);
  const { rig, io } = open(16, { hasIpv6: true, policy });
  const data = encode({
    type: "response",
    questions: [{ name: "www.example.org", type: "A" }],
    answers: [{ name: "www.example.org", type: "A", ttl: 60, data: server }],
  });
  const { sourcePort } = rig.outOne(udp({ source: `${client}:53`, destination: `${server}:53` }));
  for (let i = 0; i < 8; i++) {
    const ends = { source: `${client}:${5000 + i}`, destination: `${server}:80` };
    const ends6 = { source: `[${client6}]:${5000 + i}`, destination: `[${server6}]:80` };
    for (const flags of [SYN, RST]) {
      rig.injectInside(tcp({ ...ends, flags }));
      rig.injectInside(tcp6({ ...ends6, flags }));
    }
    rig.injectUplink(0, udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${sourcePort}`, data }));
  }
  io.record();
  expectNoAllocation(rig, 40);
  expect(rig.counter(counter.flowsOpened)).toBeGreaterThan(400_000);
});

describe.each([
  ["masqueraded", null],
  ["with prefixes translated", { words: address6Words("fd00:10::"), length: 48 }],
])("IPv6, %s:", (_, insidePrefix) => {
  const more = { hasIpv6: true, insidePrefix };
  const setPrefix = (rig: Rig) => rig.setUplink(0, { prefix6: "2001:db8:a::/48" });

  test("a million packets of known flows, both ways, with and without offloads and extension headers", () => {
    const { rig, io } = open(256, more);
    setPrefix(rig);
    const destination = `[${server6}]:80`;
    const connections = Array.from({ length: 8 }, (_, i) => {
      const source = `[${client6}]:${5000 + i}`;
      const syn = rig.outOne6(tcp6({ source, destination, flags: SYN }));
      const asked = rig.outOne6(udp6({ source, destination }));
      const pinged = rig.outOne6(echo6({ source: client6, destination: server6, identifier: i + 1 }));
      return { source, syn, asked, pinged, i };
    });
    for (const { source, syn, asked, pinged, i } of connections) {
      const segment = { data: pattern(20_000), flags: ACK, checksum: "partial" } as const;
      const out = tcp6({ ...segment, source, destination });
      const back = tcp6({ ...segment, source: destination, destination: `[${syn.source}]:${syn.sourcePort}` });
      rig.injectInside(out, partialVnet6(out, 0, 1400));
      rig.injectUplink(0, back, partialVnet6(back, 14, 1400));
      rig.injectInside(udp6({ source, destination, data: pattern(100), extensions: [padding(HOP_BY_HOP)] }));
      rig.injectUplink(0, udp6({ source: destination, destination: `[${asked.source}]:${asked.sourcePort}` }));
      rig.injectInside(echo6({ source: client6, destination: server6, identifier: i + 1 }));
      const { source: mapped, identifier } = pinged;
      rig.injectUplink(0, echo6({ source: server6, destination: mapped, type: 129, identifier }));
    }
    io.record();
    expectNoAllocation(rig, 48);
    expect(rig.drops).toEqual({});
    expect(rig.openFlows).toBe(24);
  });

  test("a million packets that open flows, end them, are errors, or are dropped", () => {
    const { rig, io } = open(8, more);
    setPrefix(rig);
    const destination = `[${server6}]:80`;
    for (let i = 0; i < 12; i++) {
      const source = `[fd00:10::${i + 1}]:5000`;
      rig.injectInside(tcp6({ source, destination, flags: SYN }));
      rig.injectInside(tcp6({ source, destination, flags: RST }));
      rig.injectInside(udp6({ source, destination, length: 3 }));
      rig.injectInside(tcp6({ source: `[${client6}]:1`, destination, flags: ACK }));
      rig.injectUplink(0, udp6({ source: destination, destination: `[${uplinkAddresses6[0]}]:${i + 1}` }));
      const quoted = udp6({ source: `[${uplinkAddresses6[0]}]:9`, destination, data: pattern(8) });
      rig.injectUplink(0, icmpError6({ source: server6, destination: uplinkAddresses6[0]!, type: 1, quoted }));
    }
    io.record();
    expectNoAllocation(rig, 72);
    expect(Object.keys(rig.drops).sort()).toEqual(["icmp-error-no-flow", "tcp-no-flow", "udp-length", "unsolicited"]);
    expect(rig.counter(counter.flowsOpened)).toBeGreaterThan(150_000);
  });
});
