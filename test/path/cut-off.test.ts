/**
 * The death of an uplink: its flows end at once, and whoever has one learns of it. A RST is worth something only with exactly
 * the number that its receiver expects (RFC 5961, section 3.2), so that is what the tests of TCP ask for.
 */
import { describe, expect, test } from "vitest";
import { reply } from "../../src/tables/flow-table.ts";
import { counter } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, echo, FIN, GRE, ip, pattern, RST, SYN, tcp, udp } from "../support/packets.ts";
import { address6Words, echo6, tcp6, udp6 } from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { portRule } from "../support/port-rule.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import {
  client,
  client6,
  errorSource,
  type Left,
  type Left6,
  openRig6,
  otherClient,
  Rig,
  server,
  server6,
  uplinkAddresses,
  uplinkAddresses6,
} from "./rig.ts";

const links = { links: [14, 14] };
const source = `${client}:5000`;
const otherAddress = "203.0.113.77";
let raised = 0;

/** Has all flows of an uplink cut off; what leaves is still to be looked at. */
function cutAll(rig: Rig, uplink = 0): void {
  rig.setUplink(uplink, { cutAll: ++raised });
  rig.run();
}

/** A RST by its numbers, and the ends that it is between. */
function resetOf({ source, sourcePort, destination, destinationPort, flags, payload, checksumOk }: Left | Left6) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const ends = `${source} ${sourcePort} > ${destination} ${destinationPort}`;
  return { ends, flags, checksumOk, sequence: view.getUint32(4), acknowledgment: view.getUint32(8) };
}

const toInside = `${server} 80 > ${client} 5000`;

/** What the two ends of a connection must get. */
function expected({ inside, mappedEndpoint }: Connection) {
  const reset = { flags: RST | ACK, checksumOk: true };
  const outside = mappedEndpoint.replace(":", " ");
  return {
    inside: [{ ends: toInside, ...reset, sequence: inside.expects >>> 0, acknowledgment: inside.next >>> 0 }],
    remote: [
      {
        ends: `${outside} > ${server} 80`,
        ...reset,
        sequence: inside.next >>> 0,
        acknowledgment: inside.expects >>> 0,
      },
    ],
  };
}

const stories: [string, ConnectionOptions, (connection: Connection) => void][] = [
  ["nothing but a handshake", {}, () => {}],
  [
    "data both ways",
    {},
    (connection) => {
      for (let i = 0; i < 5; i++) {
        connection.send({ data: pattern(700) });
        connection.answer({ data: pattern(1400) });
      }
    },
  ],
  [
    "data beyond 64 KiB under a scaled window, not acknowledged yet",
    { insideScale: 7, remoteScale: 7, insideWindow: 0x4000 },
    (connection) => {
      for (let i = 0; i < 100; i++) connection.answer({ data: pattern(1400) });
    },
  ],
  [
    "super-packets both ways",
    { insideScale: 9, remoteScale: 9 },
    (connection) => {
      connection.send({ data: pattern(30_000), gsoSize: 1400 });
      connection.answer({ data: pattern(50_000), gsoSize: 1400 });
      connection.send();
    },
  ],
  [
    "numbers that wrap",
    { insideStart: 0xffff_ff00, remoteStart: 0xffff_fff0 },
    (connection) => {
      connection.send({ data: pattern(600) });
      connection.answer({ data: pattern(600) });
    },
  ],
  ["a FIN from inside", {}, (connection) => connection.send({ flags: FIN | ACK })],
  [
    "a FIN from the remote",
    {},
    (connection) => {
      connection.answer({ flags: FIN | ACK });
      connection.send();
    },
  ],
  [
    "two FINs, the last not acknowledged",
    {},
    (connection) => {
      connection.send({ flags: FIN | ACK });
      connection.answer({ flags: FIN | ACK });
    },
  ],
  [
    "data that comes again, and out of order",
    {},
    (connection) => {
      connection.answer({ data: pattern(500) });
      connection.answer({ data: pattern(500), ahead: -500 });
      connection.answer({ data: pattern(100), ahead: -400 });
    },
  ],
];

