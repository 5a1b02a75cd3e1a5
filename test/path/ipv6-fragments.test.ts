/** IPv6 fragments follow their first, in any order and on any worker, and none that overlaps another passes. */
import { describe, expect, test } from "vitest";
import { steer } from "../../src/tables/steering-hash.ts";
import { DCCP, pattern } from "../support/packets.ts";
import {
  address6Words,
  echo6,
  FRAGMENT,
  fragment6,
  fragmentsOf6,
  HOP_BY_HOP,
  ip6,
  padding,
  parse6,
  reassemble6,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import {
  client6,
  openRig6,
  openWorkers,
  otherClient6,
  otherServer6,
  type Rig,
  server6,
  uplinkAddresses6,
} from "./rig.ts";

const mapped = uplinkAddresses6[0]!;
const ends = { source: `[${client6}]:5000`, destination: `[${server6}]:53` };
const datagram = udp6({ ...ends, data: pattern(2700) });
const pieces = fragmentsOf6(datagram, 1400);

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, i) => permutations(items.filter((_, j) => j !== i)).map((rest) => [item, ...rest]));
}

describe.each([
  ["UDP", datagram],
  ["a ping", echo6({ source: client6, destination: server6, identifier: 9, data: pattern(2700) })],
])("fragments of %s", (_, whole) => {
  test("go out and come in whole, in whatever order they come", () => {
    for (const order of permutations(fragmentsOf6(whole, 1000))) {
      const rig = openRig6();
      const out = rig.out6(order);
      const left = parse6(reassemble6(out.map(({ bytes }) => bytes)));
      expect(left).toMatchObject({ source: mapped, checksumOk: true, data: pattern(2700) });
      const ends = { source: `[${server6}]:53`, destination: `[${mapped}]:${left.sourcePort}` };
      const answer =
        left.type === 128
          ? echo6({ source: server6, destination: mapped, type: 129, identifier: left.identifier, data: pattern(2500) })
          : udp6({ ...ends, data: pattern(2500) });
      const back = rig.in6(fragmentsOf6(answer, 1000, 99).toReversed());
      const arrived = parse6(reassemble6(back.map(({ bytes }) => bytes)));
      expect(arrived).toMatchObject({ destination: client6, checksumOk: true, data: pattern(2500) });
      expect(rig.uplinkCounters(0)).toMatchObject({ txPackets: 3, rxPackets: 3 });
      expect(rig.drops).toEqual({});
    }
  });
});

test("two hosts that chose the same identification are told apart outside", () => {
  const rig = openRig6();
  const neighbour = udp6({ ...ends, source: `[${otherClient6}]:5000`, data: pattern(2700) });
  const sent = [datagram, neighbour].map((whole) => fragmentsOf6(whole, 1400, 0xfedc_ba98));
  const out = rig.out6([sent[0]![0]!, sent[1]![0]!, sent[1]![1]!, sent[0]![1]!]);
  const [first, second, ...later] = out.map(({ fragment }) => fragment!.identification);
  expect(second).not.toBe(first);
  expect(later).toEqual([second, first]);
  expect(rig.drops).toEqual({});
});

test("an atomic fragment is a packet like any other (RFC 6946)", () => {
  const rig = openRig6();
  const { payload } = parse6(udp6({ ...ends, data: pattern(20) }));
  const fields = { source: client6, destination: server6, protocol: 17, payload };
  const left = rig.outOne6(fragment6({ ...fields, offset: 0, more: false, identification: 5 }));
  expect(left).toMatchObject({ source: mapped, checksumOk: true, extensions: [FRAGMENT] });
  rig.outOne6(fragment6({ ...fields, offset: 0, more: false, identification: 5 }));
});

test("fragments behind other extension headers follow too", () => {
  const rig = openRig6();
  const { payload } = parse6(datagram);
  const extension = (offset: number, more: boolean) => ({
    kind: FRAGMENT,
    bytes: Uint8Array.of(offset >> 8, offset | (more ? 1 : 0), 0, 0, 0, 9),
  });
  const fields = { source: client6, destination: server6, protocol: 17 };
  const first = { ...fields, extensions: [padding(HOP_BY_HOP), extension(0, true)], payload: payload.slice(0, 1400) };
  const later = { ...fields, extensions: [padding(HOP_BY_HOP), extension(1400, false)], payload: payload.slice(1400) };
  const left = rig.out6([ip6(later), ip6(first)]);
  expect(left.map(({ source }) => source)).toEqual([mapped, mapped]);
  expect(parse6(reassemble6(left.map(({ bytes }) => bytes))).checksumOk).toBe(true);
});

