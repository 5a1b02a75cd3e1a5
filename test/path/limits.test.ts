/** What happens when something runs out: rows, a host's share, ports. Existing flows live on, and every refusal is counted. */
import { describe, expect, test } from "vitest";
import { counter } from "../../src/tables/shared-state.ts";
import { ACK, echo, FIN, RST, SYN, tcp, udp } from "../support/packets.ts";
import { answerAll } from "./answers.ts";
import { client, firstPort, type Left, otherClient, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
/** A range this small is all in use at once. */
const ports = (count: number): RigOptions => ({ lastPort: firstPort + count - 1 });

function syn(rig: Rig, port: number, remote = `${server}:80`, inside = client): Left | undefined {
  return rig.out(tcp({ source: `${inside}:${port}`, destination: remote, flags: SYN }))[0];
}

/** Opens a connection and closes it by a reset from the inside; returns its outside port. */
function openAndReset(rig: Rig, port: number, remote = `${server}:80`, inside = client): number {
  const left = syn(rig, port, remote, inside)!;
  rig.out(tcp({ source: `${inside}:${port}`, destination: remote, flags: RST }));
  return left.sourcePort;
}

function datagram(rig: Rig, port: number, remote = `${server}:53`, inside = client): Left | undefined {
  return rig.out(udp({ source: `${inside}:${port}`, destination: remote }))[0];
}

describe("a full flow table", () => {
  test("refuses new flows by name, and those it has go on", () => {
    const rig = new Rig({ flows: 4 });
    const before = [1, 2, 3, 4].map((port) => datagram(rig, port)!.sourcePort);
    answerAll(rig);
    expect(datagram(rig, 5)).toBeUndefined();
    expect(rig.drops).toEqual({ "flow-table-full": 1 });
    expect([1, 2, 3, 4].map((port) => datagram(rig, port)!.sourcePort)).toEqual(before);
    expect(rig.counter(counter.flowsOpened)).toBe(4);
  });

  test("takes the row of the connection that has been over longest", () => {
    const rig = new Rig({ flows: 3 });
    for (const port of [1, 2, 3]) syn(rig, port);
    for (const port of [2, 1]) rig.out(tcp({ source: `${client}:${port}`, destination: `${server}:80`, flags: RST }));
    expect(datagram(rig, 9)).toBeDefined();
    expect(rig.openFlows).toBe(3);
    const rst = (port: number) =>
      rig.out(tcp({ source: `${client}:${port}`, destination: `${server}:80`, flags: RST }));
    expect(rst(1), "still there").toHaveLength(1);
    expect(rst(3), "still there").toHaveLength(1);
    expect(rst(2), "was over first").toHaveLength(0);
  });

  test("has room again when flows have timed out", () => {
    const rig = new Rig({ flows: 2 });
    datagram(rig, 1);
    datagram(rig, 2);
    rig.pass(301_000);
    expect(datagram(rig, 3)).toBeDefined();
    expect(rig.openFlows).toBe(1);
  });
});

describe("one host", () => {
  test("has no more than its share of flows, and the others are not touched", () => {
    const rig = new Rig({ flowsPerHost: 3 });
    for (const port of [1, 2, 3]) datagram(rig, port);
    answerAll(rig);
    expect(datagram(rig, 4)).toBeUndefined();
    expect(rig.drops).toEqual({ "host-flow-limit": 1 });
    expect(datagram(rig, 1)).toBeDefined();
    expect(datagram(rig, 4, `${server}:53`, otherClient)).toBeDefined();
    rig.pass(301_000);
    expect(datagram(rig, 4)).toBeDefined();
  });

  test("is not held back by connections that are over: short ones follow each other for as long as it likes", () => {
    const rig = new Rig({ flowsPerHost: 10 });
    for (let port = 1; port <= 100; port++) openAndReset(rig, port);
    expect(rig.drops).toEqual({});
  });

  test("is counted once for a connection that comes back to life", () => {
    const rig = new Rig({ flowsPerHost: 2 });
    openAndReset(rig, 1);
    syn(rig, 1);
    openAndReset(rig, 1);
    syn(rig, 1);
    syn(rig, 2);
    answerAll(rig);
    expect(syn(rig, 3)).toBeUndefined();
    expect(rig.drops).toEqual({ "host-flow-limit": 1 });
    rig.pass(7_441_000);
    expect(rig.openFlows).toBe(0);
    expect([syn(rig, 1), syn(rig, 2)]).not.toContain(undefined);
    answerAll(rig);
    expect(syn(rig, 3)).toBeUndefined();
  });
});

describe("ports", () => {
  test("of UDP are never shared: the next endpoint is refused by name", () => {
    const rig = new Rig(ports(3));
    const used = [1, 2, 3].map((port) => datagram(rig, port)!.sourcePort);
    answerAll(rig);
    expect(new Set(used).size).toBe(3);
    expect(datagram(rig, 4, "192.0.2.44:53")).toBeUndefined();
    expect(rig.drops).toEqual({ "no-port": 1 });
    expect(datagram(rig, 1, "192.0.2.44:53")!.sourcePort).toBe(used[0]);
    rig.pass(301_000);
    expect(datagram(rig, 4)).toBeDefined();
  });

  test("of TCP, UDP and ping are apart, and of each uplink", () => {
    const rig = new Rig({ ...ports(1), links: [14, 14] });
    for (const uplink of [0, 1]) {
      rig.steerTo(uplink);
      const source = `${client}:${10 + uplink}`;
      expect(rig.outOne(udp({ source, destination: `${server}:53` }), uplink).sourcePort).toBe(firstPort);
      expect(rig.outOne(tcp({ source, destination: `${server}:80`, flags: SYN }), uplink).sourcePort).toBe(firstPort);
      expect(
        rig.outOne(echo({ source: client, destination: server, identifier: 10 + uplink }), uplink).identifier,
      ).toBe(firstPort);
    }
  });

  test("of TCP: first an unused one, then that of the connection closed longest ago, and its flow ends", () => {
    const rig = new Rig(ports(4));
    const [a, b, c] = [openAndReset(rig, 1), openAndReset(rig, 2), openAndReset(rig, 3)];
    const unused = syn(rig, 4)!.sourcePort;
    expect([a, b, c]).not.toContain(unused);
    expect([syn(rig, 5)!.sourcePort, syn(rig, 6)!.sourcePort, syn(rig, 7)!.sourcePort]).toEqual([a, b, c]);
    expect(rig.openFlows).toBe(4);
    const late = tcp({ source: `${server}:80`, destination: `${mapped}:${a}`, flags: ACK });
    expect(rig.inOne(late)).toMatchObject({ destinationPort: 5 });
  });

  test("of TCP are shared by flows to different remotes once none is left, and each answer finds its own", () => {
    const rig = new Rig(ports(2));
    const remotes = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"];
    const opened = remotes.flatMap((remote) => [1, 2].map((port) => ({ remote, left: syn(rig, port + 10, remote) })));
    const more = remotes.map((remote) => ({ remote, left: syn(rig, 30, remote) }));
    // Endpoints 11 and 12 hold a port each towards all three remotes; endpoint 30 finds none towards any.
    expect(opened.map(({ left }) => left)).not.toContain(undefined);
    expect(more.map(({ left }) => left)).toEqual([undefined, undefined, undefined]);
    expect(rig.drops).toEqual({ "no-port": 3 });
    expect(rig.left(-1), "one error each").toHaveLength(3);
    const other = syn(rig, 30, "192.0.2.4:80")!;
    expect([firstPort, firstPort + 1]).toContain(other.sourcePort);
    const answer = (remote: string, port: number) =>
      rig.inOne(tcp({ source: remote, destination: `${mapped}:${port}`, flags: SYN | ACK })).destinationPort;
    expect(answer("192.0.2.4:80", other.sourcePort)).toBe(30);
    for (const { remote, left } of opened) expect([11, 12]).toContain(answer(remote, left!.sourcePort));
  });

  test("no two flows ever have the same reply tuple, however hard ports are fought for", () => {
    const rig = new Rig({ ...ports(5), flows: 400, seed: 7 });
    const owners = new Map<string, string>();
    for (let i = 0; i < 3000; i++) {
      const remote = `192.0.2.${1 + (i % 7)}:80`;
      const inside = 1 + ((i * 7919) % 61);
      const left = syn(rig, inside, remote);
      if (left === undefined) {
        // The refusal's error, unless there have been too many.
        rig.left(-1);
        continue;
      }
      owners.set(`${remote} ${left.sourcePort}`, `${client}:${inside}`);
      if (i % 5 === 0) rig.out(tcp({ source: `${client}:${inside}`, destination: remote, flags: RST }));
      const answer = tcp({ source: remote, destination: `${mapped}:${left.sourcePort}`, flags: ACK });
      expect(rig.inOne(answer).destinationPort).toBe(inside);
    }
    for (const [tuple, owner] of owners) {
      const [remote, port] = tuple.split(" ");
      const [arrived] = rig.in(tcp({ source: remote!, destination: `${mapped}:${port}`, flags: ACK }));
      if (arrived !== undefined) expect(`${arrived.destination}:${arrived.destinationPort}`).toBe(owner);
    }
  });

  test("rest as long as possible: one that is released is the last to be used again", () => {
    const rig = new Rig(ports(8));
    const first = datagram(rig, 1)!.sourcePort;
    rig.pass(301_000);
    const next = Array.from({ length: 8 }, (_, i) => datagram(rig, 10 + i)!.sourcePort);
    expect(next.indexOf(first)).toBe(7);
  });

  test("come in an order that the seed decides and nobody can guess", () => {
    const order = (seed: number) => {
      const rig = new Rig({ seed, ...ports(64) });
      return Array.from({ length: 64 }, (_, i) => datagram(rig, 1 + i)!.sourcePort);
    };
    expect(order(1)).toEqual(order(1));
    expect(order(1)).not.toEqual(order(2));
    const sorted = order(1).toSorted((a, b) => a - b);
    expect(sorted).toEqual(Array.from({ length: 64 }, (_, i) => firstPort + i));
    expect(order(1)).not.toEqual(sorted);
  });

  test("ten thousand short connections a second last for ten minutes on 16,384 ports", () => {
    // A thousandth of it: 10 connections a second on 16 ports, each closed before the next one opens.
    const rig = new Rig({ ...ports(16), flows: 40, flowsPerHost: 40 });
    for (let second = 0; second < 600; second++) {
      for (let i = 0; i < 10; i++) {
        const port = 1024 + second * 10 + i;
        const left = syn(rig, port);
        if (left === undefined) throw new Error(`second ${second}: ${JSON.stringify(rig.drops)}`);
        const segment = (flags: number) => tcp({ source: `${client}:${port}`, destination: `${server}:80`, flags });
        const answer = (flags: number) =>
          tcp({ source: `${server}:80`, destination: `${mapped}:${left.sourcePort}`, flags });
        rig.in(answer(SYN | ACK));
        rig.out([segment(ACK), segment(FIN | ACK)]);
        rig.in(answer(FIN | ACK));
        rig.out(segment(ACK));
      }
      rig.pass(1000);
    }
    expect(rig.drops).toEqual({});
  });
});

test("a send queue that is full drops by name", () => {
  // Every slot holds one packet and every queue every slot, so only a broken device can fill it.
  const rig = new Rig();
  rig.run();
  const device = rig.io.devices[1]!;
  rig.injectInside(udp({ source: `${client}:1`, destination: `${server}:53` }));
  const turn = rig.io.turn.bind(rig.io);
  rig.io.turn = (timeoutMs) => {
    const received = turn(timeoutMs);
    device.counts[1] = device.sendStart.length;
    return received;
  };
  rig.forwarder.breath(0);
  device.counts[1] = 0;
  expect(rig.drops).toEqual({ "send-queue-full": 1 });
});
