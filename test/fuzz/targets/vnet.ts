/**
 * Any packet, IPv4 or IPv6, with any vnet header, the whole way out or in: what leaves has a vnet header that the kernel takes, and if the checksum was
 * right, or would have been once the card had finished it, it still is.
 *
 *     input: [how 1][vnet header 10][packet]      how: 1, 2 from uplink 0, 1; 4 mend the header; 8 and layer 4
 */
import assert from "node:assert/strict";
import { client, firstPort, server, uplinkAddresses } from "../../path/rig.ts";
import {
  ACK,
  concat,
  echo,
  finishPartial,
  ICMP,
  parse,
  partialVnet,
  pattern,
  readVnetHeader,
  SYN,
  TCP,
  tcp,
  UDP,
  udp,
  vnetHeader,
} from "../../support/packets.ts";
import {
  DESTINATION_OPTIONS,
  echo6,
  finishPartial6,
  fragmentsOf6,
  HOP_BY_HOP,
  ICMPV6,
  padding,
  parse6,
  partialVnet6,
  tcp6,
  udp6,
} from "../../support/packets6.ts";
import { mendHeader, mendIcmp, mendLayer4Of6, mendPorts } from "../mend.ts";
import { clear, everything, links, openStage, runOne } from "../stage.ts";
import { checkVnet } from "../vnet.ts";

const stage = openStage();

export function fuzz(input: Uint8Array): void {
  if (input.length < 12) return;
  const how = input[0]!;
  const side = (how & 3) - 1;
  if (side > 1) return;
  const vnet = readVnetHeader(input.subarray(1, 11));
  const packet = input.slice(11);
  if (how & 4) mendHeader(packet);
  if (how & 8) for (const mend of [mendIcmp, mendPorts, mendLayer4Of6]) mend(packet);
  runOne(stage, side, packet, vnet);
  const wasRight = isRight(packet, vnet.flags);
  const protocol = protocolOf(packet);
  for (const { uplink, four, six } of everything(stage)) {
    for (const left of [...four, ...six]) {
      checkVnet(left, uplink < 0 ? 0 : links[uplink]!);
      // A refusal is an ICMP error of ours, which quotes the packet.
      if (left.protocol !== protocol) assert.ok([ICMP, ICMPV6].includes(left.protocol) && left.checksumOk);
      else if (wasRight) assert.ok(isRight(left.bytes, left.vnet.flags) ?? true, "the checksum stays right");
    }
  }
  clear(stage);
}

/** Whether the checksum is right once a partial one is finished; undefined where it can't be known: of a fragment, a stump, another protocol. */
function isRight(bytes: Uint8Array, flags: number): boolean | undefined {
  try {
    const isPartial = (flags & 1) !== 0;
    if (bytes[0]! >>> 4 === 6) {
      const whole = bytes.slice(0, 40 + ((bytes[4]! << 8) | bytes[5]!));
      const packet = parse6(whole);
      if (packet.fragment !== null || packet.payload.length < 20 || ![TCP, UDP, ICMPV6].includes(packet.protocol))
        return undefined;
      return isPartial && packet.protocol !== ICMPV6 ? parse6(finishPartial6(whole)).checksumOk : packet.checksumOk;
    }
    const whole = bytes.slice(0, (bytes[2]! << 8) | bytes[3]!);
    const packet = parse(whole);
    if (packet.moreFragments || packet.offset > 0 || packet.payload.length < 20) return undefined;
    if (![TCP, UDP, ICMP].includes(packet.protocol)) return undefined;
    return isPartial && packet.protocol !== ICMP ? parse(finishPartial(whole)).checksumOk : packet.checksumOk;
  } catch {
    return undefined;
  }
}

/** Of the upper layer; -1 of what is no packet. */
function protocolOf(bytes: Uint8Array): number {
  try {
    return bytes[0]! >>> 4 === 6 ? parse6(bytes.subarray(0, 40 + ((bytes[4]! << 8) | bytes[5]!))).protocol : bytes[9]!;
  } catch {
    return -1;
  }
}

export function seeds(): Uint8Array[] {
  const out = { source: `${client}:5000`, destination: `${server}:80` };
  const back = { source: "192.0.2.7:4000", destination: `${uplinkAddresses[0]}:80` };
  const segments = tcp({ ...out, flags: SYN, data: pattern(1200), checksum: "partial" });
  const datagram = udp({ ...out, data: pattern(1000), checksum: "partial" });
  const inbound = tcp({ ...back, flags: SYN, data: pattern(900), checksum: "partial" });
  const out6 = { source: "[fd00:10::2]:5000", destination: "[2001:db8:ff::10]:80" };
  const segments6 = tcp6({ ...out6, flags: SYN, data: pattern(1200), checksum: "partial" });
  const datagram6 = udp6({ ...out6, data: pattern(1000), checksum: "partial" });
  const extended = udp6({ ...out6, extensions: [padding(HOP_BY_HOP), padding(DESTINATION_OPTIONS, 1)] });
  const plain6 = [
    extended,
    tcp6({ ...out6, flags: SYN }),
    echo6({ source: "fd00:10::2", destination: "2001:db8:ff::10" }),
  ];
  const plain = [tcp({ ...out, flags: ACK }), udp(out), echo({ source: client, destination: server })];
  return [
    inputOf(0, segments, partialVnet(segments, 0, 500)),
    inputOf(0, segments, partialVnet(segments)),
    inputOf(0, datagram, partialVnet(datagram, 0, 400)),
    inputOf(1, inbound, partialVnet(inbound, 14, 400)),
    inputOf(2, inbound, partialVnet(inbound, 0, 400)),
    inputOf(0, segments6, partialVnet6(segments6, 0, 500)),
    inputOf(0, datagram6, partialVnet6(datagram6, 0, 400)),
    ...plain6.map((packet) => inputOf(8, packet)),
    ...fragmentsOf6(udp6({ ...out6, data: pattern(100) }), 64).map((packet) => inputOf(0, packet)),
    ...plain.map((packet) => inputOf(12, packet)),
    inputOf(1, udp({ ...back, destination: `${uplinkAddresses[0]}:${firstPort}` })),
  ];
}

function inputOf(how: number, packet: Uint8Array, vnet = {}): Uint8Array {
  return concat(Uint8Array.of(how), vnetHeader(vnet), packet);
}