describe("a fragment", () => {
  test("that overlaps one before it, or repeats it, is dropped (RFC 5722)", () => {
    const rig = openRig6();
    const { payload } = parse6(datagram);
    const piece = (from: number, to: number) => {
      const fields = { source: client6, destination: server6, protocol: 17, payload: payload.slice(from, to) };
      return fragment6({ ...fields, offset: from, more: to < payload.length, identification: 3 });
    };
    const length = payload.length;
    expect(rig.out6([piece(0, 800), piece(1600, 2400)])).toHaveLength(2);
    expect(rig.out6([piece(0, 800), piece(8, 16), piece(792, 808), piece(1592, 1608), piece(2392, length)])).toEqual(
      [],
    );
    expect(rig.drops).toEqual({ "fragment-overlap": 5 });
    expect(rig.out6([piece(800, 1600), piece(2400, length)])).toHaveLength(2);
    expect(rig.out6([piece(800, 1600)])).toEqual([]);
  });

  test("that overlaps is dropped as well among those that waited", () => {
    const rig = openRig6();
    const { payload } = parse6(datagram);
    const fields = { source: client6, destination: server6, protocol: 17, identification: 3 };
    const later = fragment6({ ...fields, payload: payload.slice(1400), offset: 1400, more: false });
    const liar = fragment6({ ...fields, payload: pattern(1400), offset: 8, more: true });
    const first = fragment6({ ...fields, payload: payload.slice(0, 1400), offset: 0, more: true });
    const left = rig.out6([liar, later, first]);
    expect(parse6(reassemble6(left.map(({ bytes }) => bytes)))).toMatchObject({ checksumOk: true });
    expect(rig.drops).toEqual({ "fragment-overlap": 1 });
  });

  test("that has more gaps around it than there is room for is dropped", () => {
    const rig = openRig6();
    const fields = { source: client6, destination: server6, protocol: 17, identification: 3 };
    rig.out6(pieces[0]!);
    const odd = (i: number) => fragment6({ ...fields, payload: pattern(8), offset: 16 * i, more: true });
    rig.out6(fragment6({ ...fields, payload: parse6(datagram).payload.slice(0, 8), offset: 0, more: true }));
    expect(rig.out6(Array.from({ length: 9 }, (_, i) => odd(i + 1)))).toHaveLength(7);
    expect(rig.drops).toEqual({ "fragment-table-full": 2 });
  });

  test("whose first never comes is forgotten and counted, and none of one source fills the waiting room", () => {
    const rig = openRig6();
    const many = Array.from({ length: 20 }, (_, i) => fragmentsOf6(datagram, 1400, i)[1]!);
    expect(rig.out6(many)).toEqual([]);
    expect(rig.drops).toEqual({ "fragment-table-full": 4 });
    rig.pass(31_000);
    expect(rig.drops).toEqual({ "fragment-table-full": 4, "fragment-timed-out": 16 });
  });

  test("does not follow a first of another device, another host or another datagram", () => {
    const rig = openRig6({ links: [14, 14] });
    const [first, later] = fragmentsOf6(datagram, 1400) as [Uint8Array, Uint8Array];
    rig.out6(first);
    expect(rig.in6(later)).toEqual([]);
    expect(rig.out6(fragmentsOf6(datagram, 1400, 8)[1]!)).toEqual([]);
    const other = udp6({ ...ends, destination: `[${otherServer6}]:53`, data: pattern(2700) });
    expect(rig.out6(fragmentsOf6(other, 1400)[1]!)).toEqual([]);
    expect(rig.out6(later)).toHaveLength(1);
  });

  test("of a flow that has ended is dropped", () => {
    const rig = openRig6({ timeouts: { ...shortTimeouts } });
    rig.out6(pieces[0]!);
    rig.pass(5000);
    expect(rig.openFlows).toBe(0);
    expect(rig.out6(pieces[1]!)).toEqual([]);
    expect(rig.drops).toEqual({ unsolicited: 1 });
  });

  test("that makes no sense is dropped", () => {
    const rig = openRig6();
    const fields = { source: client6, destination: server6, protocol: 17, identification: 3 };
    rig.out6(fragment6({ ...fields, payload: pattern(12), offset: 8, more: true }));
    rig.out6(fragment6({ ...fields, payload: new Uint8Array(), offset: 8, more: false }));
    rig.out6(fragment6({ ...fields, payload: pattern(400), offset: 65_200, more: false }));
    rig.out6(fragment6({ ...fields, payload: parse6(datagram).payload.slice(0, 0), offset: 0, more: true }));
    const tiny = tcp6({ ...ends, data: pattern(100) });
    rig.out6(fragmentsOf6(tiny, 16)[0]!);
    rig.out6(fragment6({ ...fields, protocol: DCCP, payload: new Uint8Array(), offset: 0, more: true }));
    expect(rig.drops).toEqual({ "fragment-too-short": 5, "fragment-beyond-end": 1 });
  });
});

