/** Every malformed packet is dropped under its own name, from either side, and opens nothing. */
import { describe, expect, test } from "vitest";
import {
  ACK,
  concat,
  DCCP,
  echo,
  FIN,
  gsoTcp,
  gsoUdp,
  type IpFields,
  icmpError,
  ip,
  PSH,
  parse,
  partialVnet,
  pattern,
  RST,
  SYN,
  TCP,
  tcp,
  UDP,
  UDP_LITE,
  URG,
  udp,
  type VnetFields,
} from "../support/packets.ts";
import { client, Rig, server, uplinkAddresses } from "./rig.ts";

const datagram = udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(40) });
const syn = tcp({ source: `${client}:5000`, destination: `${server}:80`, flags: SYN, tcpOptions: pattern(12) });
const ping = echo({ source: client, destination: server, data: pattern(16) });

/** Sends a packet both ways and returns the names it was dropped under; nothing may come of it. */
function dropsOf(packet: Uint8Array, vnet: VnetFields = {}): string[] {
  return [0, 14].map((linkBytes) => {
    const rig = new Rig({ links: [linkBytes] });
    const isInside = linkBytes === 0;
    if (isInside) rig.injectInside(packet, vnet);
    else rig.injectUplink(0, packet, shifted(vnet, linkBytes));
    rig.run();
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.left(-1)).toHaveLength(0);
    expect(rig.openFlows).toBe(0);
    const names = Object.keys(rig.drops);
    expect(Object.values(rig.drops)).toEqual([1]);
    return names[0]!;
  });
}

/** Offsets that count from the IP header, counted from the MAC header. */
function shifted(vnet: VnetFields, linkBytes: number): VnetFields {
  const { headerLength = 0, checksumStart = 0 } = vnet;
  return { ...vnet, headerLength: headerLength + linkBytes, checksumStart: checksumStart + linkBytes };
}

function expectDrop(packet: Uint8Array, name: string, vnet: VnetFields = {}): void {
  expect(dropsOf(packet, vnet)).toEqual([name, name]);
}

/** A copy with some bytes replaced and, unless it is the header's own checksum that is wrong, that one right again. */
function patched(packet: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = packet.slice();
  copy.set(bytes, at);
  return at >= 20 ? copy : withHeaderChecksum(copy);
}

