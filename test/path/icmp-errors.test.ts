/** ICMP errors about our flows, from outside and from inside (RFC 5508, sections 4.2 to 4.4). */
import { describe, expect, test } from "vitest";
import { ACK, echo, icmpError, ip, parse, partialVnet, pattern, SYN, TCP, tcp, UDP, udp } from "../support/packets.ts";
import { client, errorSource, type Left, otherClient, otherServer, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
/** A router on the way. */
const hop = "198.51.100.77";

/**
 * A packet as its host sent it, but with the identification that it has on the wire: that is rewritten on the
 * way out (RFC 6864, section 5.3), and an error's quote is not restored in it. No host looks at it there.
 */
function asSent(packet: Uint8Array, left: Left): Uint8Array {
  return ip({ ...parse(packet), identification: left.identification });
}

/** The first `bytes` of a packet, as an error quotes it. */
function quote(packet: Uint8Array, bytes: number): Uint8Array {
  return packet.slice(0, bytes);
}

describe.each([
  ["udp", () => udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(64) })],
  ["udp without a checksum", () => udp({ source: `${client}:5000`, destination: `${server}:53`, checksum: "none" })],
  ["tcp", () => tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN, data: pattern(10) })],
  ["a ping", () => echo({ source: client, destination: server, identifier: 5000, data: pattern(56) })],
])("about %s", (_, build) => {
  test.each([
    ["unreachable", 3, 1, 0],
    ["port unreachable", 3, 3, 0],
    ["fragmentation needed", 3, 4, 1400],
    ["time exceeded", 11, 0, 0],
    ["parameter problem", 12, 0, 0],
  ])("an error from outside (%s) reaches the host, about the packet as it sent it", (_, type, code, nextHopMtu) => {
    const rig = new Rig();
    const sent = build();
    const left = rig.outOne(sent);
    const error = icmpError({
      source: hop,
      destination: mapped,
      type,
      code,
      nextHopMtu,
      quoted: left.bytes,
      tos: 0xc0,
    });
    const arrived = rig.inOne(error);
    expect(arrived).toMatchObject({ source: hop, destination: client, type, code, tos: 0xc0, checksumOk: true });
    expect(arrived.data).toEqual(asSent(sent, left));
    expect(arrived.payload.slice(4, 8)).toEqual(parse(error).payload.slice(4, 8));
  });

  test("an error that quotes 8 bytes reaches the host too", () => {
    const rig = new Rig();
    const sent = build();
    const left = rig.outOne(sent);
    const arrived = rig.inOne(icmpError({ source: hop, destination: mapped, type: 11, quoted: quote(left.bytes, 28) }));
    expect(arrived).toMatchObject({ destination: client, checksumOk: true });
    expect(arrived.data).toEqual(quote(asSent(sent, left), 28));
  });

  test("an error that quotes the options of the packet is translated behind them", () => {
    const rig = new Rig();
    const left = rig.outOne(build());
    const withOptions = ip({ ...left, options: Uint8Array.of(148, 4, 0, 0) });
    const arrived = rig.inOne(icmpError({ source: hop, destination: mapped, type: 11, quoted: withOptions }));
    expect(parse(arrived.data)).toMatchObject({ source: client, headerBytes: 24, headerChecksumOk: true });
    expect(parse(arrived.data).payload).toEqual(parse(build()).payload);
  });

  test("an error about something we never sent, or about a later fragment, is dropped", () => {
    const rig = new Rig();
    const left = rig.outOne(build());
    const quotes = [
      ip({ ...left, source: "203.0.113.3" }),
      ip({ ...left, destination: otherServer }),
      ip({ ...left, offset: 8 }),
      quote(left.bytes, 27),
      quote(left.bytes, 19),
      new Uint8Array(28),
      Uint8Array.of(0x41, ...left.bytes.slice(1)),
      Uint8Array.of(0x4f, ...left.bytes.slice(1, 40)),
      Uint8Array.of(0x65, ...left.bytes.slice(1)),
      ip({ ...left, headerChecksum: "wrong" }),
      ip({ ...left, protocol: 47 }),
      build(),
    ];
    for (const quoted of quotes)
      expect(rig.in(icmpError({ source: hop, destination: mapped, type: 3, quoted }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": quotes.length });
  });

  test("an error with a wrong checksum of its own is dropped", () => {
    const rig = new Rig();
    const quoted = rig.outOne(build()).bytes;
    expect(rig.in(icmpError({ source: hop, destination: mapped, type: 3, quoted, checksum: "wrong" }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-checksum": 1 });
  });

  test("an error on another uplink than the packet's is dropped", () => {
    const rig = new Rig({ links: [14, 14] });
    const quoted = rig.outOne(build()).bytes;
    expect(rig.in(icmpError({ source: hop, destination: mapped, type: 3, quoted }), 1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "wrong-uplink": 1 });
  });

  test("an error that was sent to somebody else than it quotes is dropped", () => {
    const rig = new Rig();
    const quoted = rig.outOne(build()).bytes;
    expect(rig.in(icmpError({ source: hop, destination: otherServer, type: 3, quoted }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 1 });
  });

  test("errors neither end a flow nor keep it alive", () => {
    const rig = new Rig({
      timeouts: { tcpEstablishedMs: 1e5, tcpTransitoryMs: 1e5, udpMs: 1e5, icmpMs: 1e5, otherMs: 1e5 },
    });
    const quoted = rig.outOne(build()).bytes;
    const error = icmpError({ source: hop, destination: mapped, type: 3, code: 1, quoted });
    rig.pass(60_000);
    expect(rig.in(error)).toHaveLength(1);
    expect(rig.openFlows).toBe(1);
    rig.pass(42_000);
    expect(rig.openFlows).toBe(0);
  });
});

test("an error may quote any part of a TCP header: only what it quotes is translated", () => {
  const rig = new Rig();
  const sent = tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN, data: pattern(10) });
  const left = rig.outOne(sent);
  for (let bytes = 28; bytes <= sent.length; bytes++) {
    const quoted = quote(left.bytes, bytes);
    const arrived = rig.inOne(icmpError({ source: hop, destination: mapped, type: 11, quoted }));
    const expected = quote(asSent(sent, left), bytes);
    // Half a checksum cannot be kept right.
    if (bytes === 20 + 17) expected[36] = quoted[36]!;
    expect(arrived).toMatchObject({ destination: client, checksumOk: true });
    expect(arrived.data, `${bytes} bytes`).toEqual(expected);
  }
});

describe("an error from the inside", () => {
  const udpAnswer = (port: number) =>
    udp({ source: `${server}:53`, destination: `${mapped}:${port}`, data: pattern(80) });

  test("goes out from the mapped address, about the packet as the remote sent it", () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const answer = udpAnswer(left.sourcePort);
    const quoted = rig.inOne(answer).bytes;
    const error = rig.outOne(icmpError({ source: client, destination: server, type: 3, code: 3, quoted }));
    expect(error).toMatchObject({ source: mapped, destination: server, type: 3, code: 3, checksumOk: true });
    expect(error.data).toEqual(answer);
  });

  test("is translated when a router of the inside sends it, or our own kernel", () => {
    const rig = new Rig();
    const left = rig.outOne(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN }));
    const answer = tcp({ source: `${server}:80`, destination: `${mapped}:${left.sourcePort}`, flags: SYN | ACK });
    const quoted = quote(rig.inOne(answer).bytes, 28);
    const error = rig.outOne(icmpError({ source: "192.168.10.1", destination: server, type: 11, quoted }));
    expect(error).toMatchObject({ source: mapped, destination: server, type: 11, checksumOk: true });
    expect(error.data).toEqual(quote(answer, 28));
  });

  test("about the answer of a ping carries the outside identifier", () => {
    const rig = new Rig();
    const left = rig.outOne(echo({ source: client, destination: server, identifier: 7 }));
    const answer = echo({ source: server, destination: mapped, type: 0, identifier: left.identifier });
    const quoted = rig.inOne(answer).bytes;
    expect(rig.outOne(icmpError({ source: client, destination: server, type: 3, quoted })).data).toEqual(answer);
  });

  test("to somebody else than the flow's remote is dropped", () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const quoted = rig.inOne(udpAnswer(left.sourcePort)).bytes;
    expect(rig.out(icmpError({ source: client, destination: otherServer, type: 3, quoted }))).toHaveLength(0);
    const unknown = udp({ source: `${server}:53`, destination: `${otherClient}:5000` });
    expect(rig.out(icmpError({ source: otherClient, destination: server, type: 3, quoted: unknown }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 2 });
  });

  test("waits for nobody: on an uplink that is not ready it is dropped", () => {
    const rig = new Rig();
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const quoted = rig.inOne(udpAnswer(left.sourcePort)).bytes;
    rig.setUplink(0, { ready: 0 });
    expect(rig.out(icmpError({ source: client, destination: server, type: 3, quoted }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 1 });
  });

  test("that is too long for its uplink is never cut against its will", () => {
    const rig = new Rig({ mtu: 600 });
    const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
    const quoted = rig.inOne(
      udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data: pattern(900) }),
    ).bytes;
    const fields = { source: client, destination: server, type: 3, quoted };
    expect(rig.out(icmpError({ ...fields, dontFragment: true }))).toHaveLength(0);
    expect(rig.out(icmpError({ ...fields, options: Uint8Array.of(1, 1, 1, 1) }))).toHaveLength(0);
    expect(rig.drops).toEqual({ "too-big": 2 });
    expect(rig.left(-1), "no error about an error").toHaveLength(0);
    expect(rig.out(icmpError(fields))).toHaveLength(2);
  });
});

test("redirects and source quenches, which concern one link only or nobody, are dropped both ways", () => {
  const rig = new Rig();
  const left = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
  for (const type of [4, 5]) {
    expect(rig.in(icmpError({ source: hop, destination: mapped, type, quoted: left.bytes }))).toHaveLength(0);
    expect(rig.out(icmpError({ source: client, destination: server, type, quoted: left.bytes }))).toHaveLength(0);
  }
  expect(rig.drops).toEqual({ "icmp-type": 4 });
});

test("a next-hop MTU that no link may have is raised before it reaches the host", () => {
  const rig = new Rig();
  const quoted = rig.outOne(tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN })).bytes;
  const tiny = icmpError({ source: hop, destination: mapped, type: 3, code: 4, nextHopMtu: 68, quoted });
  const arrived = rig.inOne(tiny);
  expect(arrived.checksumOk).toBe(true);
  expect((arrived.payload[6]! << 8) | arrived.payload[7]!).toBe(576);
});

