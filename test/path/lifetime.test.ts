/** How long a flow lives: its timeouts, the states of TCP, and clocks that wrap. */
import { describe, expect, test } from "vitest";
import { ACK, echo, FIN, pattern, RST, SYN, tcp, udp } from "../support/packets.ts";
import { client, otherServer, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const source = `${client}:5000`;
const destination = `${server}:80`;

/** A TCP connection that a test drives segment by segment. */
class Connection {
  readonly rig: Rig;
  readonly port: number;

  constructor(rig: Rig, states: "syn" | "established" = "established") {
    this.rig = rig;
    this.port = rig.outOne(tcp({ source, destination, flags: SYN })).sourcePort;
    if (states === "syn") return;
    this.back(SYN | ACK);
    this.out(ACK);
  }

  out(flags: number): number {
    return this.rig.out(tcp({ source, destination, flags })).length;
  }

  back(flags: number, sequence = 1): number {
    return this.rig.in(tcp({ source: destination, destination: `${mapped}:${this.port}`, flags, sequence })).length;
  }

  close(): this {
    this.out(FIN | ACK);
    this.back(FIN | ACK);
    this.out(ACK);
    return this;
  }
}

/** Lets `ms` minus a moment pass, and then the moment and a second of grace. */
function expectToLive(rig: Rig, ms: number): void {
  rig.pass(ms - 1);
  expect(rig.openFlows, `just before ${ms} ms`).toBe(1);
  rig.pass(1001);
  expect(rig.openFlows, `a second after ${ms} ms`).toBe(0);
}

describe.each([1000, 0, 123_456_789])("with a clock that starts at %i ms", (startMs) => {
  test("a UDP flow lives for its timeout after the last packet, from either side", () => {
    const rig = new Rig({ startMs });
    const left = rig.outOne(udp({ source, destination: `${server}:53` }));
    rig.pass(299_000);
    rig.outOne(udp({ source, destination: `${server}:53` }));
    rig.pass(299_000);
    rig.inOne(udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}` }));
    expectToLive(rig, 300_000);
  });

  test("a ping's flow lives for its timeout", () => {
    const rig = new Rig({ startMs });
    rig.outOne(echo({ source: client, destination: server }));
    expectToLive(rig, 60_000);
  });

  test("an unanswered SYN lives for the transitory timeout", () => {
    const { rig } = new Connection(new Rig({ startMs }), "syn");
    expectToLive(rig, 240_000);
  });

  test("an established connection lives for hours", () => {
    const { rig } = new Connection(new Rig({ startMs }));
    expectToLive(rig, 7_440_000);
  });

  test("an established connection that is used once an hour never ends", () => {
    const connection = new Connection(new Rig({ startMs }));
    for (let hour = 0; hour < 48; hour++) {
      connection.rig.pass(3_600_000);
      expect(hour % 2 === 0 ? connection.out(ACK) : connection.back(ACK), `hour ${hour}`).toBe(1);
    }
  });

  test.each([
    ["the inside", (connection: Connection) => connection.out(FIN | ACK)],
    ["the remote", (connection: Connection) => connection.back(FIN | ACK)],
  ])("a connection that %s has half closed may go on for hours", (_, half) => {
    const connection = new Connection(new Rig({ startMs }));
    half(connection);
    expectToLive(connection.rig, 7_440_000);
  });

  test("a connection whose two FINs were seen lives for the transitory timeout, acknowledged or not", () => {
    const unacknowledged = new Connection(new Rig({ startMs }));
    unacknowledged.back(FIN | ACK);
    unacknowledged.out(FIN | ACK);
    expectToLive(unacknowledged.rig, 240_000);
    expectToLive(new Connection(new Rig({ startMs })).close().rig, 240_000);
  });

  test.each([
    ["the inside", (connection: Connection) => connection.out(RST)],
    ["the remote", (connection: Connection) => connection.back(RST | ACK)],
  ])(
    "a connection that %s has reset stays for the transitory timeout, so that a forged reset ends nothing at once",
    (_, reset) => {
      const connection = new Connection(new Rig({ startMs }));
      reset(connection);
      expect(connection.out(ACK)).toBe(1);
      expectToLive(connection.rig, 240_000);
    },
  );

  test("a connection that somebody has reset in the remote's name is open again when the remote goes on", () => {
    const connection = new Connection(new Rig({ startMs }));
    connection.back(RST | ACK);
    expect(connection.back(ACK)).toBe(1);
    expectToLive(connection.rig, 7_440_000);
  });
});

describe("a connection that is over", () => {
  test.each([
    ["busy", 1],
    ["sent what is out of its window", 0x7000_0000],
  ])("does not keep those behind it from ending by being %s", (_, sequence) => {
    const rig = new Rig();
    const busy = new Connection(rig).close();
    for (let port = 1; port <= 20; port++) {
      rig.out(tcp({ source: `${client}:${port}`, destination, flags: SYN }));
      rig.out(tcp({ source: `${client}:${port}`, destination, flags: RST }));
    }
    expect(rig.openFlows).toBe(21);
    for (let minute = 0; minute < 6; minute++) {
      rig.pass(60_000);
      expect(busy.back(ACK, sequence)).toBe(1);
    }
    expect(rig.openFlows).toBe(1);
    rig.pass(241_000);
    expect(rig.openFlows).toBe(0);
  });

  test("is opened again by a SYN of the inside, on the same port", () => {
    const connection = new Connection(new Rig()).close();
    const again = connection.rig.outOne(tcp({ source, destination, flags: SYN }));
    expect(again.sourcePort).toBe(connection.port);
    expect(connection.rig.openFlows).toBe(1);
    connection.back(SYN | ACK);
    connection.out(ACK);
    expectToLive(connection.rig, 7_440_000);
  });

  test("is not opened again by a SYN of the remote", () => {
    const connection = new Connection(new Rig()).close();
    connection.back(SYN);
    connection.back(SYN | ACK);
    connection.out(ACK);
    expectToLive(connection.rig, 240_000);
  });

  test("lets a new connection to another remote have the same port, endpoint-independent", () => {
    const connection = new Connection(new Rig()).close();
    const next = connection.rig.outOne(tcp({ source, destination: `${otherServer}:80`, flags: SYN }));
    expect(next.sourcePort).toBe(connection.port);
  });

  test("opened again is not taken for one to recycle", () => {
    const rig = new Rig({ flows: 1 });
    const connection = new Connection(rig).close();
    connection.out(SYN);
    connection.back(SYN | ACK);
    connection.out(ACK);
    expect(rig.out(tcp({ source: `${client}:1`, destination, flags: SYN }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "flow-table-full": 1 });
  });
});

test("a simultaneous open is let through and established (RFC 5382, REQ-2)", () => {
  const connection = new Connection(new Rig(), "syn");
  expect(connection.back(SYN)).toBe(1);
  expect(connection.out(SYN | ACK)).toBe(1);
  expect(connection.back(SYN | ACK)).toBe(1);
  expect(connection.out(ACK)).toBe(1);
  expectToLive(connection.rig, 7_440_000);
});

test("many flows that end in one second end a bounded number at a time, and all of them", () => {
  const rig = new Rig({ flows: 1024, receiveSlots: 1000 });
  rig.out(Array.from({ length: 1000 }, (_, i) => udp({ source: `${client}:${1 + i}`, destination: `${server}:53` })));
  expect(rig.openFlows).toBe(1000);
  rig.nowMs += 301_000;
  rig.forwarder.breath(0);
  expect(rig.openFlows).toBe(1000 - 256);
  for (let breath = 0; breath < 3; breath++) rig.forwarder.breath(0);
  expect(rig.openFlows).toBe(0);
});

describe.each([
  ["31 bits of milliseconds, 24.8 days", 2 ** 31],
  ["32 bits, 49.7 days", 2 ** 32],
])("when the clock passes %s", (_, wrapMs) => {
  const around: RigOptions = { startMs: wrapMs - 100_000 };

  test("flows live and end as on any other day", () => {
    const rig = new Rig(around);
    const left = rig.outOne(udp({ source, destination: `${server}:53` }));
    rig.pass(200_000);
    expect(rig.openFlows).toBe(1);
    rig.inOne(udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}` }));
    expectToLive(rig, 300_000);
  });

  test("closed connections end after their time, and not before", () => {
    expectToLive(new Connection(new Rig(around)).close().rig, 240_000);
  });

  test("a fragment that waits still meets its first", () => {
    const rig = new Rig({ startMs: wrapMs - 10_000, mtu: 576 });
    const pieces = rig.out(udp({ source, destination: `${server}:53`, data: pattern(1400) }));
    const answers = pieces.map((piece) => piece.bytes);
    expect(answers).toHaveLength(3);
    rig.pass(20_000);
    expect(rig.drops).toEqual({});
  });
});

test("a machine that slept for a week wakes up without its old flows", () => {
  const rig = new Rig();
  const connection = new Connection(rig);
  for (let port = 1; port < 100; port++) rig.outOne(udp({ source: `${client}:${port}`, destination: `${server}:53` }));
  rig.pass(7 * 86_400_000);
  expect(rig.openFlows).toBe(0);
  expect(connection.back(ACK)).toBe(0);
  rig.outOne(udp({ source, destination: `${server}:53` }));
  expectToLive(rig, 300_000);
});
