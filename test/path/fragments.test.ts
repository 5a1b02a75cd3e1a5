/** Packets that are cut here, and fragments that come as such, in whatever order (RFC 791; RFC 4787, REQ-14). */
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { vnetBytes } from "../../src/tables/packet-memory.ts";
import {
  ACK,
  echo,
  fragmentsOf,
  type IpFields,
  ip,
  parse,
  partialVnet,
  pattern,
  reassemble,
  SYN,
  tcp,
  UDP,
  udp,
  words,
} from "../support/packets.ts";
import {
  client,
  linkHeader,
  openWorkers,
  otherClient,
  otherServer,
  Rig,
  type RigOptions,
  server,
  uplinkAddresses,
} from "./rig.ts";

const mapped = uplinkAddresses[0]!;

function question(fields: { port?: number; bytes?: number; identification?: number } = {}): Uint8Array {
  const { port = 5000, bytes = 4000, identification = 7 } = fields;
  return udp({ source: `${client}:${port}`, destination: `${server}:53`, data: pattern(bytes), identification });
}

describe("a packet without DF that is too long for its uplink", () => {
  test.each([
    [14, 1500],
    [0, 1500],
    [14, 576],
    [14, 1280],
    [14, 68],
  ])("is cut into fragments that make up the same packet (MAC header %i bytes, MTU %i)", (linkBytes, mtu) => {
    const rig = new Rig({ links: [linkBytes], mtu, scratchSlots: 128 });
    const pieces = rig.out(question());
    expect(pieces.length).toBe(Math.ceil(4008 / ((mtu - 20) & ~7)));
    for (const piece of pieces) {
      expect(piece.bytes.length).toBeLessThanOrEqual(mtu);
      expect(piece.ethernet).toEqual(linkHeader(0).slice(0, linkBytes));
      expect(piece.vnet).toMatchObject({ flags: 0, gsoType: 0, checksumStart: 0 });
    }
    const whole = parse(reassemble(pieces.map((piece) => piece.bytes)));
    expect(whole).toMatchObject({ source: mapped, destination: server, checksumOk: true });
    expect(whole.data).toEqual(pattern(4000));
  });

  test("has its partial checksum finished, since no card could finish that of a fragment", () => {
    const rig = new Rig();
    for (const bytes of [1473, 1474, 2000, 4001]) {
      const packet = udp({
        source: `${client}:1`,
        destination: `${server}:53`,
        data: pattern(bytes),
        checksum: "partial",
      });
      const pieces = rig.out(packet, 0, partialVnet(packet));
      const whole = parse(reassemble(pieces.map((piece) => piece.bytes)));
      expect(whole).toMatchObject({ checksumOk: true, data: pattern(bytes) });
      expect(whole.checksum).not.toBe(0);
    }
    const syn = { source: `${client}:1`, destination: `${server}:80` };
    rig.out(tcp({ ...syn, flags: SYN }));
    const segment = tcp({ ...syn, data: pattern(3000), checksum: "partial", tcpOptions: pattern(12) });
    const pieces = rig.out(segment, 0, partialVnet(segment));
    expect(parse(reassemble(pieces.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
  });

  test("may itself be a fragment: its pieces fit in where it stood", () => {
    const rig = new Rig({ mtu: 576 });
    const pieces = rig.out(fragmentsOf(question(), 1480));
    const whole = parse(reassemble(pieces.map((piece) => piece.bytes)));
    expect(whole).toMatchObject({ checksumOk: true, data: pattern(4000), source: mapped });
  });

  test("is dropped when the slots for its pieces run out", () => {
    const rig = new Rig({ mtu: 576, scratchSlots: 3 });
    rig.out(question());
    expect(rig.drops).toEqual({ "out-of-slots": 1 });
  });
});

test("a later fragment with DF, or with options, that is too long for its uplink is dropped without an error", () => {
  const rig = new Rig({ mtu: 1400 });
  const whole = parse(question({ bytes: 5000 }));
  const piece = (fields: Partial<IpFields>, from: number, to: number) =>
    ip({ ...whole, ...fields, offset: from, moreFragments: to < 5008, payload: whole.payload.slice(from, to) });
  rig.out(piece({}, 0, 1200));
  expect(rig.out(piece({ dontFragment: true }, 1200, 2680))).toHaveLength(0);
  expect(rig.out(piece({ options: Uint8Array.of(1, 1, 1, 1) }, 2680, 4160))).toHaveLength(0);
  expect(rig.drops).toEqual({ "too-big": 2 });
  expect(rig.left(-1)).toHaveLength(0);
  expect(rig.out(piece({}, 4160, 5008))).toHaveLength(1);
});

/** Both directions see the same rules; `send` brings fragments in and returns what leaves on the other side. */
const directions = {
  outbound: () => {
    const rig = new Rig();
    const build = (identification: number, data = pattern(4000)) =>
      udp({ source: `${client}:5000`, destination: `${server}:53`, data, identification });
    return {
      rig,
      build,
      send: (pieces: Uint8Array[]) => rig.out(pieces),
      moved: { source: mapped, destination: server },
    };
  },
  inbound: () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const build = (identification: number, data = pattern(4000)) =>
      udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data, identification });
    return {
      rig,
      build,
      send: (pieces: Uint8Array[]) => rig.in(pieces),
      moved: { source: server, destination: client },
    };
  },
} as const;