describe("fragmentation needed, of our own", () => {
  const tooBig = (port = 5000, data = 1480) =>
    udp({ source: `${client}:${port}`, destination: `${server}:53`, data: pattern(data), dontFragment: true });

  test("tells the sender of a packet with DF the MTU of its uplink, and quotes the packet as it sent it", () => {
    const rig = new Rig({ mtu: 1400 });
    expect(rig.out(tooBig())).toHaveLength(0);
    const [error] = rig.left(-1);
    expect(error).toMatchObject({ source: errorSource, destination: client, type: 3, code: 4, checksumOk: true });
    expect(error).toMatchObject({ ttl: 64, tos: 0xc0, headerBytes: 20, moreFragments: false, offset: 0 });
    expect(error!.payload.slice(4, 8)).toEqual(Uint8Array.of(0, 0, 1400 >> 8, 1400 & 255));
    expect(error!.bytes).toHaveLength(576);
    expect(error!.data).toEqual(tooBig().slice(0, 548));
    expect(error!.vnet).toMatchObject({ flags: 0, gsoType: 0 });
    expect(rig.drops).toEqual({ "too-big": 1 });
  });

  test("is not sent for a packet that just fits", () => {
    const rig = new Rig({ mtu: 1400 });
    expect(rig.outOne(tooBig(5000, 1372)).bytes).toHaveLength(1400);
    expect(rig.out(tooBig(5000, 1373))).toHaveLength(0);
    expect(rig.left(-1)).toHaveLength(1);
  });

  test.each([
    ["TCP", TCP],
    ["UDP", UDP],
  ])("counts the segments of a %s super-packet, not the whole", (_, protocol) => {
    const rig = new Rig({ mtu: 1400 });
    const fields = { source: `${client}:5000`, destination: `${server}:80`, data: pattern(20_000) };
    rig.out(tcp({ ...fields, data: new Uint8Array(), flags: SYN }));
    const big =
      protocol === TCP
        ? tcp({ ...fields, dontFragment: true, checksum: "partial", tcpOptions: pattern(12) })
        : udp({ ...fields, checksum: "partial" });
    const headers = protocol === TCP ? 52 : 28;
    expect(rig.out(big, 0, partialVnet(big, 0, 1400 - headers))).toHaveLength(1);
    expect(rig.out(big, 0, partialVnet(big, 0, 1400 - headers + 1))).toHaveLength(0);
    const [error] = rig.left(-1);
    expect(error).toMatchObject({ destination: client, type: 3, code: 4, checksumOk: true });
  });

  test("is sent for a packet without DF when its options forbid to cut it here", () => {
    const rig = new Rig({ mtu: 600 });
    const options = Uint8Array.of(1, 1, 1, 1);
    expect(rig.out(udp({ source: `${client}:1`, destination: `${server}:2`, data: pattern(700), options }))).toEqual(
      [],
    );
    expect(rig.left(-1)).toHaveLength(1);
  });

  test("comes in bursts of 50 and then a hundred times a second", () => {
    const rig = new Rig({ mtu: 1400, receiveSlots: 256, scratchSlots: 256 });
    const send = (packets: number) => {
      rig.out(new Array(packets).fill(tooBig()));
      return rig.left(-1).length;
    };
    expect(send(200)).toBe(50);
    expect(send(10)).toBe(0);
    rig.nowMs += 100;
    expect(send(200)).toBe(10);
    rig.nowMs += 3_600_000;
    expect(send(200)).toBe(50);
    expect(rig.drops).toEqual({ "too-big": 610 });
  });

  test("is skipped when there is no slot to write it in, and the packet still dropped", () => {
    const rig = new Rig({ mtu: 1400, scratchSlots: 1 });
    rig.out([tooBig(), tooBig()]);
    expect(rig.left(-1)).toHaveLength(1);
    expect(rig.drops).toEqual({ "too-big": 2 });
  });
});
