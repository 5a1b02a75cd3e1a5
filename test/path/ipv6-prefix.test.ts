/** An uplink with a prefix: inside addresses are translated to addresses of their own, ports stay (RFC 6296). */
import { describe, expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, pattern, SYN } from "../support/packets.ts";
import { address6Words, echo6, icmpError6, ip6, parse6, tcp6, udp6 } from "../support/packets6.ts";
import {
  client6,
  openRig6,
  otherClient6,
  otherServer6,
  type Rig,
  type RigOptions,
  server6,
  uplinkAddresses6,
} from "./rig.ts";

const source = `[${client6}]:5000`;
const destination = `[${server6}]:53`;
/** fd00:10::2 and ::3 with 2001:db8:a:: for fd00:10::, their subnet's word adjusted by the difference of the sums. */
const outside = "2001:db8:a:cf4d::2";
const otherOutside = "2001:db8:a:cf4d::3";

function open(options: RigOptions = {}): Rig {
  const rig = openRig6({ insidePrefix: { words: address6Words("fd00:10::"), length: 48 }, ...options });
  rig.setUplink(0, { prefix6: "2001:db8:a::/48" });
  return rig;
}

describe("a connection from inside", () => {
  test("leaves with an address of the prefix and the port that it has, its checksum untouched, and its answer comes back", () => {
    const rig = open();
    const packet = udp6({ source, destination, data: pattern(20) });
    const left = rig.outOne6(packet);
    expect(left).toMatchObject({ source: outside, sourcePort: 5000, checksumOk: true });
    expect(left.payload).toEqual(parse6(packet).payload);
    const answer = udp6({ source: destination, destination: `[${outside}]:5000`, data: pattern(9) });
    const arrived = rig.inOne6(answer);
    expect(arrived).toMatchObject({ destination: client6, destinationPort: 5000, checksumOk: true });
    expect(arrived.payload).toEqual(parse6(answer).payload);
  });

  test("of another host has another address, and may have the same port", () => {
    const rig = open();
    rig.outOne6(udp6({ source, destination }));
    expect(rig.outOne6(udp6({ source: `[${otherClient6}]:5000`, destination }))).toMatchObject({
      ...{ source: otherOutside, sourcePort: 5000 },
    });
  });

  test("keeps identifiers of pings, and serves protocols without ports of many hosts", () => {
    const rig = open();
    expect(rig.outOne6(echo6({ source: client6, destination: server6, identifier: 7 }))).toMatchObject({
      ...{ source: outside, identifier: 7, checksumOk: true },
    });
    const answer = echo6({ source: server6, destination: outside, type: 129, identifier: 7 });
    expect(rig.inOne6(answer)).toMatchObject({ destination: client6, identifier: 7, checksumOk: true });
    for (const [from, to] of [
      [client6, outside],
      [otherClient6, otherOutside],
    ] as const) {
      const gre = { destination: server6, protocol: 47, payload: pattern(40) };
      expect(rig.outOne6(ip6({ ...gre, source: from })).source).toBe(to);
      expect(rig.inOne6(ip6({ ...gre, source: server6, destination: to })).destination).toBe(from);
    }
  });

  test("takes no port of the range, so that more go out at once than it has", () => {
    const rig = open({ lastPort: 16_387 });
    for (const host of [client6, otherClient6])
      for (let port = 1; port <= 20; port++) rig.outOne6(udp6({ source: `[${host}]:${port}`, destination }));
    expect(rig.openFlows).toBe(40);
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });

  test("whose source is not of the inside prefix is masqueraded behind the uplink's address", () => {
    const rig = open();
    const left = rig.outOne6(udp6({ source: "[fd00:99::2]:5000", destination }));
    expect(left.source).toBe(uplinkAddresses6[0]);
    expect(left.sourcePort).toBeGreaterThanOrEqual(16_384);
  });

  test("by an uplink without a prefix is masqueraded", () => {
    const rig = open({ links: [14, 14] });
    rig.steerTo(1);
    expect(rig.outOne6(udp6({ source, destination }), 1).source).toBe(uplinkAddresses6[1]);
  });

  test("begins anew when the uplink has got another prefix", () => {
    const rig = open();
    rig.outOne6(udp6({ source, destination }));
    rig.setUplink(0, { prefix6: "2001:db8:b::/48" });
    expect(rig.outOne6(udp6({ source, destination })).source).toMatch(/^2001:db8:b:/);
    expect(rig.openFlows).toBe(1);
    rig.setUplink(0, { prefix6: "" });
    expect(rig.outOne6(udp6({ source, destination })).source).toBe(uplinkAddresses6[0]);
    rig.setUplink(0, { prefix6: "2001:db8:a::/48" });
    // That address is still the uplink's own.
    expect(rig.outOne6(udp6({ source, destination })).source).toBe(uplinkAddresses6[0]);
    expect(rig.outOne6(udp6({ source, destination: `[${otherServer6}]:53` })).source).toBe(outside);
  });

  test("leaves no name behind when it has ended", () => {
    const rig = open();
    rig.outOne6(udp6({ source, destination }));
    rig.outOne6(echo6({ source: client6, destination: server6 }));
    rig.outOne6(tcp6({ source, destination, flags: SYN }));
    expect(rig.forwarder.conntrack.names.count).toBe(4);
    rig.pass(500_000);
    expect([rig.openFlows, rig.forwarder.conntrack.names.count]).toEqual([0, 1]);
    expect(rig.forwarder.conntrack.mappings.open).toBe(0);
  });
});