describe("a connection that has seen", () => {
  test.each(stories)("%s ends at once, with the numbers that both ends expect", (_, options, story) => {
    const connection = Connection.open({ ...options, ...links });
    const { rig } = connection;
    story(connection);
    rig.steerTo(1);
    cutAll(rig);
    expect(rig.left(-1).map(resetOf)).toEqual(expected(connection).inside);
    expect(rig.left(0).map(resetOf)).toEqual(expected(connection).remote);
    expect(rig.uplinkCounters(0)).toMatchObject({ cut: 1, flows: 1 });
    expect(connection.state).toBe("closed");
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });
});

test("a connection that was answered and not yet confirmed is reset so that one who waits for the answer takes it", () => {
  const connection = new Connection(links);
  connection.send({ flags: SYN });
  connection.answer({ flags: SYN | ACK });
  cutAll(connection.rig);
  expect(connection.rig.left(-1).map(resetOf)).toEqual(expected(connection).inside);
});

test("a connection that nobody has answered is closed, and its next SYN takes another uplink", () => {
  const rig = new Rig(links);
  const syn = tcp({ source, destination: `${server}:80`, flags: SYN });
  rig.outOne(syn);
  rig.steerTo(1);
  cutAll(rig);
  expect([rig.openFlows, rig.left(-1).length, rig.left(0).length]).toEqual([0, 0, 0]);
  expect(rig.outOne(syn, 1).source).toBe(uplinkAddresses[1]);
});

test("over an uplink that can't send, the remote is told nothing and the host inside all the same", () => {
  const connection = Connection.open(links);
  connection.rig.setUplink(0, { ready: 0, cutAll: ++raised });
  connection.rig.run();
  expect(connection.rig.left(-1).map(resetOf)).toEqual(expected(connection).inside);
  expect(connection.rig.left(0)).toEqual([]);
});

describe("after a connection was cut off", () => {
  const cut = () => {
    const connection = Connection.open(links);
    connection.rig.steerTo(1);
    cutAll(connection.rig);
    connection.rig.left(-1);
    connection.rig.left(0);
    return connection;
  };

  test("a host that goes on gets a RST with the number that he acknowledges, and nothing leaves", () => {
    const { rig } = cut();
    rig.pass(200_000);
    const segment = { source, destination: `${server}:80`, sequence: 5000, acknowledgment: 77_000 };
    rig.injectInside(tcp({ ...segment, flags: ACK, data: pattern(100) }));
    rig.injectInside(tcp({ ...segment, flags: FIN | ACK }));
    rig.run();
    const reset = { ends: toInside, flags: RST | ACK, checksumOk: true, sequence: 77_000 };
    expect(rig.left(-1).map(resetOf)).toEqual([
      { ...reset, acknowledgment: 5100 },
      { ...reset, acknowledgment: 5001 },
    ]);
    expect([...rig.left(0), ...rig.left(1)]).toEqual([]);
    expect(rig.drops).toEqual({ "cut-off": 2 });
  });

  test("a host that goes on without a pause is answered at a limited rate", () => {
    const { rig } = cut();
    const segment = tcp({ source, destination: `${server}:80`, flags: ACK, sequence: 1001, acknowledgment: 9 });
    for (let i = 0; i < 300; i++) rig.injectInside(segment);
    rig.run();
    expect(rig.left(-1).length).toBeLessThanOrEqual(50);
    expect(rig.drops["cut-off"]).toBe(300);
  });

  test("a SYN opens a new one by a live uplink", () => {
    const { rig } = cut();
    const left = rig.outOne(tcp({ source, destination: `${server}:80`, flags: SYN, sequence: 1 }), 1);
    expect(left.source).toBe(uplinkAddresses[1]);
    expect(rig.openFlows).toBe(1);
    checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
  });

  test("a host that refuses what the remote still sends is heard by the remote", () => {
    const connection = cut();
    expect(connection.answer({ data: pattern(10) })).toBeDefined();
    const refusal = { source, destination: `${server}:80`, flags: RST, sequence: connection.inside.next };
    expect(connection.rig.outOne(tcp(refusal), 0).flags).toBe(RST);
  });

  test("another host that connects loses nothing to it: its port comes back when its time is over", () => {
    const { rig } = cut();
    rig.pass(241_000);
    rig.pass(1000);
    expect([rig.openFlows, rig.counter(counter.mappings)]).toEqual([0, 0]);
  });

  test("cutting off again tells nobody twice", () => {
    const { rig } = cut();
    cutAll(rig);
    expect([...rig.left(-1), ...rig.left(0)]).toEqual([]);
    expect(rig.uplinkCounters(0).cut).toBe(1);
  });
});