describe.each(Object.entries(directions))("%s fragments", (_, open) => {
  test("follow the mapping of their first, and make up the translated packet", () => {
    const { build, send, moved } = open();
    const left = send(fragmentsOf(build(1), 1480));
    expect(left).toHaveLength(3);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({
      ...moved,
      checksumOk: true,
      data: pattern(4000),
    });
  });

  test("wait for their first when they come before it", () => {
    const { rig, build, send } = open();
    const [first, second, third] = fragmentsOf(build(1), 1480);
    expect(send([third!, second!])).toHaveLength(0);
    const left = send([first!]);
    expect(left[0]!.offset).toBe(0);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
    expect(rig.drops).toEqual({});
  });

  test("come out whole in any order, many packets mixed", () => {
    const shuffled = fc.shuffledSubarray(
      [1, 2, 3, 4].flatMap((datagram) => [0, 1, 2].map((piece) => ({ datagram, piece }))),
      { minLength: 12 },
    );
    fc.assert(
      fc.property(shuffled, (order) => {
        const { rig, build, send } = open();
        const pieces = [1, 2, 3, 4].map((datagram) => fragmentsOf(build(datagram, pattern(3000, datagram)), 1480));
        const left = order.flatMap(({ datagram, piece }) => send([pieces[datagram - 1]![piece]!]));
        // Outbound ones have a new identification, by which alone the other end can sort them.
        const datagrams = Map.groupBy(left, ({ identification }) => identification);
        const wholes = [...datagrams.values()].map((own) => parse(reassemble(own.map(({ bytes }) => bytes))));
        expect(wholes.map(({ checksumOk }) => checksumOk)).toEqual([true, true, true, true]);
        const sent = [1, 2, 3, 4].map((datagram) => Buffer.from(pattern(3000, datagram)).toString("hex"));
        expect(wholes.map(({ data }) => Buffer.from(data).toString("hex")).sort()).toEqual(sent.sort());
        expect(rig.drops).toEqual({});
      }),
      { numRuns: 60 },
    );
  });

  test("of a ping and of TCP are translated like those of UDP", () => {
    const rig = new Rig();
    const ping = echo({ source: client, destination: server, identifier: 3, data: pattern(3000) });
    const asked = parse(reassemble(rig.out(fragmentsOf(ping, 1480)).map((piece) => piece.bytes)));
    expect(asked).toMatchObject({ source: mapped, checksumOk: true, data: pattern(3000) });
    const { identifier } = asked;
    const reply = echo({ source: server, destination: mapped, type: 0, identifier, data: pattern(3000) });
    const arrived = rig.in(fragmentsOf(reply, 1480).reverse());
    expect(parse(reassemble(arrived.map((piece) => piece.bytes)))).toMatchObject({
      destination: client,
      identifier: 3,
      checksumOk: true,
    });
    rig.out(tcp({ source: `${client}:9`, destination: `${server}:80`, flags: SYN }));
    const segment = tcp({ source: `${client}:9`, destination: `${server}:80`, flags: ACK, data: pattern(2500) });
    const sent = rig.out(fragmentsOf(segment, 1480));
    expect(parse(reassemble(sent.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
  });

  test("with another identification, protocol or host are not taken for the first's", () => {
    const { rig, build, send } = open();
    const [first, second] = fragmentsOf(build(1), 1480);
    send([first!]);
    const stranger = (fields: Partial<IpFields>) => ip({ ...parse(second!), ...fields });
    const strangers = [
      stranger({ identification: 2 }),
      stranger({ protocol: 6 }),
      stranger({ source: "192.0.2.99" }),
      stranger({ destination: "192.0.2.98" }),
    ];
    expect(send(strangers)).toHaveLength(0);
    rig.pass(31_000);
    expect(rig.drops).toEqual({ "fragment-timed-out": 4 });
  });

  test("that wait are forgotten after 30 seconds, and counted", () => {
    const { rig, build, send } = open();
    const [first, second] = fragmentsOf(build(1), 1480);
    send([second!]);
    rig.pass(29_999);
    expect(rig.drops).toEqual({});
    rig.pass(1);
    expect(rig.drops).toEqual({ "fragment-timed-out": 1 });
    expect(send([first!])).toHaveLength(1);
  });

  test("no longer follow a first that came 30 seconds ago", () => {
    const { rig, build, send } = open();
    const [first, second, third] = fragmentsOf(build(1), 1480);
    send([first!]);
    rig.pass(29_999);
    expect(send([second!])).toHaveLength(1);
    rig.pass(1);
    expect(send([third!])).toHaveLength(0);
    expect(rig.drops).toEqual({});
  });

  test("do not follow a first of 25 and of 50 days ago", () => {
    for (const days of [24.9, 25, 30, 49, 49.7]) {
      const { rig, build, send } = open();
      const [first, second] = fragmentsOf(build(1), 1480);
      send([first!]);
      rig.nowMs += days * 86_400_000;
      expect(send([second!]), `${days} days`).toHaveLength(0);
    }
  });

  test("of one source may fill a quarter of the waiting room, of all together the whole", () => {
    const { rig, build, send } = open();
    const [, second] = fragmentsOf(build(0), 1480);
    const waiting = (host: number, count: number) =>
      send(
        Array.from({ length: count }, (_, i) =>
          ip({ ...parse(second!), source: `198.18.0.${host}`, identification: i }),
        ),
      );
    waiting(1, 20);
    expect(rig.drops).toEqual({ "fragment-table-full": 4 });
    for (const host of [2, 3, 4]) waiting(host, 16);
    expect(rig.drops).toEqual({ "fragment-table-full": 4 });
    waiting(5, 1);
    expect(rig.drops).toEqual({ "fragment-table-full": 5 });
    rig.pass(30_000);
    waiting(5, 16);
    expect(rig.drops).toEqual({ "fragment-table-full": 5, "fragment-timed-out": 64 });
  });

  test("do not follow a flow that has ended, nor the next one in its place", () => {
    const { rig, build, send } = open();
    const [first, second, third] = fragmentsOf(build(1), 1480);
    send([first!]);
    rig.forwarder.conntrack.close(1);
    expect(send([second!])).toHaveLength(0);
    rig.outOne(udp({ source: `${otherClient}:6000`, destination: `${otherServer}:53` }));
    expect(rig.openFlows).toBe(1);
    expect(send([third!])).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 2 });
  });

  test("that come twice pass once; a repeated first begins its datagram anew", () => {
    const { rig, build, send } = open();
    const pieces = fragmentsOf(build(1), 1480);
    const [first, second, third] = pieces;
    expect(send([first!, second!, second!, third!])).toHaveLength(3);
    expect(rig.drops).toEqual({ "fragment-overlap": 1 });
    expect(reassemble(send(pieces).map((piece) => piece.bytes))).toHaveLength(4028);
  });

  test("that overlap what has passed of their datagram are dropped, also among those that waited", () => {
    for (const isEarly of [false, true]) {
      const { rig, build, send } = open();
      const [first, second, third] = fragmentsOf(build(1), 1480);
      const shifted = (by: number) =>
        ip({ ...parse(second!), offset: 1480 + by, payload: pattern(1480, 9), moreFragments: true });
      const early = [second!, shifted(8), shifted(-8), third!];
      const left = isEarly ? send([...early, first!]) : send([first!, ...early]);
      expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({
        data: pattern(4000),
        checksumOk: true,
      });
      expect(rig.drops).toEqual({ "fragment-overlap": 2 });
    }
  });
});

describe("a fragment from the wrong side", () => {
  test("of an outbound packet, arriving on an uplink, is not sent out again", () => {
    const rig = new Rig();
    const [first, second] = fragmentsOf(question(), 1480);
    rig.out(first!);
    expect(rig.in(second!)).toHaveLength(0);
    expect(rig.left(0)).toHaveLength(0);
  });

  test("of an inbound packet, arriving from the inside, does not reach another inside host", () => {
    const rig = new Rig();
    const left = rig.outOne(question({ bytes: 10 }));
    const answer = udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data: pattern(4000) });
    const [first, second] = fragmentsOf(answer, 1480);
    rig.in(first!);
    rig.injectInside(second!);
    rig.run();
    expect(rig.left(-1)).toHaveLength(0);
  });

  test("arriving on another uplink than its first, is dropped", () => {
    const rig = new Rig({ links: [14, 14] });
    const left = rig.outOne(question({ bytes: 10 }));
    const answer = udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data: pattern(4000) });
    const [first, second] = fragmentsOf(answer, 1480);
    rig.in(first!);
    expect(rig.in(second!, 1)).toHaveLength(0);
  });
});

