/** Uplinks that come, go and change while flows are on them; the choice among them; what is counted. */

import { describe, expect, test } from "vitest";
import { balanceKey } from "../../src/dataplane/classify.ts";
import { counter, noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, echo, gsoTcp, icmpError, partialVnet, pattern, RST, SYN, tcp, udp } from "../support/packets.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { client, otherClient, otherServer, Rig, server, uplinkAddresses } from "./rig.ts";

const question = (port: number, remote = `${server}:53`) =>
  udp({ source: `${client}:${port}`, destination: remote, data: pattern(20) });

describe("the lookup table", () => {
  test("spreads new flows by the hash of their five-tuple", () => {
    const rig = new Rig({ links: [14, 14, 14], flows: 4096, lastPort: 32_767, flowsPerHost: 4096 });
    rig.steerTo((hash) => (hash % 4 === 3 ? 2 : hash % 4 === 2 ? 1 : 0));
    for (let port = 1; port <= 3000; port++) rig.out(question(port));
    const flows = [0, 1, 2].map((uplink) => rig.uplinkCounters(uplink).flows);
    expect(flows[0]! + flows[1]! + flows[2]!).toBe(3000);
    for (const [uplink, share] of [0.5, 0.25, 0.25].entries()) {
      expect(Math.abs(flows[uplink]! / 3000 - share)).toBeLessThan(0.03);
    }
  });

  test.each([
    ["source-destination", balanceKey.sourceDestination, [server, client], [server, otherClient]],
    ["source", balanceKey.source, [otherServer, client], [server, otherClient]],
    ["destination", balanceKey.destination, [server, otherClient], [otherServer, client]],
  ] as const)("keyed by %s looks at nothing else", (_, key, same, other) => {
    // Each byte of the table is the low byte of its hash: equal uplinks mean equal hashes, but for 1 in 16.
    const rig = new Rig({ links: new Array(16).fill(0), policy: { ...plainPolicy, balanceKey: key }, mtu: 1500 });
    rig.steerTo((hash) => hash % 16);
    const uplinkOf = ([remote, inside]: readonly [string, string], ports: number) => {
      rig.injectInside(udp({ source: `${inside}:${ports}`, destination: `${remote}:${ports}` }));
      rig.run();
      return rig.links.findIndex((_, uplink) => rig.io.takeSent(uplink + 1).length > 0);
    };
    const chosen = uplinkOf([server, client], 1);
    for (let port = 2; port < 30; port++) expect(uplinkOf(same, port)).toBe(chosen);
    expect(uplinkOf(other, 30)).not.toBe(chosen);
  });

  test("without a living uplink drops new flows by name", () => {
    const rig = new Rig();
    rig.steerTo(noUplink);
    expect(rig.out(question(5000))).toHaveLength(0);
    expect(rig.drops).toEqual({ "no-uplink": 1 });
    expect(rig.openFlows).toBe(0);
  });

  test("moves only new flows when it changes", () => {
    const rig = new Rig({ links: [14, 14] });
    const before = [5000, 5001].map((port) => rig.outOne(question(port), 0).sourcePort);
    rig.steerTo(1);
    expect([5000, 5001].map((port) => rig.outOne(question(port), 0).sourcePort)).toEqual(before);
    expect(rig.outOne(question(5002), 1).source).toBe(uplinkAddresses[1]);
  });
});

describe("an uplink that is not ready", () => {
  test("gets no packets, and its flows go on where they were when it is back", () => {
    const rig = new Rig();
    const before = rig.outOne(question(5000));
    rig.setUplink(0, { ready: 0 });
    expect(rig.out(question(5000))).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 1 });
    rig.setUplink(0, { ready: 1 });
    expect(rig.outOne(question(5000)).sourcePort).toBe(before.sourcePort);
  });

  test("keeps its flows while it is without an address, and ends them only for another one", () => {
    const rig = new Rig();
    const before = rig.outOne(question(5000));
    rig.setUplink(0, { ready: 0, address: "0.0.0.0" });
    expect(rig.out(question(5000))).toHaveLength(0);
    rig.setUplink(0, { ready: 1, address: uplinkAddresses[0]! });
    expect(rig.outOne(question(5000)).sourcePort).toBe(before.sourcePort);
    expect(rig.counter(counter.flowsOpened)).toBe(1);
  });

  test("gets no new flow that would be stuck on it, or on an address it does not have", () => {
    const rig = new Rig();
    rig.setUplink(0, { ready: 0, address: "0.0.0.0" });
    expect(rig.out(question(5000))).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 1 });
    expect(rig.openFlows).toBe(0);
    rig.setUplink(0, { ready: 1, address: uplinkAddresses[0]! });
    expect(rig.outOne(question(5000)).source).toBe(uplinkAddresses[0]);
  });

  test("lets an inside endpoint that is mapped to it open its next flow elsewhere", () => {
    const rig = new Rig({ links: [14, 14] });
    rig.outOne(question(5000), 0);
    rig.setUplink(0, { ready: 0 });
    rig.steerTo(1);
    const moved = rig.outOne(question(5000, `${otherServer}:53`), 1);
    rig.setUplink(0, { ready: 1 });
    const third = rig.outOne(question(5000, `${otherServer}:54`), 1);
    expect(third.sourcePort).toBe(moved.sourcePort);
    expect(rig.outOne(question(5000), 0).source).toBe(uplinkAddresses[0]);
  });
});