describe("what nobody asked for", () => {
  const ask = (from: string) => udp6({ source: from, destination: `[${outside}]:5000` });

  test.each([
    ["addressAndPort", [1, 0, 0]],
    ["address", [1, 1, 0]],
    ["endpointIndependent", [1, 1, 1]],
  ] as const)("is let in by the filtering: %s", (name, expected) => {
    const rig = open({ filtering: filtering[name] });
    rig.outOne6(udp6({ source, destination }));
    const came = [destination, `[${server6}]:99`, `[${otherServer6}]:53`].map((from) => rig.in6(ask(from)).length);
    expect(came).toEqual(expected);
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
    rig.pass(500_000);
    expect([rig.openFlows, rig.forwarder.conntrack.names.count]).toEqual([0, 1]);
  });

  test("and is for nobody in particular comes in only where everybody is let in", () => {
    for (const mode of [filtering.addressAndPort, filtering.address]) {
      const rig = open({ filtering: mode });
      expect(rig.in6(ask(destination))).toEqual([]);
      expect(rig.in6(echo6({ source: server6, destination: outside }))).toEqual([]);
      expect(rig.drops).toEqual({ unsolicited: 2 });
      expect(rig.forwarder.conntrack.names.count).toBe(1);
    }
  });

  test("and is let in goes to the host, and its answer back with the address that was asked", () => {
    const rig = open({ filtering: filtering.endpointIndependent });
    const syn = tcp6({ source: `[${server6}]:4000`, destination: `[${outside}]:22`, flags: SYN });
    expect(rig.inOne6(syn)).toMatchObject({ destination: client6, destinationPort: 22, checksumOk: true });
    const answer = { source: `[${client6}]:22`, destination: `[${server6}]:4000`, flags: SYN | ACK, acknowledgment: 2 };
    expect(rig.outOne6(tcp6(answer))).toMatchObject({ source: outside, sourcePort: 22, checksumOk: true });
    expect(rig.inOne6(echo6({ source: server6, destination: otherOutside, identifier: 9 }))).toMatchObject({
      ...{ destination: otherClient6, identifier: 9, type: 128, checksumOk: true },
    });
    const pong = echo6({ source: otherClient6, destination: server6, type: 129, identifier: 9 });
    const left = rig.outOne6(pong);
    expect(left).toMatchObject({ source: otherOutside, identifier: 9, type: 129, checksumOk: true });
    const error = { source: "2001:db8:77::1", destination: otherOutside, type: 3, quoted: left.bytes };
    expect(rig.inOne6(icmpError6(error)).data).toEqual(pong);
    const gre = { protocol: 47, payload: pattern(30) };
    expect(rig.inOne6(ip6({ ...gre, source: server6, destination: outside })).destination).toBe(client6);
    expect(rig.outOne6(ip6({ ...gre, source: client6, destination: server6 })).source).toBe(outside);
  });

  test("and has a source of our own, or is for another uplink's prefix, is dropped", () => {
    const rig = open({ filtering: filtering.endpointIndependent, links: [14, 14] });
    rig.setUplink(1, { prefix6: "2001:db8:b::/48" });
    rig.in6(ask(`[${otherOutside}]:1`));
    rig.in6(ask(`[${uplinkAddresses6[1]}]:1`));
    rig.in6(ask("[2001:db8:b::1]:1"));
    rig.in6(ask(destination), 1);
    expect(rig.drops).toEqual({ "bad-source": 3, unsolicited: 1 });
    expect(rig.openFlows).toBe(0);
  });

  test("by a forward on the uplink's own address comes in as ever", () => {
    const forward = { uplinks: 1, protocol: 17, firstPort: 53, lastPort: 53, to: 0, to6: address6Words(client6) };
    const rig = open({ forwards: [{ ...forward, toPort: 5353 }] });
    const asked = rig.inOne6(udp6({ source: `[${server6}]:9`, destination: `[${uplinkAddresses6[0]}]:53` }));
    expect(asked).toMatchObject({ destination: client6, destinationPort: 5353 });
    expect(rig.outOne6(udp6({ source: `[${client6}]:5353`, destination: `[${server6}]:9` })).source).toBe(
      uplinkAddresses6[0],
    );
  });
});
