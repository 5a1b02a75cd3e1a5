/**
 * Any packet with any vnet header, the whole way out or in: what leaves has a vnet header that the kernel takes, and if the checksum was
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
import { mendHeader, mendIcmp, mendPorts } from "../mend.ts";
import { clear, everything, links, openStage } from "../stage.ts";
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
  if (how & 8) for (const mend of [mendIcmp, mendPorts]) mend(packet);
  if (side < 0) stage.injectInside(packet, vnet);
  else stage.injectUplink(side, packet, vnet);
  stage.run();
  for (const { uplink, left } of everything(stage)) {
    for (const each of left) {
      checkVnet(each, uplink < 0 ? 0 : links[uplink]!);
      // A refusal is an ICMP error of ours, which quotes the packet.
      if (each.protocol !== packet[9]) assert.ok(each.protocol === ICMP && each.checksumOk);
      else if (isRight(packet, vnet.flags)) assert.ok(isRight(each.bytes, each.vnet.flags), "the checksum stays right");
    }
  }
  clear(stage);
}

/** Whether the checksum is right once a partial one is finished; a fragment's cannot be known, and is not said to be. */
function isRight(bytes: Uint8Array, flags: number): boolean {
  const whole = bytes.slice(0, (bytes[2]! << 8) | bytes[3]!);
  const packet = parse(whole);
  if (packet.moreFragments || packet.offset > 0 || packet.payload.length < 20) return false;
  if (packet.protocol !== TCP && packet.protocol !== UDP) return packet.checksumOk;
  return (flags & 1) === 0 ? packet.checksumOk : parse(finishPartial(whole)).checksumOk;
}

export function seeds(): Uint8Array[] {
  const out = { source: `${client}:5000`, destination: `${server}:80` };
  const back = { source: "192.0.2.7:4000", destination: `${uplinkAddresses[0]}:80` };
  const segments = tcp({ ...out, flags: SYN, data: pattern(1200), checksum: "partial" });
  const datagram = udp({ ...out, data: pattern(1000), checksum: "partial" });
  const inbound = tcp({ ...back, flags: SYN, data: pattern(900), checksum: "partial" });
  const plain = [tcp({ ...out, flags: ACK }), udp(out), echo({ source: client, destination: server })];
  return [
    inputOf(0, segments, partialVnet(segments, 0, 500)),
    inputOf(0, segments, partialVnet(segments)),
    inputOf(0, datagram, partialVnet(datagram, 0, 400)),
    inputOf(1, inbound, partialVnet(inbound, 14, 400)),
    inputOf(2, inbound, partialVnet(inbound, 0, 400)),
    ...plain.map((packet) => inputOf(12, packet)),
    inputOf(1, udp({ ...back, destination: `${uplinkAddresses[0]}:${firstPort}` })),
  ];
}

function inputOf(how: number, packet: Uint8Array, vnet = {}): Uint8Array {
  return concat(Uint8Array.of(how), vnetHeader(vnet), packet);
}