describe("a connection that begins on an uplink that is down", () => {
  const segment = (flags: number) => tcp({ source: `${client}:5000`, destination: `${server}:80`, flags });
  const answer = (port: number, flags: number) =>
    tcp({ source: `${server}:80`, destination: `${uplinkAddresses[0]}:${port}`, flags });

  test("takes another when an earlier one from the same port is over", () => {
    const rig = new Rig({ links: [14, 14] });
    const { sourcePort } = rig.outOne(segment(SYN), 0);
    rig.in([answer(sourcePort, SYN | ACK)]);
    rig.outOne(segment(ACK), 0);
    rig.in(answer(sourcePort, RST));
    rig.setUplink(0, { ready: 0 });
    rig.steerTo(1);
    expect(rig.outOne(segment(SYN), 1).source).toBe(uplinkAddresses[1]);
    expect(rig.openFlows).toBe(1);
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });

  test("takes another with its next SYN when the first was never answered", () => {
    const rig = new Rig({ links: [14, 14] });
    rig.outOne(segment(SYN), 0);
    rig.setUplink(0, { ready: 0 });
    rig.steerTo(1);
    expect(rig.outOne(segment(SYN), 1).source).toBe(uplinkAddresses[1]);
    expect(rig.openFlows).toBe(1);
  });

  test("stays once it has been answered, and goes on when the uplink is back", () => {
    const rig = new Rig({ links: [14, 14] });
    const { sourcePort } = rig.outOne(segment(SYN), 0);
    rig.in([answer(sourcePort, SYN | ACK)]);
    rig.setUplink(0, { ready: 0 });
    rig.steerTo(1);
    expect(rig.out([segment(SYN), segment(ACK)], 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 2 });
    rig.setUplink(0, { ready: 1 });
    expect(rig.outOne(segment(ACK), 0).sourcePort).toBe(sourcePort);
  });
});

describe("an uplink with a new address", () => {
  test("never again sends from the one it has lost", () => {
    const rig = new Rig();
    rig.outOne(question(5000));
    rig.outOne(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN }));
    rig.setUplink(0, { address: "203.0.113.77" });
    // The rig refuses any packet whose source is not the uplink's own.
    rig.out(question(5000));
    rig.out(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: ACK }));
    rig.out(echo({ source: client, destination: server }));
    const quoted = udp({ source: `${server}:53`, destination: `${client}:5000` });
    rig.out(icmpError({ source: client, destination: server, type: 3, code: 3, quoted }));
    // The flows that were on it have ended; what could begin anew has.
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
    expect(rig.openFlows).toBe(2);
    expect(rig.drops).toEqual({ "tcp-no-flow": 1 });
  });

  test("gives it to the next flows, of a known inside endpoint too", () => {
    const rig = new Rig();
    rig.outOne(question(5000));
    rig.setUplink(0, { address: "203.0.113.77" });
    expect(rig.outOne(question(5000, `${otherServer}:53`)).source).toBe("203.0.113.77");
    expect(rig.outOne(question(5001)).source).toBe("203.0.113.77");
  });
});

describe("counters", () => {
  test("of flows follow what is open, by protocol and by uplink", () => {
    const rig = new Rig({ links: [14, 14] });
    rig.out([question(1), question(2), tcp({ source: `${client}:1`, destination: `${server}:80`, flags: SYN })]);
    rig.steerTo(1);
    rig.out(echo({ source: client, destination: server }));
    const gauges = () => [counter.flowsTcp, counter.flowsUdp, counter.flowsIcmp].map((which) => rig.counter(which));
    expect(gauges()).toEqual([1, 2, 1]);
    expect([rig.uplinkCounters(0).flows, rig.uplinkCounters(1).flows]).toEqual([3, 1]);
    expect([rig.counter(counter.flowsOpened), rig.counter(counter.mappings)]).toEqual([4, 4]);
    rig.pass(400_000);
    expect(gauges()).toEqual([0, 0, 0]);
    expect([rig.uplinkCounters(0).flows, rig.uplinkCounters(1).flows]).toEqual([0, 0]);
    expect([rig.counter(counter.flowsOpened), rig.counter(counter.mappings)]).toEqual([4, 0]);
  });

  test("of packets and bytes add up, fragments and a super-packet's segments included", () => {
    const rig = new Rig();
    const small = question(5000);
    const left = rig.out([small, small]);
    const answer = udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${left[0]!.sourcePort}` });
    rig.in(answer);
    const { flows, ...traffic } = rig.uplinkCounters(0);
    expect(flows).toBe(1);
    expect(traffic).toMatchObject({ txBytes: 2 * small.length, txPackets: 2, rxBytes: answer.length, rxPackets: 1 });

    const syn = tcp({ source: `${client}:9`, destination: `${server}:80`, flags: SYN });
    const big = tcp({ source: `${client}:9`, destination: `${server}:80`, data: pattern(4500), checksum: "partial" });
    rig.out(syn);
    rig.out(big, 0, partialVnet(big, 0, 1448));
    expect(rig.uplinkCounters(0)).toMatchObject({
      txPackets: 2 + 1 + 4,
      txBytes: 2 * small.length + syn.length + big.length,
    });
  });

  test("stay finite when a header claims an offload without saying which", () => {
    const rig = new Rig();
    rig.out(tcp({ source: `${client}:9`, destination: `${server}:80`, flags: SYN }), 0, { gsoType: 0x80 });
    const big = tcp({ source: `${client}:10`, destination: `${server}:80`, flags: SYN, checksum: "partial" });
    rig.out(big, 0, { ...partialVnet(big), gsoType: 0x80 | gsoTcp });
    rig.out(big, 0, { ...partialVnet(big), gsoType: 0x80 });
    for (const value of Object.values(rig.uplinkCounters(0))) expect(Number.isFinite(value)).toBe(true);
    expect(rig.drops).toEqual({ "vnet-header": 3 });
  });
});
