/**
 * On a link without a MAC header the kernel is told the protocol of every packet, IPv4's or IPv6's, which a ppp needs to
 * know. A TUN with packet information (Linux: Documentation/networking/tuntap.rst) shows what it was told.
 */

import assert from "node:assert/strict";
import { loadNative } from "../../../src/io/native.ts";
import { openSockets } from "../../../src/io/packet-socket.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { describeLink, enterOwnNetwork, ip, sysctl } from "../../support/own-network.ts";
import { concat, ipv4, ipv6, UDP, udp } from "../../support/raw-packet.ts";

const IFF_TUN = 0x0001;
const IFF_VNET_HDR = 0x4000;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;
const vnetBytes = 10;

enterOwnNetwork();
sysctl("ipv6/conf/default/disable_ipv6", 1);
// Without IFF_NO_PI: what is read begins with flags and protocol, two bytes each.
const flags = IFF_TUN | IFF_VNET_HDR;
const tunFd = loadNative().tunOpen({ name: "ptp0", flags, offload: 0, vnetHeaderBytes: vnetBytes });
ip("link set ptp0 up");
const { ifindex } = describeLink("ptp0");
const [fd] = openSockets({
  interface: "ptp0",
  ifindex,
  linkHeaderBytes: 0,
  firstPort: 16384,
  lastPort: 32767,
  workers: 1,
  forwards: [],
  destinations: null,
});
const loop = new DeviceLoop([
  { fd: fd!, kind: "packet", sendProtocol: ETH_P_IP },
  { fd: tunFd, kind: "tun" },
]);

const payload = udp(53, 20000);
const packets = [
  ipv4({ source: 0xcb007102, destination: 0xc633640a, protocol: UDP, payload }),
  ipv6({ source: "2001:db8:1::2", destination: "2001:db8:ff::10", protocol: UDP, payload }),
] as const;
const order = Array.from({ length: 60 }, (_, i) => i % 3 === 0);
for (const isIpv6 of order) loop.send(0, concat(new Uint8Array(vnetBytes), packets[isIpv6 ? 1 : 0]));
const [, received] = loop.drain(50);
assert.deepEqual(
  received!.map((bytes) => new DataView(bytes.buffer).getUint16(2)),
  order.map((isIpv6) => (isIpv6 ? ETH_P_IPV6 : ETH_P_IP)),
);
loop.close();
