/**
 * Forwards: ports of the uplinks that lead to a host inside, or to the router by an inside address. The answer leaves by
 * the uplink that the question came in on, whatever the policy says.
 */
import { describe, expect, test } from "vitest";
import { noUplink } from "../../src/tables/shared-state.ts";
import {
  ACK,
  addressNumber,
  concat,
  echo,
  FIN,
  finishPartial,
  fragmentsOf,
  icmpError,
  parse,
  partialVnet,
  pattern,
  RST,
  reassemble,
  SYN,
  TCP,
  tcp,
  UDP,
  udp,
  words,
} from "../support/packets.ts";
import { answerAll } from "./answers.ts";
import { client, otherClient, Rig, type RigOptions, uplinkAddresses } from "./rig.ts";

const hop = "198.51.100.77";
const visitor = "192.0.2.99:4000";
const web = { uplinks: 3, protocol: TCP, firstPort: 8080, lastPort: 8080, to: addressNumber(client), toPort: 80 };
const game = {
  uplinks: 1,
  protocol: UDP,
  firstPort: 7000,
  lastPort: 7009,
  to: addressNumber(otherClient),
  toPort: 60_000,
};
const router = {
  uplinks: 1,
  protocol: TCP,
  firstPort: 22,
  lastPort: 22,
  to: addressNumber("192.168.10.1"),
  toPort: 22,
};

function open(options: RigOptions = {}): Rig {
  return new Rig({ links: [14, 0], forwards: [web, game, router], ...options });
}

const outside = (port: number, uplink = 0) => `${uplinkAddresses[uplink]}:${port}`;
const syn = (port: number, uplink = 0, source = visitor) =>
  tcp({ source, destination: outside(port, uplink), flags: SYN, sequence: 900 });
const synAck = (destination = visitor, source = `${client}:80`) =>
  tcp({ source, destination, flags: SYN | ACK, sequence: 300, acknowledgment: 901 });
const datagram = (port: number, uplink = 0, source = visitor) =>
  udp({ source, destination: outside(port, uplink), data: pattern(100) });

describe("a forwarded port", () => {
  test("leads to the host and port that the configuration names, and the answer leaves from it", () => {
    const rig = open();
    const arrived = rig.inOne(syn(8080));
    expect(arrived).toMatchObject({ source: "192.0.2.99", sourcePort: 4000, destination: client, destinationPort: 80 });
    expect(arrived.checksumOk).toBe(true);
    const left = rig.outOne(synAck());
    expect(left).toMatchObject({ source: uplinkAddresses[0], sourcePort: 8080, destination: "192.0.2.99" });
    expect(left).toMatchObject({ destinationPort: 4000, checksumOk: true });
  });

  test("of a range leads to as many ports, in order", () => {
    const rig = open();
    for (let port = 7000; port <= 7009; port++) {
      expect(rig.inOne(datagram(port))).toMatchObject({ destination: otherClient, destinationPort: port + 53_000 });
      const answer = udp({ source: `${otherClient}:${port + 53_000}`, destination: visitor, data: pattern(10) });
      expect(rig.outOne(answer)).toMatchObject({ source: uplinkAddresses[0], sourcePort: port, checksumOk: true });
    }
    for (const port of [6999, 7010]) expect(rig.in(datagram(port))).toHaveLength(0);
  });

  test("of both protocols is one of each, and they are apart", () => {
    const rig = open({ forwards: [web, { ...web, protocol: UDP, to: addressNumber(otherClient), toPort: 81 }] });
    expect(rig.inOne(syn(8080))).toMatchObject({ destination: client, destinationPort: 80 });
    expect(rig.inOne(datagram(8080))).toMatchObject({ destination: otherClient, destinationPort: 81 });
  });

  test("leads to the router itself by its inside address", () => {
    const rig = open();
    expect(rig.inOne(syn(22))).toMatchObject({ destination: "192.168.10.1", destinationPort: 22 });
    const left = rig.outOne(synAck(visitor, "192.168.10.1:22"));
    expect(left).toMatchObject({ source: uplinkAddresses[0], sourcePort: 22 });
  });

  test("is closed for another protocol, on another uplink, and at another address of the uplink, without a word", () => {
    const rig = open();
    expect(rig.in(datagram(8080))).toHaveLength(0);
    expect(rig.in(syn(7000))).toHaveLength(0);
    expect(rig.in(datagram(7000, 1), 1)).toHaveLength(0);
    expect(rig.in(syn(8080, 0), 1), "this uplink's address, on the other").toHaveLength(0);
    expect(rig.in(tcp({ source: visitor, destination: "203.0.113.77:8080", flags: SYN }))).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 5 });
    expect([rig.openFlows, rig.left(0).length, rig.left(1).length]).toEqual([0, 0, 0]);
  });

  test("is opened by nothing but a SYN, where it is TCP's", () => {
    const rig = open();
    for (const flags of [ACK, SYN | ACK, FIN | ACK, RST, RST | ACK]) {
      expect(rig.in(tcp({ source: visitor, destination: outside(8080), flags }))).toHaveLength(0);
    }
    expect(rig.in(echo({ source: "192.0.2.99", destination: uplinkAddresses[0]!, identifier: 8080 }))).toHaveLength(0);
    expect([rig.openFlows, rig.left(0).length]).toEqual([0, 0]);
  });

  test("is never given to a connection of the inside", () => {
    // Inside the range on purpose, which the configuration refuses: even so the tuple would be another's.
    const rig = open({ lastPort: 16_384 + 3, forwards: [{ ...web, firstPort: 16_385, lastPort: 16_385 }] });
    rig.inOne(syn(16_385));
    const taken = Array.from({ length: 8 }, (_, i) => {
      const left = rig.out(tcp({ source: `${otherClient}:${1 + i}`, destination: visitor, flags: SYN, sequence: 900 }));
      answerAll(rig, 900);
      return left;
    });
    const ports = taken.flat().map(({ sourcePort }) => sourcePort);
    expect(ports).not.toContain(16_385);
    expect(ports).toHaveLength(3);
  });

  test("takes any number of visitors, and one visitor any number of times", () => {
    const rig = open();
    for (let host = 1; host <= 50; host++) {
      for (const port of [4000, 4001]) {
        const source = `192.0.2.${host}:${port}`;
        rig.inOne(syn(8080, 0, source));
        expect(rig.outOne(synAck(source))).toMatchObject({ sourcePort: 8080, destinationPort: port });
      }
    }
    expect(rig.openFlows).toBe(100);
    expect(rig.forwarder.conntrack.mappings.open, "no port of the range was needed").toBe(0);
  });

  test("leads somewhere else from the host's own point of view: what that begins has a port of the range", () => {
    const rig = open();
    rig.inOne(syn(8080));
    const own = rig.outOne(tcp({ source: `${client}:80`, destination: "192.0.2.98:443", flags: SYN }));
    expect(own.sourcePort).toBeGreaterThanOrEqual(16_384);
  });
});

