/**
 * Identifications (RFC 6864). Behind a translator the datagrams of all hosts have one source, and two with one
 * identification on their way at once would be put together from each other's pieces. So those that may be cut
 * get numbers from one sequence; those that may not keep theirs, which mean nothing.
 */
import { describe, expect, test } from "vitest";
import {
  echo,
  fragmentsOf,
  icmpError,
  ip,
  parse,
  partialVnet,
  pattern,
  reassemble,
  SYN,
  tcp,
  UDP_LITE,
  udp,
} from "../support/packets.ts";
import { client, openWorkers, Rig, type RigOptions, server } from "./rig.ts";

const question = (host: number, fields: { dontFragment?: boolean; bytes?: number; identification?: number } = {}) => {
  const { bytes = 10, dontFragment = false, identification = 7 } = fields;
  const source = `192.168.10.${host}:5000`;
  return udp({ source, destination: `${server}:53`, data: pattern(bytes), dontFragment, identification });
};

describe("a datagram that may be cut", () => {
  test("has a number of its own among all hosts and protocols, whatever number its host gave it", () => {
    const rig = new Rig({ flows: 4096, lastPort: 32_767 });
    const seen = new Set<number>();
    for (let host = 1; host <= 250; host++) {
      const source = `192.168.10.${host}`;
      const common = { identification: 7 };
      const left = rig.out([
        question(host),
        tcp({ ...common, source: `${source}:1`, destination: `${server}:80`, flags: SYN }),
        echo({ ...common, source, destination: server, identifier: host }),
        ip({ ...common, source, destination: `192.0.2.${host}`, protocol: UDP_LITE, payload: pattern(8) }),
      ]);
      expect(left).toHaveLength(4);
      for (const { identification } of left) seen.add(identification);
    }
    expect(seen.size).toBe(1000);
  });

  test("has a number that comes again only after all the others", () => {
    const rig = new Rig();
    const numbers: number[] = [];
    for (let batch = 0; batch < 66; batch++) {
      for (const left of rig.out(Array.from({ length: 1000 }, (_, i) => question(1 + (i % 5)))))
        numbers.push(left.identification);
    }
    expect(new Set(numbers.slice(0, 65_536)).size).toBe(65_536);
    expect(numbers.slice(65_536)).toEqual(numbers.slice(0, numbers.length - 65_536));
  });

  test("begins where the seed says", () => {
    const first = (seed: number) => new Rig({ seed }).outOne(question(2)).identification;
    expect(first(1)).toBe(first(1));
    expect(new Set([1, 2, 3, 4, 5].map(first)).size).toBe(5);
  });

  test("shares no number with those of another worker", () => {
    const workers = openWorkers(3);
    const of = (rig: Rig) =>
      new Set(Array.from({ length: 300 }, (_, i) => rig.outOne(question(1 + (i % 200))).identification));
    const all = workers.map(of);
    expect(new Set(all.flatMap((each) => [...each])).size).toBe(900);
  });

  test("as a super-packet takes as many numbers as it has segments", () => {
    const rig = new Rig();
    const packet = udp({
      source: `${client}:5000`,
      destination: `${server}:53`,
      data: pattern(12_000),
      checksum: "partial",
    });
    const left = rig.outOne(packet, 0, partialVnet(packet, 0, 1200));
    expect(rig.outOne(question(2)).identification).toBe((left.identification + 10) & 0xffff);
    // Of one byte each: more than are left of the share, which then begins anew.
    const many = udp({
      source: `${client}:5000`,
      destination: `${server}:53`,
      data: pattern(60_000),
      checksum: "partial",
    });
    for (let i = 0; i < 5; i++) {
      const { identification } = rig.outOne(many, 0, partialVnet(many, 0, 1));
      expect(identification + 60_000).toBeLessThanOrEqual(65_536);
    }
  });
});

