/**
 * How much one uplink address carries, as docs/operations.md states it, at a scale of some hundred ports and with a clock
 * that runs as fast as we want. P is the number of ports.
 */
import { describe, expect, test } from "vitest";
import { ACK, echo, FIN, SYN, tcp, udp } from "../support/packets.ts";
import { firstPort, Rig, type RigOptions, uplinkAddresses } from "./rig.ts";

const ports = 200;
const remotes = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80", "192.0.2.4:80"];
const options: RigOptions = { lastPort: firstPort + ports - 1, flows: 4000, flowsPerHost: 4000 };

/** The outside port of a connection that has been opened, 0 when it was refused. Every one has an inside port of its own. */
function open(rig: Rig, index: number, destination = remotes[0]!): number {
  const source = insideOf(index);
  const [left] = rig.out(tcp({ source, destination, flags: SYN }));
  if (left === undefined) {
    rig.left(-1);
    return 0;
  }
  const outside = `${uplinkAddresses[0]}:${left.sourcePort}`;
  rig.in(tcp({ source: destination, destination: outside, flags: SYN | ACK, sequence: 300, acknowledgment: 2 }));
  rig.out(tcp({ source, destination, flags: ACK, sequence: 2, acknowledgment: 301 }));
  return left.sourcePort;
}

function close(rig: Rig, index: number, port: number, destination = remotes[0]!): void {
  const source = insideOf(index);
  const outside = `${uplinkAddresses[0]}:${port}`;
  rig.out(tcp({ source, destination, flags: FIN | ACK, sequence: 2, acknowledgment: 301 }));
  rig.in(tcp({ source: destination, destination: outside, flags: FIN | ACK, sequence: 301, acknowledgment: 3 }));
  rig.out(tcp({ source, destination, flags: ACK, sequence: 3, acknowledgment: 302 }));
}

function insideOf(index: number): string {
  return `192.168.10.${2 + Math.floor(index / 50_000)}:${10_000 + (index % 50_000)}`;
}

/** Opens and closes `perSecond` connections to one remote for five minutes, each lasting `lifetimeMs`. */
function keepConnecting(rig: Rig, perSecond: number, lifetimeMs: number) {
  const intervalMs = 1000 / perSecond;
  const lasting = Math.round(lifetimeMs / intervalMs);
  const opened: number[] = [];
  const closedAtMs = new Map<number, number>();
  let refused = 0;
  let shortestRestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 300 * perSecond; i++) {
    const over = i - lasting;
    if (over >= 0 && opened[over] !== 0) {
      close(rig, over, opened[over]!);
      closedAtMs.set(opened[over]!, rig.nowMs);
    }
    const port = open(rig, i);
    opened.push(port);
    if (port === 0) refused++;
    else shortestRestMs = Math.min(shortestRestMs, rig.nowMs - (closedAtMs.get(port) ?? Number.NEGATIVE_INFINITY));
    rig.nowMs += intervalMs;
  }
  return { refused, shortestRestMs };
}