test("the next datagram of a UDP flow opens another by a live uplink, whether the old one is said to be able to send or not", () => {
  const rig = new Rig(links);
  const question = udp({ source, destination: `${server}:53` });
  const { sourcePort } = rig.outOne(question);
  rig.in(udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${sourcePort}` }));
  rig.steerTo(1);
  cutAll(rig);
  expect([rig.openFlows, rig.counter(counter.mappings), rig.left(-1).length]).toEqual([0, 0, 0]);
  expect(rig.outOne(question, 1).source).toBe(uplinkAddresses[1]);
  expect(rig.uplinkCounters(0).cut).toBe(1);
});

describe("a host is told that its question goes nowhere", () => {
  test.each([
    ["a ping", echo({ source: client, destination: server, identifier: 77 }), 1],
    ["GRE", ip({ source: client, destination: server, protocol: GRE, payload: pattern(40) }), GRE],
  ])("when it was %s", (_, packet, protocol) => {
    const rig = new Rig(links);
    rig.outOne(packet);
    cutAll(rig);
    const [told, ...more] = rig.left(-1);
    expect(more).toEqual([]);
    expect(told).toMatchObject({ source: errorSource, destination: client, type: 3, code: 1, checksumOk: true });
    const quoted = told!.payload.slice(8);
    expect(quoted[9]).toBe(protocol);
    // Header, and of a ping the identifier, as they were sent.
    expect(quoted.slice(12, 20)).toEqual(packet.slice(12, 20));
    if (protocol === 1) expect([quoted[20], quoted[24], quoted[25]]).toEqual([8, 0, 77]);
    expect([rig.openFlows, rig.uplinkCounters(0).cut]).toEqual([0, 1]);
  });

  test("at a limited rate", () => {
    const rig = new Rig(links);
    for (let identifier = 1; identifier <= 200; identifier++)
      rig.outOne(echo({ source: client, destination: server, identifier }));
    cutAll(rig);
    expect(rig.left(-1).length).toBeLessThanOrEqual(50);
    expect(rig.openFlows).toBe(0);
  });
});

test("a connection that a remote has opened ends likewise, for the server inside", () => {
  const forward = { uplinks: 3, protocol: 6, firstPort: 8080, lastPort: 8080, to: 0xc0a8_0a02 | 0, toPort: 80 };
  const rig = new Rig({ ...links, forwards: [forward] });
  const visitor = { source: `${server}:9000`, destination: `${uplinkAddresses[0]}:8080` };
  const host = { source: `${client}:80`, destination: `${server}:9000` };
  rig.in(tcp({ ...visitor, flags: SYN, sequence: 100 }));
  rig.out(tcp({ ...host, flags: SYN | ACK, sequence: 500, acknowledgment: 101 }));
  rig.in(tcp({ ...visitor, flags: ACK, sequence: 101, acknowledgment: 501, data: pattern(40) }));
  rig.out(tcp({ ...host, flags: ACK, sequence: 501, acknowledgment: 141, data: pattern(60) }));
  cutAll(rig);
  const reset = { flags: RST | ACK, checksumOk: true };
  expect(rig.left(-1).map(resetOf)).toEqual([
    { ends: `${server} 9000 > ${client} 80`, ...reset, sequence: 141, acknowledgment: 561 },
  ]);
  expect(rig.left(0).map(resetOf)).toEqual([
    { ends: `${uplinkAddresses[0]} 8080 > ${server} 9000`, ...reset, sequence: 561, acknowledgment: 141 },
  ]);
});

test("a remote whose connection was cut off opens another from the same port", () => {
  const forward = { uplinks: 3, protocol: 6, firstPort: 8080, lastPort: 8080, to: 0xc0a8_0a02 | 0, toPort: 80 };
  const rig = new Rig({ ...links, forwards: [forward] });
  const visitor = { source: `${server}:9000`, destination: `${uplinkAddresses[0]}:8080` };
  const host = { source: `${client}:80`, destination: `${server}:9000` };
  const connect = (sequence: number) => [
    rig.in(tcp({ ...visitor, flags: SYN, sequence })),
    rig.out(tcp({ ...host, flags: SYN | ACK, sequence: sequence + 400, acknowledgment: sequence + 1 })),
    rig.in(tcp({ ...visitor, flags: ACK, sequence: sequence + 1, acknowledgment: sequence + 401 })),
  ];
  const flagsOf = (left: readonly ReturnType<typeof connect>[number][]) => left.flat().map(({ flags }) => flags);
  expect(flagsOf(connect(100))).toEqual([SYN, SYN | ACK, ACK]);
  cutAll(rig);
  rig.left(-1);
  rig.left(0);
  expect(flagsOf(connect(70_000))).toEqual([SYN, SYN | ACK, ACK]);
});

describe("over IPv6", () => {
  const insidePrefix = { words: address6Words("fd00:10::"), length: 48 };
  const ends = { source: `[${client6}]:5000`, destination: `[${server6}]:80` };
  const connected = (rig: Rig, outside: string) => {
    const { sourcePort } = rig.outOne6(tcp6({ ...ends, flags: SYN, sequence: 900 }));
    const remote = { source: ends.destination, destination: `[${outside}]:${sourcePort}` };
    rig.inOne6(tcp6({ ...remote, flags: SYN | ACK, sequence: 70, acknowledgment: 901 }));
    rig.outOne6(tcp6({ ...ends, flags: ACK, sequence: 901, acknowledgment: 71, data: pattern(9) }));
    return sourcePort;
  };
  const reset = { flags: RST | ACK, checksumOk: true };
  const inside = { ends: `${server6} 80 > ${client6} 5000`, ...reset, sequence: 71, acknowledgment: 910 };

  test.each([
    ["", "", uplinkAddresses6[0]!],
    [" whose prefix is translated", "2001:db8:a::/48", "2001:db8:a:cf4d::2"],
  ])("a connection%s ends with the right numbers for both", (_, prefix6, outside) => {
    const rig = openRig6({ ...links, insidePrefix });
    rig.setUplink(0, { prefix6 });
    const port = connected(rig, outside);
    cutAll(rig);
    expect(rig.left6(-1).map(resetOf)).toEqual([inside]);
    expect(rig.left6(0).map(resetOf)).toEqual([
      { ends: `${outside} ${port} > ${server6} 80`, ...reset, sequence: 910, acknowledgment: 71 },
    ]);
    rig.injectInside(tcp6({ ...ends, flags: ACK, sequence: 910, acknowledgment: 40 }));
    rig.run();
    expect(rig.left6(-1).map(resetOf)).toEqual([{ ...inside, sequence: 40 }]);
  });

  test("the flows of a prefix end when the uplink has another, without a word from its old addresses", () => {
    const rig = openRig6({ ...links, insidePrefix });
    rig.setUplink(0, { prefix6: "2001:db8:a::/48" });
    connected(rig, "2001:db8:a:cf4d::2");
    rig.setUplink(0, { prefix6: "2001:db8:c::/48" });
    rig.run();
    expect(rig.left6(-1).map(resetOf)).toEqual([inside]);
    expect(rig.left6(0)).toEqual([]);
  });

  test("a host is told that a ping goes nowhere, and its datagrams take another uplink", () => {
    const rig = openRig6(links);
    rig.outOne6(echo6({ source: client6, destination: server6, identifier: 77 }));
    rig.outOne6(udp6({ ...ends, destination: `[${server6}]:53` }));
    rig.steerTo(1);
    cutAll(rig);
    const [told, ...more] = rig.left6(-1);
    expect(more).toEqual([]);
    expect(told).toMatchObject({ destination: client6, type: 1, code: 3, checksumOk: true });
    expect(told!.payload.slice(8 + 40, 8 + 40 + 6)).toEqual(
      Uint8Array.of(128, 0, told!.payload[50]!, told!.payload[51]!, 0, 77),
    );
    const moved = rig.outOne6(udp6({ ...ends, destination: `[${server6}]:53` }), 1);
    expect(moved.source).toBe(uplinkAddresses6[1]);
  });
});

describe("an uplink that has another address", () => {
  test("ends the connections from its old one, whose remotes hear nothing: no such source is its own", () => {
    const connection = Connection.open(links);
    const { rig } = connection;
    rig.setUplink(0, { address: otherAddress });
    rig.run();
    expect(rig.left(-1).map(resetOf)).toEqual(expected(connection).inside);
    expect([...rig.left(0), ...rig.left(1)]).toEqual([]);
    expect(rig.outOne(tcp({ source, destination: `${server}:80`, flags: SYN }), 0).source).toBe(otherAddress);
  });

  test("takes datagrams from the new one at once", () => {
    const rig = new Rig(links);
    const question = udp({ source, destination: `${server}:53` });
    rig.outOne(question);
    rig.setUplink(0, { address: otherAddress });
    expect(rig.outOne(question).source).toBe(otherAddress);
    expect(rig.openFlows).toBe(1);
  });

  test("keeps its flows while it has none, and when the old one comes back", () => {
    const connection = Connection.open(links);
    const { rig } = connection;
    rig.setUplink(0, { ready: 0, address: "0.0.0.0" });
    rig.run();
    rig.setUplink(0, { ready: 1, address: uplinkAddresses[0]! });
    rig.run();
    expect(rig.left(-1)).toEqual([]);
    expect(connection.send({ data: pattern(3) })).toBeDefined();
  });
});

describe("nothing else is touched:", () => {
  test("flows of other uplinks go on", () => {
    const rig = new Rig(links);
    const asks = (port: number) => udp({ source: `${client}:${port}`, destination: `${server}:53` });
    const kept = [1, 2, 3].map((port) => rig.outOne(asks(port)).sourcePort);
    rig.steerTo(1);
    for (const port of [11, 12]) rig.outOne(asks(port), 1);
    cutAll(rig, 1);
    rig.steerTo(0);
    expect([1, 2, 3].map((port) => rig.outOne(asks(port)).sourcePort)).toEqual(kept);
    expect([rig.openFlows, rig.uplinkCounters(0).cut, rig.uplinkCounters(1).cut]).toEqual([3, 0, 2]);
  });

  test("flows that are displaced end alone, when that is asked for", () => {
    const rig = new Rig(links);
    const asks = (port: number) => udp({ source: `${client}:${port}`, destination: `${server}:53` });
    const kept = rig.outOne(asks(1)).sourcePort;
    rig.setUplink(0, { standsIn: 1 });
    rig.outOne(asks(2));
    rig.setUplink(0, { standsIn: 0 });
    rig.outOne(asks(3));
    rig.setUplink(0, { cutDisplaced: ++raised });
    rig.steerTo(1);
    rig.run();
    expect(rig.openFlows).toBe(2);
    expect(rig.outOne(asks(1), 0).sourcePort).toBe(kept);
    expect(rig.outOne(asks(2), 1).source).toBe(uplinkAddresses[1]);
  });

  test("flows that a rule has sent to an uplink that stands in are not displaced: they belong there", () => {
    const rig = new Rig({ ...links, policy: { ...plainPolicy, rules: portRule(99, 3) } });
    rig.shared.lookups[3]!.fill(0);
    rig.shared.masks[3] = 1;
    rig.setUplink(0, { standsIn: 1 });
    const { sourcePort } = rig.outOne(udp({ source, destination: `${server}:99` }));
    rig.outOne(udp({ source: `${client}:6000`, destination: `${server}:53` }));
    rig.setUplink(0, { cutDisplaced: ++raised });
    rig.run();
    expect([rig.openFlows, rig.uplinkCounters(0).cut]).toEqual([1, 1]);
    expect(rig.outOne(udp({ source, destination: `${server}:99` })).sourcePort).toBe(sourcePort);
  });

  test("flows that were opened after the cut stay", () => {
    const rig = new Rig({ ...links, flows: 20_000, flowsPerHost: 20_000, lastPort: 60_000 });
    const ask = (host: number) =>
      rig.outOne(udp({ source: `10.0.${host >> 8}.${host & 255}:7`, destination: `${server}:53` }));
    for (let host = 0; host < 10_000; host++) ask(host);
    rig.nowMs += 5;
    rig.setUplink(0, { cutAll: ++raised });
    rig.forwarder.breath(0);
    rig.nowMs += 5;
    const late = ask(20_000).sourcePort;
    for (let turns = 0; turns < 200; turns++) rig.forwarder.breath(0);
    expect(rig.openFlows).toBe(1);
    expect(ask(20_000).sourcePort).toBe(late);
  });
});

describe("with 100,000 flows", () => {
  const flows = 100_000;
  /** From a thousand endpoints inside to a hundred remotes each; all are answered, or most would give way to the others. */
  const open = () => {
    const rig = new Rig({ ...links, flows: flows + 1, flowsPerHost: flows });
    for (let i = 0; i < flows; i++) {
      const [port, remote] = [1 + (i % 1000), 1 + Math.floor(i / 1000)];
      rig.injectInside(udp({ source: `${client}:${port}`, destination: `192.0.2.${remote}:53` }));
      if (i % 1000 < 999) continue;
      rig.run();
      rig.io.takeSent(1);
      for (let flow = i - 998; flow <= i + 1; flow++) rig.forwarder.conntrack.heard(flow, reply);
    }
    return rig;
  };

  test("a turn does a bounded part, does not wait for the next, and other packets go on meanwhile", () => {
    const rig = open();
    const opened = rig.openFlows;
    expect(opened).toBe(flows);
    const waits: number[] = [];
    const turn = rig.io.turn.bind(rig.io);
    rig.io.turn = (timeoutMs) => {
      waits.push(timeoutMs);
      return turn(timeoutMs);
    };
    rig.setUplink(0, { cutAll: ++raised });
    rig.steerTo(1);
    rig.nowMs += 1000;
    let before = opened;
    let turns = 0;
    for (; rig.openFlows > 1 && turns < 5000; turns++) {
      rig.injectInside(udp({ source: `${otherClient}:9`, destination: `${server}:53` }));
      rig.forwarder.breath(250);
      expect(before - rig.openFlows).toBeLessThanOrEqual(256);
      before = rig.openFlows;
      expect(rig.io.takeSent(2)).toHaveLength(turns === 0 ? 0 : 1);
    }
    expect(rig.openFlows).toBe(1);
    expect(waits.slice(1, turns - 1).every((timeoutMs) => timeoutMs === 0)).toBe(true);
    for (let more = 0; more < 50; more++) rig.forwarder.breath(250);
    expect(waits.at(-1)).toBe(250);
    expect(rig.uplinkCounters(0).cut).toBe(opened);
  });
});

test("as many connections as there are end in some turns, none forgotten for want of slots", () => {
  const rig = new Rig({ ...links, flows: 2000, flowsPerHost: 2000, lastPort: 40_000, scratchSlots: 8 });
  const connections = 500;
  for (let port = 1; port <= connections; port++) {
    const ends = { source: `${client}:${port}`, destination: `${server}:80` };
    const { sourcePort } = rig.outOne(tcp({ ...ends, flags: SYN, sequence: port }));
    const outside = `${uplinkAddresses[0]}:${sourcePort}`;
    const numbers = { sequence: 1000 * port, acknowledgment: port + 1 };
    rig.inOne(tcp({ source: `${server}:80`, destination: outside, flags: SYN | ACK, ...numbers }));
  }
  cutAll(rig);
  for (let turns = 0; turns < 100; turns++) rig.forwarder.breath(0);
  const resets = rig.left(-1).map(resetOf);
  expect(resets).toHaveLength(connections);
  expect(new Set(resets.map(({ sequence }) => sequence)).size).toBe(connections);
  expect(rig.left(0)).toHaveLength(connections);
  checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
});