test("a later fragment is counted in its uplink's bytes and packets", () => {
  const rig = new Rig();
  const pieces = fragmentsOf(question(), 1480);
  const left = rig.out(pieces);
  const bytes = (packets: Uint8Array[]) => packets.reduce((sum, packet) => sum + packet.length, 0);
  expect(rig.uplinkCounters(0)).toMatchObject({ txPackets: 3, txBytes: bytes(pieces) });
  const { sourcePort } = left[0]!;
  const answer = udp({ source: `${server}:53`, destination: `${mapped}:${sourcePort}`, data: pattern(4000) });
  rig.in(fragmentsOf(answer, 1480).reverse());
  expect(rig.uplinkCounters(0)).toMatchObject({ rxPackets: 3, rxBytes: bytes(fragmentsOf(answer, 1480)) });
});

test("fragments of an uplink that is not ready, or has lost the flow's address, stay here", () => {
  const rig = new Rig();
  const [first, second, third] = fragmentsOf(question(), 1480);
  rig.out(first!);
  rig.setUplink(0, { ready: 0 });
  expect(rig.out(second!)).toHaveLength(0);
  rig.setUplink(0, { ready: 1, address: "203.0.113.77" });
  expect(rig.out(third!)).toHaveLength(0);
});

describe("two workers", () => {
  /** A port of the client's whose fragments worker 0 keeps for itself, so that worker 1 is the stranger. */
  function portOfWorker0(): number {
    for (let port = 5000; ; port++) {
      const [worker0] = openWorkers(2);
      worker0!.out(fragmentsOf(question({ port }), 1480)[0]!);
      if (worker0!.openFlows > 0) return port;
    }
  }

  const port = portOfWorker0();
  const packet = (bytes: number) => question({ port, bytes, identification: 99 });

  function opened(options: RigOptions = {}): { owner: Rig; stranger: Rig } {
    const [owner, stranger] = openWorkers(2, options);
    return { owner: owner!, stranger: stranger! };
  }

  test.each([
    ["in order", [0, 1, 2]],
    ["the first in the middle", [1, 0, 2]],
    ["backwards", [2, 1, 0]],
  ])("the fragments of a foreign endpoint reach its owner: %s", (_, order) => {
    const { owner, stranger } = opened();
    const pieces = fragmentsOf(packet(4000), 1480);
    for (const i of order) {
      expect(stranger.out(pieces[i]!)).toHaveLength(0);
    }
    expect(stranger.openFlows).toBe(0);
    expect(stranger.woken).toContain(0);
    owner.run();
    const left = owner.left(0);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({
      source: mapped,
      checksumOk: true,
      data: pattern(4000),
    });
    expect(left[0]!.sourcePort % 2).toBe(0);
    expect(owner.drops).toEqual({});
    expect(stranger.drops).toEqual({});
  });

  test("a mailed packet that is too long for the uplink is cut by the owner", () => {
    const { owner, stranger } = opened();
    owner.setUplink(0, { mtu: 1000 });
    for (const piece of fragmentsOf(packet(4000), 1480)) stranger.out(piece);
    owner.run();
    const left = owner.left(0);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
  });

  test("mail beyond the box is dropped and counted, and the box serves again once emptied", () => {
    const { owner, stranger } = opened();
    const [first, second, third] = fragmentsOf(packet(4000), 1480);
    // 512 KiB in records of 8 bytes each, then the vnet header and the fragment, in multiples of 8.
    const record = (8 + vnetBytes + second!.length + 7) & ~7;
    const room = Math.floor((512 * 1024) / record);
    stranger.out([first!, ...new Array(room + 16).fill(second!)]);
    expect(stranger.drops).toEqual({ "mailbox-full": 17 });
    // Scratch slots bound what one turn takes out.
    for (let turn = 0; turn < 20; turn++) owner.run();
    // The first one and one of the second; its repetitions came as well.
    expect(owner.left(0)).toHaveLength(2);
    expect(owner.drops).toEqual({ "fragment-overlap": room - 2 });
    stranger.out(third!);
    owner.run();
    expect(owner.left(0)).toHaveLength(1);
  });

  test("mail waits for the next turn when the slots run out, and none is lost", () => {
    const { owner, stranger } = opened({ scratchSlots: 2 });
    stranger.out(fragmentsOf(packet(8000), 1480));
    for (let turn = 0; turn < 10; turn++) owner.run();
    const left = owner.left(0);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
  });

  test("mail that is cut waits for slots as well, without a pause, and no piece is lost", () => {
    const { owner, stranger } = opened({ scratchSlots: 8, mtu: 576 });
    const turn = vi.spyOn(owner.io, "turn");
    stranger.out(fragmentsOf(packet(8000), 1480));
    for (let turns = 0; turns < 10; turns++) owner.forwarder.breath(250);
    const left = owner.left(0);
    expect(parse(reassemble(left.map((piece) => piece.bytes)))).toMatchObject({ checksumOk: true });
    expect(owner.drops).toEqual({});
    // One of the six fragments a turn; only the turns after the last of them may wait.
    expect(turn.mock.calls.map(([timeoutMs]) => timeoutMs)).toEqual([0, 0, 0, 0, 0, 0, 250, 250, 250, 250]);
  });

  test("ports are apart: worker 0 has the even ones, worker 1 the odd ones", () => {
    for (const [worker, rig] of openWorkers(2).entries()) {
      for (let port = 1; port < 60; port++) {
        const left = rig.outOne(udp({ source: `${client}:${port}`, destination: `${server}:53` }));
        expect(left.sourcePort % 2).toBe(worker);
      }
    }
  });
});

test("a first fragment too short for its header, and a piece beyond 65,535 bytes, are dropped by name", () => {
  const rig = new Rig();
  const header = words(5000, 53, 100, 0);
  const piece = (payload: Uint8Array, offset: number) =>
    ip({ source: client, destination: server, protocol: UDP, payload, offset, moreFragments: true });
  rig.out(piece(header.slice(0, 7), 0));
  rig.out(piece(new Uint8Array(8), 65_528));
  rig.out(piece(new Uint8Array(16), 65_504));
  expect(rig.left(0)).toHaveLength(0);
  expect(rig.drops).toEqual({ "fragment-too-short": 1, "fragment-beyond-end": 2 });
});