describe("several uplinks that forward one port", () => {
  test("are answered each by itself, whatever the scheduler says", () => {
    for (const scheduled of [0, 1, noUplink]) {
      const rig = open();
      rig.steerTo(scheduled);
      for (const uplink of [1, 0]) {
        const source = `192.0.2.${90 + uplink}:4000`;
        expect(rig.inOne(syn(8080, uplink, source), uplink)).toMatchObject({
          destination: client,
          destinationPort: 80,
        });
        const left = rig.outOne(synAck(source), uplink);
        expect(left).toMatchObject({ source: uplinkAddresses[uplink], sourcePort: 8080 });
        expect(rig.left(1 - uplink)).toHaveLength(0);
      }
      expect(rig.drops).toEqual({});
    }
  });

  test("keep their visitors: one that changes the uplink within a connection is dropped", () => {
    const rig = open();
    rig.inOne(syn(8080, 0), 0);
    const next = tcp({ source: visitor, destination: outside(8080, 0), flags: ACK, sequence: 901 });
    expect(rig.in(next, 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
  });

  test("cannot serve one visitor's endpoint at the same time: the host inside could not tell the two apart", () => {
    const rig = open();
    rig.inOne(syn(8080, 0), 0);
    expect(rig.in(syn(8080, 1), 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ unsolicited: 1 });
    expect(rig.outOne(synAck(), 0).source).toBe(uplinkAddresses[0]);
    expect(rig.inOne(syn(8080, 1, "192.0.2.99:4001"), 1)).toMatchObject({ destinationPort: 80 });
  });

  test("may lead to different hosts", () => {
    const rig = open({
      forwards: [
        { ...web, uplinks: 1 },
        { ...web, uplinks: 2, to: addressNumber(otherClient) },
      ],
    });
    expect(rig.inOne(syn(8080, 0), 0).destination).toBe(client);
    expect(rig.inOne(syn(8080, 1), 1).destination).toBe(otherClient);
    expect(rig.outOne(synAck(visitor, `${otherClient}:80`), 1).source).toBe(uplinkAddresses[1]);
  });
});

describe("when the uplink", () => {
  test("is not ready, the answer waits for nobody and is dropped; when it is again, the connection goes on", () => {
    const rig = open();
    rig.inOne(syn(8080));
    rig.setUplink(0, { ready: 0 });
    expect(rig.out(synAck())).toHaveLength(0);
    expect(rig.left(1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 1 });
    rig.setUplink(0, { ready: 1 });
    expect(rig.outOne(synAck()).sourcePort).toBe(8080);
  });

  test("has another address, that one is forwarded, and nothing more leaves from the old", () => {
    const rig = open();
    rig.inOne(syn(8080));
    rig.setUplink(0, { address: "203.0.113.77" });
    expect(rig.out(synAck())).toHaveLength(0);
    expect(rig.in(syn(8080))).toHaveLength(0);
    const fresh = tcp({ source: visitor, destination: "203.0.113.77:8080", flags: SYN, sequence: 900 });
    expect(rig.inOne(fresh)).toMatchObject({ destination: client, destinationPort: 80 });
    expect(rig.outOne(synAck())).toMatchObject({ source: "203.0.113.77", sourcePort: 8080 });
  });
});

describe("visitors", () => {
  test("are the host's flows: beyond its share they are dropped in silence, and other hosts do not notice", () => {
    const rig = open({ flowsPerHost: 2 });
    for (const port of [1, 2]) rig.inOne(syn(8080, 0, `192.0.2.99:${port}`));
    answerAll(rig, 900);
    expect(rig.in(syn(8080, 0, "192.0.2.99:3"))).toHaveLength(0);
    expect(rig.drops).toEqual({ "host-flow-limit": 1 });
    expect([rig.left(0).length, rig.left(-1).length]).toEqual([0, 0]);
    expect(rig.in(datagram(7000))).toHaveLength(1);
  });

  test("stop at a full table in silence, which a connection that is over gives room in", () => {
    const rig = open({ flows: 2 });
    for (const port of [1, 2]) rig.inOne(syn(8080, 0, `192.0.2.99:${port}`));
    answerAll(rig, 900);
    expect(rig.in(syn(8080, 0, "192.0.2.99:3"))).toHaveLength(0);
    expect([rig.left(0).length, rig.left(-1).length]).toEqual([0, 0]);
    const refusal = { flags: RST | ACK, sequence: 301, acknowledgment: 901 };
    rig.out(tcp({ source: `${client}:80`, destination: "192.0.2.99:1", ...refusal }));
    expect(rig.in(syn(8080, 0, "192.0.2.99:3"))).toHaveLength(1);
    expect(rig.drops).toEqual({ "flow-table-full": 1 });
  });

  test("that come again on the same port after their connection was over are served again", () => {
    const rig = open();
    rig.inOne(syn(8080));
    rig.outOne(synAck());
    const segment = { source: visitor, destination: outside(8080), acknowledgment: 301 };
    rig.inOne(tcp({ ...segment, sequence: 901, flags: FIN | ACK }));
    rig.outOne(
      tcp({ source: `${client}:80`, destination: visitor, sequence: 301, acknowledgment: 902, flags: FIN | ACK }),
    );
    rig.inOne(tcp({ ...segment, sequence: 902, acknowledgment: 302, flags: ACK }));
    const again = tcp({ source: visitor, destination: outside(8080), flags: SYN, sequence: 4_000_000_000 });
    expect(rig.inOne(again)).toMatchObject({ destination: client, destinationPort: 80 });
    const answer = { source: `${client}:80`, destination: visitor, sequence: 77, acknowledgment: 4_000_000_001 };
    expect(rig.outOne(tcp({ ...answer, flags: SYN | ACK })).sourcePort).toBe(8080);
    expect(rig.openFlows).toBe(1);
  });

  test("may clear what the host has left of their earlier connection, and the new one comes about (RFC 9293, section 3.5.1)", () => {
    // The host's leftover answers in its own numbers; the visitor refuses them and tries again.
    for (const leftover of [1_000_000, 0x7000_0000, 0x9000_0000, 0xfff0_0000]) {
      const rig = open();
      rig.inOne(syn(8080));
      const challenge = { flags: ACK, sequence: 5, acknowledgment: leftover };
      rig.outOne(tcp({ source: `${client}:80`, destination: visitor, ...challenge }));
      const refusal = tcp({ source: visitor, destination: outside(8080), flags: RST, sequence: leftover });
      expect(rig.in(refusal), `leftover ${leftover}`).toHaveLength(1);
      rig.inOne(syn(8080));
      rig.outOne(synAck());
      rig.inOne(tcp({ source: visitor, destination: outside(8080), sequence: 901, acknowledgment: 301 }));
      rig.pass(7_000_000);
      expect(rig.openFlows).toBe(1);
      // From then on a RST must be of this connection.
      expect(rig.in(refusal)).toHaveLength(0);
    }
  });

  test("cannot end a connection by a RST out of its window", () => {
    const rig = open();
    rig.inOne(syn(8080));
    rig.outOne(synAck());
    rig.inOne(tcp({ source: visitor, destination: outside(8080), sequence: 901, acknowledgment: 301 }));
    expect(rig.in(tcp({ source: visitor, destination: outside(8080), flags: RST, sequence: 1_000_000 }))).toHaveLength(
      0,
    );
    expect(rig.drops).toEqual({ "tcp-out-of-window": 1 });
    rig.pass(7_000_000);
    expect(rig.openFlows).toBe(1);
  });

  test("are offered no larger segments than the uplink carries, nor offer them", () => {
    const rig = open({ mtu: 1300 });
    const tcpOptions = concat(Uint8Array.of(2, 4), words(1460));
    const mss = (payload: Uint8Array) => (payload[22]! << 8) | payload[23]!;
    const asked = tcp({ source: visitor, destination: outside(8080), flags: SYN, sequence: 900, tcpOptions });
    expect(mss(rig.inOne(asked).payload)).toBe(1260);
    const answer = { source: `${client}:80`, destination: visitor, sequence: 300, acknowledgment: 901, tcpOptions };
    const left = rig.outOne(tcp({ ...answer, flags: SYN | ACK }));
    expect([mss(left.payload), left.checksumOk]).toEqual([1260, true]);
  });
});

describe("an ICMP error about a forwarded flow", () => {
  const visited = () => {
    const rig = open();
    const arrived = rig.inOne(datagram(7003));
    const answer = udp({ source: `${otherClient}:60003`, destination: visitor, data: pattern(50), dontFragment: true });
    return { rig, arrived, answer, left: rig.outOne(answer) };
  };

  test("from outside reaches the host, about the answer as it sent it", () => {
    const { rig, left, answer } = visited();
    const fields = { source: hop, destination: uplinkAddresses[0]!, type: 3, code: 4, nextHopMtu: 1300 };
    const arrived = rig.inOne(icmpError({ ...fields, quoted: left.bytes }));
    expect(arrived).toMatchObject({ source: hop, destination: otherClient, type: 3, code: 4, checksumOk: true });
    expect(arrived.data).toEqual(answer);
    expect(rig.in(icmpError({ ...fields, quoted: left.bytes }), 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
  });

  test("from the host goes out from the forwarded address, about the question as the visitor sent it", () => {
    const { rig, arrived } = visited();
    const error = icmpError({
      source: otherClient,
      destination: "192.0.2.99",
      type: 3,
      code: 3,
      quoted: arrived.bytes,
    });
    const left = rig.outOne(error);
    expect(left).toMatchObject({ source: uplinkAddresses[0], destination: "192.0.2.99", type: 3, code: 3 });
    expect(left.checksumOk).toBe(true);
    expect(left.data).toEqual(datagram(7003));
  });

  test("does not end it", () => {
    const { rig, left, answer } = visited();
    rig.inOne(icmpError({ source: hop, destination: uplinkAddresses[0]!, type: 3, code: 1, quoted: left.bytes }));
    expect(rig.outOne(answer).sourcePort).toBe(7003);
  });
});

test("a forwarded datagram may come, and be answered, in fragments and as a super-packet", () => {
  const rig = open();
  const whole = udp({ source: visitor, destination: outside(7000), data: pattern(4000) });
  const arrived = rig.in(fragmentsOf(whole, 1480).reverse());
  expect(parse(reassemble(arrived.map(({ bytes }) => bytes)))).toMatchObject({
    destination: otherClient,
    destinationPort: 60_000,
    checksumOk: true,
  });
  const answer = udp({ source: `${otherClient}:60000`, destination: visitor, data: pattern(4000) });
  const left = rig.out(fragmentsOf(answer, 1480).reverse());
  expect(parse(reassemble(left.map(({ bytes }) => bytes)))).toMatchObject({ sourcePort: 7000, checksumOk: true });
  const large = udp({ source: visitor, destination: outside(7000), data: pattern(6000), checksum: "partial" });
  const inside = rig.inOne(large, 0, partialVnet(large, 14, 1200));
  expect(parse(finishPartial(inside.bytes))).toMatchObject({ destinationPort: 60_000, checksumOk: true });
});