const shortTimeouts = { tcpEstablishedMs: 1000, tcpTransitoryMs: 1000, udpMs: 1000, icmpMs: 1000, otherMs: 1000 };

describe("fragments and headers that the kernel can't look behind", () => {
  /** All turns of all workers, until no mail is left. */
  function run(rigs: readonly Rig[]): void {
    for (let turn = 0; turn < 4; turn++) for (const rig of rigs) rig.run();
  }

  function ownerOf(port: number): number {
    return steer(0, port, 2);
  }

  const ports = [5001, 5002, 5003, 5004, 5005, 5006].toSorted((a, b) => ownerOf(a) - ownerOf(b));

  test.each([0, 1])("reach worker %i, which owns their flow, from both sides", (worker) => {
    const rigs = openWorkers(2, { hasIpv6: true });
    const port = ports.find((each) => ownerOf(each) === worker)!;
    const whole = udp6({ ...ends, source: `[${client6}]:${port}`, data: pattern(2700) });
    for (const piece of fragmentsOf6(whole, 1000).toReversed()) rigs[0]!.injectInside(piece);
    run(rigs);
    const out = rigs.map((rig) => rig.left6(0));
    expect(out.map((left) => left.length)).toEqual(worker === 0 ? [3, 0] : [0, 3]);
    const left = parse6(reassemble6(out.flat().map(({ bytes }) => bytes)));
    expect(left).toMatchObject({ source: mapped, checksumOk: true });
    expect(left.sourcePort % 2).toBe(worker);

    const to = { source: ends.destination, destination: `[${mapped}]:${left.sourcePort}` };
    for (const piece of fragmentsOf6(udp6({ ...to, data: pattern(2000) }), 1000)) rigs[0]!.injectUplink(0, piece);
    const extensions = [padding(HOP_BY_HOP)];
    rigs[0]!.injectUplink(0, udp6({ ...to, data: pattern(9), extensions }));
    rigs[0]!.injectInside(udp6({ ...ends, source: `[${client6}]:${port}`, extensions }));
    run(rigs);
    const inside = rigs[worker]!.left6(-1);
    expect(inside.map(({ destination }) => destination)).toEqual(
      [client6, client6, client6, client6].slice(0, inside.length),
    );
    expect(inside).toHaveLength(4);
    expect(rigs[worker]!.left6(0)).toMatchObject([{ source: mapped, sourcePort: left.sourcePort, checksumOk: true }]);
    for (const rig of rigs) expect(rig.drops).toEqual({});
  });

  test("and are for a forwarded port, or a prefix, reach the worker of the endpoint inside", () => {
    for (const port of ports) {
      const forward = { uplinks: 1, protocol: 17, firstPort: 53, lastPort: 53, to: 0, toPort: port };
      const rigs = openWorkers(2, {
        ...{ hasIpv6: true, filtering: 2, forwards: [{ ...forward, to6: address6Words(client6) }] },
        insidePrefix: { words: address6Words("fd00:10::"), length: 48 },
      });
      rigs[0]!.setUplink(0, { prefix6: "2001:db8:a::/48" });
      const extensions = [padding(HOP_BY_HOP)];
      rigs[0]!.injectUplink(0, udp6({ source: `[${server6}]:9`, destination: `[${mapped}]:53`, extensions }));
      rigs[0]!.injectUplink(
        0,
        udp6({ source: `[${server6}]:10`, destination: `[2001:db8:a:cf4d::2]:${port}`, extensions }),
      );
      run(rigs);
      const came = rigs[ownerOf(port)]!.left6(-1);
      expect(came.map(({ destination, destinationPort }) => `${destination} ${destinationPort}`)).toEqual([
        `${client6} ${port}`,
        `${client6} ${port}`,
      ]);
    }
  });
});