describe.each([
  ["endpoint-independent", true],
  ["address-and-port-dependent", false],
])("TCP with %s mapping", (_, endpointIndependent) => {
  const openRig = (more: RigOptions = {}) => new Rig({ ...options, endpointIndependent, ...more });

  test("P connections to one remote at a time, and no more; to others there are more", () => {
    const rig = openRig();
    const taken = Array.from({ length: ports }, (_, i) => open(rig, i));
    expect(new Set(taken).size).toBe(ports);
    expect(open(rig, ports)).toBe(0);
    expect(rig.drops).toEqual({ "no-port": 1 });
    expect(open(rig, ports + 1, remotes[1])).toBeGreaterThan(0);
  });

  test("P / lifetime new ones a second to one remote for five minutes, none refused", () => {
    // 50 a second, each for 4 s: all 200 ports in use at any moment.
    const rig = openRig();
    expect(keepConnecting(rig, 50, 4000).refused).toBe(0);
    expect(rig.drops).toEqual({});
  });

  test("one port more in demand than there is: as many refused as find none", () => {
    const rig = openRig();
    // 51 of each second's connections are wanted where 50 fit: 4.02 s at 50 a second are 201.
    const { refused } = keepConnecting(rig, 50, 4020);
    expect(refused).toBeGreaterThan(0);
    expect(refused).toBeLessThan((300 * 50) / ports + 2);
  });

  test("a port that was closed rests for P / rate - lifetime before it is used again", () => {
    const rig = openRig();
    const { refused, shortestRestMs } = keepConnecting(rig, 25, 400);
    expect(refused).toBe(0);
    expect(shortestRestMs).toBe((ports / 25) * 1000 - 400);
  });

  test("three quarters of P to every further remote, all at once, when no port is unused any more", () => {
    const rig = openRig();
    for (let i = 0; i < ports; i++) expect(open(rig, i)).toBeGreaterThan(0);
    const wanted = (ports * 3) / 4;
    for (const [r, remote] of remotes.slice(1).entries()) {
      const opened = Array.from({ length: wanted }, (_, i) => open(rig, 1000 * (r + 1) + i, remote));
      expect(new Set(opened.filter((port) => port > 0)).size).toBeGreaterThanOrEqual(wanted * 0.99);
    }
    expect(rig.openFlows).toBeGreaterThan(ports * 3.2);
  });
});

describe("UDP", () => {
  const ask = (rig: Rig, index: number, destination: string) => {
    const [left] = rig.out(udp({ source: insideOf(index), destination }));
    if (left === undefined) return rig.left(-1).length * 0;
    rig.in(udp({ source: destination, destination: `${left.source}:${left.sourcePort}` }));
    return left.sourcePort;
  };

  test("with endpoint-independent mapping: P endpoints inside, each to as many remotes as it likes", () => {
    const rig = new Rig(options);
    for (const remote of remotes) {
      for (let i = 0; i < ports; i++) expect(ask(rig, i, remote)).toBeGreaterThan(0);
    }
    expect(rig.openFlows).toBe(ports * remotes.length);
    expect(ask(rig, ports, remotes[0]!)).toBe(0);
  });

  test("with address-and-port-dependent mapping: P flows", () => {
    const rig = new Rig({ ...options, endpointIndependent: false });
    for (let i = 0; i < ports; i++) expect(ask(rig, i % 50, remotes[Math.floor(i / 50)]!)).toBeGreaterThan(0);
    expect(ask(rig, 60, remotes[0]!)).toBe(0);
  });

  test.each([true, false])("P / timeout new ones a second for as long as wanted (endpoint-independent: %s)", (mode) => {
    // An idle flow ends within a second of its time.
    const intervalMs = 301_000 / (ports - 1);
    const rig = new Rig({ ...options, endpointIndependent: mode });
    for (let i = 0; i < ports * 4; i++) {
      expect(ask(rig, i, remotes[0]!), `question ${i}`).toBeGreaterThan(0);
      rig.pass(intervalMs);
    }
    expect(rig.drops).toEqual({});
    // Twice as many are too many.
    for (let i = 0; i < ports * 2; i++) {
      ask(rig, 2000 + i, remotes[0]!);
      rig.pass(intervalMs / 2);
    }
    expect(rig.drops["no-port"]).toBeGreaterThan(0);
  });
});

test("pings: P / timeout new identifiers a second", () => {
  const intervalMs = 61_000 / (ports - 1);
  const rig = new Rig(options);
  for (let i = 0; i < ports * 3; i++) {
    const left = rig.outOne(echo({ source: "192.168.10.2", destination: "192.0.2.1", identifier: 1 + i }));
    rig.inOne(echo({ source: "192.0.2.1", destination: left.source, identifier: left.identifier, type: 0 }));
    rig.pass(intervalMs);
  }
  expect(rig.drops).toEqual({});
});