describe("a datagram that may not be cut", () => {
  test("keeps its number, and takes none away", () => {
    const rig = new Rig();
    const before = rig.outOne(question(2)).identification;
    expect(rig.outOne(question(3, { dontFragment: true, identification: 4711 })).identification).toBe(4711);
    expect(rig.outOne(question(3, { dontFragment: true, identification: 0 })).identification).toBe(0);
    expect(rig.outOne(question(2)).identification).toBe((before + 1) & 0xffff);
  });

  test("is still one of many when it was cut before (DF on fragments): all pieces get one new number", () => {
    const rig = new Rig();
    const whole = question(2, { bytes: 3000, dontFragment: true, identification: 99 });
    const left = rig.out(fragmentsOf(whole, 1480).map((piece) => ip({ ...parse(piece), dontFragment: true })));
    expect(left).toHaveLength(3);
    expect(new Set(left.map(({ identification }) => identification)).size).toBe(1);
    expect(left[0]!.identification).not.toBe(99);
  });
});

describe("the pieces of one datagram", () => {
  test("have one number when it is cut here, and the next datagram has another", () => {
    const rig = new Rig({ mtu: 576 });
    const first = rig.out(question(2, { bytes: 3000 }));
    const second = rig.out(question(2, { bytes: 3000 }));
    const numbers = [first, second].map((pieces) => new Set(pieces.map(({ identification }) => identification)));
    expect(numbers.map(({ size }) => size)).toEqual([1, 1]);
    expect(numbers[0]).not.toEqual(numbers[1]);
    for (const pieces of [first, second])
      expect(parse(reassemble(pieces.map(({ bytes }) => bytes))).checksumOk).toBe(true);
  });

  test("have one number when they come as pieces, in any order, and two hosts' with one number have two", () => {
    const rig = new Rig();
    const [a, b] = [2, 3].map((host) => fragmentsOf(question(host, { bytes: 4000 }), 1480));
    const left = rig.out([a![2]!, b![1]!, a![0]!, b![2]!, b![0]!, a![1]!]);
    const datagrams = [...Map.groupBy(left, ({ identification }) => identification).values()];
    expect(datagrams.map((pieces) => pieces.length)).toEqual([3, 3]);
    const ports = datagrams.map((pieces) => parse(reassemble(pieces.map(({ bytes }) => bytes))).sourcePort);
    expect(new Set(ports).size).toBe(2);
  });

  test("have one number whichever worker got them", () => {
    const options: RigOptions = { links: [14] };
    for (let port = 5000; port < 5008; port++) {
      const [owner, stranger] = openWorkers(2, options);
      const whole = udp({ source: `${client}:${port}`, destination: `${server}:53`, data: pattern(4000) });
      for (const piece of fragmentsOf(whole, 1480).reverse()) stranger!.injectInside(piece);
      stranger!.run();
      owner!.run();
      // Of about every other port the stranger is the owner itself.
      const left = [...stranger!.left(0), ...owner!.left(0)];
      expect(left).toHaveLength(3);
      expect(new Set(left.map(({ identification }) => identification)).size).toBe(1);
    }
  });

  test("from outside keep the number that their sender gave them", () => {
    const rig = new Rig();
    const { sourcePort, source } = rig.outOne(question(2));
    const answer = udp({
      source: `${server}:53`,
      destination: `${source}:${sourcePort}`,
      data: pattern(4000),
      identification: 4711,
    });
    for (const piece of rig.in(fragmentsOf(answer, 1480).reverse())) expect(piece.identification).toBe(4711);
  });
});

test("an ICMP error from the inside has a number of the same sequence", () => {
  const rig = new Rig();
  const left = rig.outOne(question(2));
  const answer = udp({ source: `${server}:53`, destination: `${left.source}:${left.sourcePort}`, data: pattern(80) });
  const quoted = rig.inOne(answer).bytes;
  const error = rig.outOne(
    icmpError({ source: "192.168.10.2", destination: server, type: 3, code: 3, quoted, identification: 7 }),
  );
  expect(error.identification).toBe((left.identification + 1) & 0xffff);
  expect(error.checksumOk).toBe(true);
});
