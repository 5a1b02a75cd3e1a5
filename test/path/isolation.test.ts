/**
 * One host cannot take from the others: flows that nobody has answered give way first, and rather those of
 * whoever has the most of them. Tables here are so small that a flood fills them many times over.
 */
import { describe, expect, test } from "vitest";
import { tcpState } from "../../src/dataplane/tcp-state.ts";
import { ACK, FIN, pattern, RST, randomFrom, SYN, tcp, udp } from "../support/packets.ts";
import { answerAll } from "./answers.ts";
import { Connection } from "./connection.ts";
import { client, firstPort, otherClient, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const flooder = "192.168.10.66";

/** Opens a connection, with a round trip in which others send `meanwhile`; whether all of it came through. */
function connects(rig: Rig, source: string, destination: string, meanwhile: () => void): boolean {
  const left = rig.out(tcp({ source, destination, flags: SYN })).find(({ flags }) => flags === SYN);
  if (left === undefined) return false;
  const outside = `${left.source}:${left.sourcePort}`;
  meanwhile();
  const answer = tcp({ source: destination, destination: outside, flags: SYN | ACK, sequence: 300, acknowledgment: 2 });
  if (rig.in(answer).length !== 1) return false;
  const segment = { source, destination, sequence: 2, acknowledgment: 301 };
  return rig.out(tcp({ ...segment, flags: ACK })).length === 1;
}

function flood(rig: Rig, count: number, packet: (i: number) => Uint8Array, from = 0): void {
  for (let i = from; i < from + count; i++) rig.injectInside(packet(i));
  rig.run();
  rig.left(0);
  rig.left(-1);
}

const spray = (i: number) =>
  tcp({ source: `${flooder}:${1 + (i % 65_000)}`, destination: `192.0.2.${1 + (i % 200)}:80`, flags: SYN });
const hammer = (i: number) =>
  tcp({ source: `${flooder}:${1 + (i % 65_000)}`, destination: `${server}:80`, flags: SYN });
const datagrams = (i: number) => udp({ source: `${flooder}:${1 + (i % 65_000)}`, destination: `${server}:53` });

describe.each<[string, RigOptions, (i: number) => Uint8Array]>([
  ["SYNs to many hosts, which fill the table", { flows: 500, flowsPerHost: 500 }, spray],
  ["SYNs to the host that others want, which take all ports", { flows: 500, lastPort: firstPort + 199 }, hammer],
  ["SYNs up to the flooder's share", { flows: 1000, flowsPerHost: 200 }, spray],
  ["datagrams that nobody answers", { flows: 500, flowsPerHost: 500 }, datagrams],
])("a flood of ten times the table's size: %s", (_, options, packet) => {
  test("costs the other hosts no flow and no new connection", () => {
    const rig = new Rig(options);
    const { flows = 0 } = options;
    /** Connections of before, which have both ends' word. */
    const before = Array.from({ length: 20 }, (_, i) => ({
      tcp: connects(rig, `${otherClient}:${7000 + i}`, `${server}:80`, () => {}),
      udp: rig.outOne(udp({ source: `${otherClient}:${7000 + i}`, destination: `${server}:53` })),
    }));
    answerAll(rig);
    const open = rig.openFlows;
    expect(open).toBe(40);

    let opened = 0;
    let sent = 0;
    const round = flows / 10;
    for (let i = 0; i < 100; i++) {
      const ok = connects(rig, `${client}:${5000 + i}`, `${server}:80`, () => {
        flood(rig, round, packet, sent);
        sent += round;
      });
      if (ok) opened++;
      rig.nowMs += 5;
    }
    expect(sent).toBe(flows * 10);
    expect(opened, JSON.stringify(rig.drops)).toBeGreaterThanOrEqual(99);

    for (const [i, each] of before.entries()) {
      expect(each.tcp).toBe(true);
      const data = { source: `${otherClient}:${7000 + i}`, destination: `${server}:80`, data: pattern(10) };
      expect(rig.out(tcp({ ...data, flags: ACK, sequence: 2, acknowledgment: 301 }))).toHaveLength(1);
      const answer = udp({ source: `${server}:53`, destination: `${mapped}:${each.udp.sourcePort}` });
      expect(rig.inOne(answer)).toMatchObject({ destination: otherClient, destinationPort: 7000 + i });
    }
  });
});

describe("when a host has its share of flows", () => {
  test("its own oldest unanswered one gives way, and none that is answered", () => {
    const rig = new Rig({ flowsPerHost: 4 });
    const datagram = (port: number, source = client) =>
      udp({ source: `${source}:${port}`, destination: `${server}:53` });
    for (const port of [1, 2]) rig.outOne(datagram(port));
    answerAll(rig);
    const [third, fourth] = [3, 4].map((port) => rig.outOne(datagram(port)).sourcePort);
    rig.outOne(datagram(1, otherClient));
    rig.outOne(datagram(5));
    expect(rig.openFlows).toBe(5);
    const answer = (port: number) => rig.in(udp({ source: `${server}:53`, destination: `${mapped}:${port}` }));
    expect(answer(third!), "the oldest").toHaveLength(0);
    expect(answer(fourth!)).toHaveLength(1);
    rig.outOne(datagram(6));
    expect(rig.out(datagram(7)), "6 gave way to 7").toHaveLength(1);
    answerAll(rig);
    expect(rig.out(datagram(8))).toHaveLength(0);
    expect(rig.drops).toMatchObject({ "host-flow-limit": 1 });
  });
});

test("visitors that never complete a handshake take no more than the share of the host that they ask for", () => {
  const forwards = [{ uplinks: 1, protocol: 6, firstPort: 80, lastPort: 80, to: 0xc0a8_0a02 | 0, toPort: 80 }];
  const rig = new Rig({ flows: 400, flowsPerHost: 100, forwards });
  const random = randomFrom(3);
  for (let i = 0; i < 4000; i++) {
    const source = `198.18.${Math.floor(random() * 250)}.${1 + Math.floor(random() * 250)}:${1 + i}`;
    rig.injectUplink(0, tcp({ source, destination: `${mapped}:80`, flags: SYN }));
    if (i % 30 === 0) rig.run();
  }
  rig.run();
  rig.left(-1);
  expect(rig.openFlows).toBeLessThanOrEqual(100);
  expect(
    connects(rig, `${client}:5000`, `${server}:80`, () => {}),
    "and it can open its own",
  ).toBe(true);
  expect(connects(rig, `${otherClient}:5000`, `${server}:80`, () => {})).toBe(true);
});

describe("a RST in the window that the host ignores", () => {
  test("leaves a flow that others do not get, however short ports are, and that goes on when its remote does", () => {
    const connection = Connection.open({ lastPort: firstPort + 3, flows: 8 });
    const { rig } = connection;
    expect(connection.answer({ flags: RST, ahead: 700 })).toBeDefined();
    expect(connection.state).toBe("reset");
    // The others of its size find a port, each by that of the connection before it.
    for (let port = 1; port < 40; port++) {
      const segment = { source: `${otherClient}:${port}`, destination: `${server}:80` };
      expect(rig.out(tcp({ ...segment, flags: SYN }))).toHaveLength(1);
      rig.out(tcp({ ...segment, flags: RST, sequence: 2 }));
    }
    expect(connection.send({ data: pattern(100) })).toBeDefined();
    expect(connection.state, "the host's own word is not its remote's").toBe("reset");
    expect(connection.answer({ data: pattern(50) })).toBeDefined();
    expect(connection.state).toBe("established");
    rig.pass(7_000_000);
    expect(connection.send({ data: pattern(100) })).toBeDefined();
    expect(connection.answer({ flags: FIN | ACK })).toBeDefined();
    expect(connection.state).toBe("close-wait");
  });

  test("is over at once when the host resets it as well, and may begin anew", () => {
    const connection = Connection.open();
    connection.answer({ flags: RST });
    connection.send({ flags: RST });
    expect(connection.state).toBe("closed");
    const again = Connection.open();
    again.answer({ flags: RST });
    again.inside.next += 500_000;
    expect(again.send({ flags: SYN })).toBeDefined();
    expect(again.state).toBe("syn-sent");
    expect(again.answer({ flags: SYN | ACK })).toBeDefined();
    again.send();
    expect(again.state).toBe("established");
  });

  test("gives way in the end, before anything is refused", () => {
    const connection = Connection.open({ flows: 2 });
    const { rig } = connection;
    connection.answer({ flags: RST });
    const segment = (port: number) => udp({ source: `${otherClient}:${port}`, destination: `${server}:53` });
    const { sourcePort } = rig.outOne(segment(1));
    rig.inOne(udp({ source: `${server}:53`, destination: `${mapped}:${sourcePort}` }));
    expect(rig.out(segment(2))).toHaveLength(1);
    expect(rig.forwarder.conntrack.state(1)).not.toBe(tcpState.reset);
    expect(rig.drops).toEqual({});
  });
});
