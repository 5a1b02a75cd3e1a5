/** Super-packets and partial checksums: the virtio-net header moves with the packet from link to link. */
import { describe, expect, test } from "vitest";
import {
  ACK,
  finishPartial,
  gsoTcp,
  gsoUdp,
  parse,
  partialVnet,
  pattern,
  SYN,
  tcp,
  udp,
  type VnetFields,
} from "../support/packets.ts";
import { client, Rig, server, uplinkAddresses } from "./rig.ts";

const source = `${client}:5000`;
const destination = `${server}:80`;
const noOffload = { flags: 0, gsoType: 0, headerLength: 0, gsoSize: 0, checksumStart: 0, checksumOffset: 0 };

function connected(links: number[]): { rig: Rig; outside: string } {
  const rig = new Rig({ links });
  const left = rig.outOne(tcp({ source, destination, flags: SYN }));
  return { rig, outside: `${uplinkAddresses[0]}:${left.sourcePort}` };
}

describe.each([
  ["an Ethernet uplink", 14],
  ["a point-to-point uplink", 0],
])("over %s", (_, linkBytes) => {
  test("a TCP super-packet goes out whole, its offsets counted from the link's first byte", () => {
    const { rig } = connected([linkBytes]);
    const packet = tcp({ source, destination, data: pattern(40_000), checksum: "partial", tcpOptions: pattern(12) });
    const left = rig.outOne(packet, 0, partialVnet(packet, 0, 1448));
    expect(left.vnet).toEqual({
      flags: 1,
      gsoType: gsoTcp,
      headerLength: linkBytes + 20 + 32,
      gsoSize: 1448,
      checksumStart: linkBytes + 20,
      checksumOffset: 16,
    });
    expect(left.data).toEqual(pattern(40_000));
    expect(parse(finishPartial(left.bytes)).checksumOk).toBe(true);
  });

  test("a TCP super-packet comes in whole, its offsets counted from the IP header", () => {
    const { rig, outside } = connected([linkBytes]);
    const packet = tcp({ source: destination, destination: outside, data: pattern(60_000), checksum: "partial" });
    const left = rig.inOne(packet, 0, partialVnet(packet, linkBytes, 1460));
    expect(left.vnet).toEqual({ ...partialVnet(left.bytes, 0, 1460) });
    expect(parse(finishPartial(left.bytes))).toMatchObject({ checksumOk: true, destination: client });
  });

  test("a UDP super-packet goes out and comes in whole", () => {
    const rig = new Rig({ links: [linkBytes] });
    const packet = udp({ source, destination, data: pattern(12_000), checksum: "partial" });
    const left = rig.outOne(packet, 0, partialVnet(packet, 0, 1200));
    expect(left.vnet).toEqual({ ...partialVnet(left.bytes, linkBytes, 1200), gsoType: gsoUdp });
    expect(parse(finishPartial(left.bytes)).checksumOk).toBe(true);
    const answer = udp({
      source: destination,
      destination: `${left.source}:${left.sourcePort}`,
      data: pattern(2400),
      checksum: "partial",
    });
    const arrived = rig.inOne(answer, 0, partialVnet(answer, linkBytes, 1200));
    expect(arrived.vnet).toEqual(partialVnet(arrived.bytes, 0, 1200));
    expect(parse(finishPartial(arrived.bytes)).checksumOk).toBe(true);
  });

  test("a plain packet with a partial checksum keeps it partial", () => {
    const rig = new Rig({ links: [linkBytes] });
    const packet = udp({ source, destination, data: pattern(33), checksum: "partial", options: pattern(4).fill(1) });
    const left = rig.outOne(packet, 0, partialVnet(packet));
    const headerLength = linkBytes + 24 + 8;
    expect(left.vnet).toEqual({
      ...noOffload,
      flags: 1,
      headerLength,
      checksumStart: linkBytes + 24,
      checksumOffset: 6,
    });
    expect(parse(finishPartial(left.bytes)).checksumOk).toBe(true);
  });

  test("a packet without offloads has a header of zeros, whatever stood there before", () => {
    const { rig, outside } = connected([linkBytes]);
    // DATA_VALID (2) and a stale offset: the checksum was verified, which concerns nobody further on.
    const stale: VnetFields = { flags: 2, headerLength: 54, checksumStart: 34, checksumOffset: 16 };
    expect(rig.inOne(tcp({ source: destination, destination: outside, flags: SYN | ACK }), 0, stale).vnet).toEqual(
      noOffload,
    );
    expect(rig.outOne(tcp({ source, destination }), 0, stale).vnet).toEqual(noOffload);
  });

  test("congestion marks on a super-packet are kept", () => {
    const { rig } = connected([linkBytes]);
    const packet = tcp({ source, destination, flags: ACK | 0x80, data: pattern(3000), checksum: "partial" });
    const left = rig.outOne(packet, 0, { ...partialVnet(packet, 0, 1448), gsoType: gsoTcp | 0x80 });
    expect(left.vnet.gsoType).toBe(gsoTcp | 0x80);
  });
});