function withHeaderChecksum(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy.set([0, 0], 10);
  const headerBytes = Math.min((copy[0]! & 15) * 4, copy.length);
  let sum = 0;
  for (let i = 0; i + 1 < headerBytes; i += 2) sum += (copy[i]! << 8) | copy[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  copy.set([(~sum >> 8) & 255, ~sum & 255], 10);
  return copy;
}

test("the packets that the others are made from are in order", () => {
  const rig = new Rig();
  expect(rig.out([datagram, syn, ping])).toHaveLength(3);
});

describe("IPv4", () => {
  test.each([
    ["udp", datagram],
    ["tcp", syn],
    ["ping", ping],
  ])("a %s packet that was cut off at any byte is truncated, or shorter than it says", (_, packet) => {
    for (let bytes = 0; bytes < packet.length; bytes++) {
      expectDrop(packet.slice(0, bytes), bytes < 20 ? "ip-truncated" : "ip-total-length");
    }
  });

  test("any version but 4 is dropped", () => {
    for (const version of [0, 3, 5, 7, 15]) expectDrop(patched(datagram, 0, (version << 4) | 5), "ip-version");
    // Read as IPv6, its next header makes no sense.
    expectDrop(patched(datagram, 0, 0x65), "extension-header");
  });

  test("a header shorter than 20 bytes, or longer than the packet, is dropped", () => {
    for (const words of [0, 1, 4]) expectDrop(patched(datagram, 0, 0x40 | words), "ip-header-length");
    expectDrop(patched(datagram.slice(0, 56), 0, 0x4f, 0, 0, 56), "ip-header-length");
    expectDrop(patched(datagram.slice(0, 28), 0, 0x48, 0, 0, 28), "ip-header-length");
  });

  test("a total length below the header's, or beyond what came, is dropped", () => {
    for (const length of [0, 19, datagram.length + 1, 65_535]) {
      expectDrop(patched(datagram, 2, length >> 8, length & 255), "ip-total-length");
    }
  });

  test("a header that any one bit has flipped in is dropped", () => {
    for (let bit = 0; bit < 160; bit++) {
      const copy = datagram.slice();
      copy[bit >> 3]! ^= 1 << (bit & 7);
      const [inside, outside] = dropsOf(copy);
      expect(inside).toBe(outside);
      // One bit makes it IPv6, whose next headers then make no sense.
      const names = ["ip-checksum", "ip-version", "ip-header-length", "ip-total-length", "extension-header"];
      expect(names).toContain(inside);
    }
    expectDrop(ip({ ...parse(datagram), headerChecksum: "wrong" }), "ip-checksum");
    expectDrop(ip({ ...parse(datagram), options: pattern(8), headerChecksum: "wrong" }), "ip-checksum");
  });

  test.each([
    ["loose", 131],
    ["strict", 137],
  ])("a %s source route is dropped, wherever it stands among the options", (_, kind) => {
    const route = [kind, 7, 4, 192, 0, 2, 1];
    for (const options of [route, [1, ...route], [148, 4, 0, 0, ...route], [1, 1, 1, kind]]) {
      expectDrop(ip({ ...parse(datagram), options: Uint8Array.from(options) }), "source-route");
    }
  });

  test.each([
    ["that only look like a source route: inside another option", [68, 8, 131, 7, 4, 0, 0, 0]],
    ["after the end of the list", [0, 131, 7, 4]],
    ["cut off", [7]],
    ["of length 0 and 1, which end the reading", [7, 0, 131, 7, 7, 1, 131, 7]],
    ["longer than the header", [7, 40, 4, 0]],
  ])("options %s are let through", (_, options) => {
    const packet = ip({ ...parse(datagram), options: Uint8Array.from(options) });
    expect(new Rig().out(packet)).toHaveLength(1);
  });

  test("sources that no host may have are dropped", () => {
    const fields = parse(datagram);
    const martians = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1"];
    for (const source of [...martians, "255.255.255.255"]) expectDrop(ip({ ...fields, source }), "bad-source");
    for (const destination of [...martians, "255.255.255.255"]) {
      expectDrop(ip({ ...fields, destination }), "bad-destination");
    }
  });

  test("a packet from its own destination (LAND) is dropped", () => {
    expectDrop(ip({ ...parse(datagram), source: server }), "bad-source");
    expectDrop(tcp({ source: `${server}:80`, destination: `${server}:80`, flags: SYN }), "bad-source");
  });

  test("group reports, which concern one link only, and protocol 0 are dropped by name", () => {
    for (const protocol of [0, 2]) expectDrop(ip({ ...parse(datagram), protocol }), "protocol-unsupported");
  });

  test("UDP-Lite and DCCP without room for the checksum that would have to change are dropped", () => {
    for (const protocol of [DCCP, UDP_LITE]) {
      for (const bytes of [0, 7]) expectDrop(short(datagram, bytes, { protocol }), "udp-length");
    }
  });
});

/** A whole IP packet around a cut payload. */
const short = (packet: Uint8Array, bytes: number, fields: Partial<IpFields> = {}) => {
  const whole = parse(packet);
  return ip({ ...whole, payload: whole.payload.slice(0, bytes), ...fields });
};

describe("TCP", () => {
  test("a segment that ends before its header does is dropped", () => {
    for (let bytes = 0; bytes < 32; bytes++) expectDrop(short(syn, bytes), "tcp-truncated");
    const fits = ip({ ...parse(syn), payload: parse(syn).payload.slice(0, 32) });
    expect(new Rig().out(fits)).toHaveLength(1);
  });

  test("an offset below 5, or beyond the segment, is dropped", () => {
    for (const dataOffset of [0, 1, 4, 6, 15]) {
      expectDrop(tcp({ source: `${client}:1`, destination: `${server}:2`, flags: SYN, dataOffset }), "tcp-truncated");
    }
  });

  test.each([
    ["NULL", 0],
    ["PSH alone", PSH],
    ["URG alone", URG],
    ["FIN without ACK", FIN],
    ["XMAS", FIN | PSH | URG],
    ["SYN and FIN", SYN | FIN],
    ["SYN, FIN and ACK", SYN | FIN | ACK],
    ["SYN and RST", SYN | RST],
    ["SYN, RST and ACK", SYN | RST | ACK],
    ["FIN and RST", FIN | RST],
    ["FIN, RST and ACK", FIN | RST | ACK],
    ["all", 0xff],
  ])("flags that no segment has are dropped: %s", (_, flags) => {
    expectDrop(tcp({ source: `${client}:1`, destination: `${server}:2`, flags }), "tcp-flags");
  });

  test("a SYN may carry data, PSH, URG and ECN marks", () => {
    for (const flags of [SYN, SYN | PSH, SYN | URG, SYN | 0xc0]) {
      const packet = tcp({ source: `${client}:1`, destination: `${server}:2`, flags, data: pattern(20) });
      expect(new Rig().out(packet)).toHaveLength(1);
    }
  });
});

describe("UDP", () => {
  test("a datagram that ends before its header does is dropped", () => {
    for (let bytes = 0; bytes < 8; bytes++) expectDrop(short(datagram, bytes), "udp-length");
  });

  test("a length below 8, or beyond the packet, is dropped; one below the packet's is not", () => {
    const withLength = (length: number) =>
      udp({ source: `${client}:1`, destination: `${server}:2`, data: pattern(10), length });
    for (const length of [0, 7, 19, 65_535]) expectDrop(withLength(length), "udp-length");
    for (const length of [8, 17, 18]) expect(new Rig().out(withLength(length))).toHaveLength(1);
  });
});

test("port 0 is nobody's: dropped on either end, for TCP and UDP", () => {
  for (const [source, destination] of [
    [`${client}:0`, `${server}:53`],
    [`${client}:5000`, `${server}:0`],
    [`${client}:0`, `${server}:0`],
  ] as const) {
    expectDrop(udp({ source, destination }), "port-zero");
    expectDrop(tcp({ source, destination, flags: SYN }), "port-zero");
  }
});

describe("ICMP", () => {
  test("a message that ends before its header does is dropped", () => {
    for (let bytes = 0; bytes < 8; bytes++) expectDrop(short(ping, bytes), "icmp-truncated");
  });

  test("a wrong checksum is dropped, of a message of odd length too", () => {
    expectDrop(echo({ source: client, destination: server, checksum: "wrong" }), "icmp-checksum");
    expectDrop(echo({ source: client, destination: server, data: pattern(3), checksum: "wrong" }), "icmp-checksum");
    expect(new Rig().out(echo({ source: client, destination: server, data: pattern(3) }))).toHaveLength(1);
  });

  test("types that are neither a query, nor a reply, nor an error are dropped by name", () => {
    for (const type of [1, 2, 4, 5, 9, 10, 15, 16, 17, 18, 30, 40, 255]) {
      expectDrop(echo({ source: client, destination: server, type }), "icmp-type");
    }
  });

  test("an error in fragments is dropped: what it quotes may not be whole", () => {
    const error = parse(icmpError({ source: client, destination: server, type: 3, quoted: datagram }));
    expectDrop(ip({ ...error, moreFragments: true, payload: error.payload.slice(0, 24) }), "icmp-type");
  });
});

describe("first fragments", () => {
  test("that hold less than the layer-4 header are dropped", () => {
    for (const bytes of [0, 8, 16]) expectDrop(short(syn, bytes, { moreFragments: true }), "fragment-too-short");
    expectDrop(short(datagram, 0, { moreFragments: true }), "fragment-too-short");
    expectDrop(short(ping, 0, { moreFragments: true }), "fragment-too-short");
    expect(new Rig().out(short(datagram, 8, { moreFragments: true }))).toHaveLength(1);
  });

  test("that end within the TCP options are dropped", () => {
    expectDrop(short(syn, 24, { moreFragments: true }), "tcp-truncated");
  });
});

test("a later fragment that would end beyond 65,535 bytes is dropped, and one that just fits is not", () => {
  const piece = (offset: number, bytes: number, options = new Uint8Array()) =>
    ip({ source: client, destination: server, protocol: UDP, payload: new Uint8Array(bytes), offset, options });
  expectDrop(piece(65_528, 8), "fragment-beyond-end");
  expectDrop(piece(65_512, 4), "fragment-beyond-end");
  expectDrop(piece(65_504, 8, Uint8Array.of(1, 1, 1, 1)), "fragment-beyond-end");
  const rig = new Rig();
  rig.out(piece(65_512, 3));
  expect(rig.drops).toEqual({});
});

describe("a vnet header that lies", () => {
  const partialUdp = udp({
    source: `${client}:1`,
    destination: `${server}:2`,
    data: pattern(3000),
    checksum: "partial",
  });
  const partialTcp = tcp({ source: `${client}:1`, destination: `${server}:2`, flags: SYN, checksum: "partial" });
  const superPacket = partialVnet(partialUdp, 0, 1000);

  test("the ones that tell the truth pass", () => {
    expect(new Rig().out(partialUdp, 0, superPacket)).toHaveLength(1);
    expect(new Rig().out(partialTcp, 0, partialVnet(partialTcp))).toHaveLength(1);
    // Linux sets no header length where there is no segmentation, and some versions not even then.
    expect(new Rig().out(partialUdp, 0, { ...superPacket, headerLength: 0 })).toHaveLength(1);
  });

  test.each<[string, Uint8Array, VnetFields]>([
    ["a checksum that starts before layer 4", partialUdp, { ...superPacket, checksumStart: 19 }],
    ["a checksum that starts after layer 4", partialUdp, { ...superPacket, checksumStart: 21 }],
    ["a checksum that starts outside the packet", partialUdp, { ...superPacket, checksumStart: 65_500 }],
    ["a TCP checksum where UDP has none", partialUdp, { ...superPacket, checksumOffset: 16 }],
    ["a UDP checksum where TCP has none", partialTcp, { ...partialVnet(partialTcp), checksumOffset: 6 }],
    ["a checksum outside the packet", partialUdp, { ...superPacket, checksumOffset: 65_000 }],
    ["a partial checksum of a ping", ping, { flags: 1, checksumStart: 20, checksumOffset: 2 }],
    ["segments of 0 bytes", partialUdp, { ...superPacket, gsoSize: 0 }],
    ["TCP segments of a UDP packet", partialUdp, { ...superPacket, gsoType: gsoTcp }],
    ["UDP segments of a TCP packet", partialTcp, { ...partialVnet(partialTcp, 0, 100), gsoType: gsoUdp }],
    ["segments of IPv6", partialTcp, { ...partialVnet(partialTcp, 0, 100), gsoType: 4 }],
    ["fragments of UDP (UFO)", partialUdp, { ...superPacket, gsoType: 3 }],
    ["a type that there is not", partialUdp, { ...superPacket, gsoType: 0x7f }],
    ["a congestion mark on nothing", partialTcp, { ...partialVnet(partialTcp), gsoType: 0x80 }],
    ["segments without a partial checksum", partialUdp, { ...superPacket, flags: 0 }],
    ["segments without a partial checksum, of TCP", syn, { gsoType: gsoTcp, gsoSize: 1000 }],
    ["a header longer than the packet", partialUdp, { ...superPacket, headerLength: partialUdp.length + 1 }],
    ["a header that ends where 16 bits do", partialUdp, { ...superPacket, headerLength: 65_521 }],
  ])("is dropped: %s", (_, packet, vnet) => {
    expectDrop(packet, "vnet-header", vnet);
  });

  test("is dropped: offloads of a fragment, which no card could do", () => {
    const [first] = [ip({ ...parse(partialUdp), moreFragments: true })];
    expectDrop(first!, "vnet-header", partialVnet(partialUdp));
    expectDrop(first!, "vnet-header", superPacket);
  });
});

test("every byte of a packet's surroundings may be anything", () => {
  const rig = new Rig();
  new Uint8Array(rig.io.memory).fill(0xff, rig.io.layout.slotsAt);
  const left = rig.outOne(datagram);
  expect(left).toMatchObject({ source: uplinkAddresses[0], checksumOk: true });
  expect(left.bytes).toHaveLength(datagram.length);
  expect(rig.out(concat(ping, new Uint8Array(200).fill(0xff)))[0]!.bytes).toHaveLength(ping.length);
  expect(parse(ping).protocol).not.toBe(TCP);
});
