/**
 * The kernel, with our program, chooses the TUN queue for IPv6 that `steer(0, port)` names.
 *
 *     right ──wire── left ──(kernel forwards)── sluice0, three queues
 *
 * Each of six hundred random packets is found again by its flow label. What does not show a port directly after the
 * fixed header is queue 0's.
 */

import { steer } from "../../../src/tables/steering-hash.ts";
import { ip, sysctl } from "../../support/own-network.ts";
import { QueueFinder } from "../../support/queue-finder.ts";
import {
  fragmentFields,
  GRE,
  ICMPV6,
  type Ipv6Fields,
  icmp6,
  icmpError6,
  ipv6,
  noOptions,
  TCP,
  tcp,
  UDP,
  udp,
} from "../../support/raw-packet.ts";

const queues = 3;
const packets = 600;
const server = "2001:db8:ff::10";

const finder = new QueueFinder({
  queues,
  prepareWire() {
    sysctl("ipv6/conf/all/forwarding", 1);
    sysctl("ipv6/conf/left/disable_ipv6", 0);
  },
  prepareTun() {
    sysctl("ipv6/conf/sluice0/disable_ipv6", 0);
    ip("link set sluice0 up");
    ip("route add 2001:db8:ff::/64 dev sluice0");
  },
  numberOf: (packet) => packet.getUint32(0) & 0xfffff,
});
const { random } = finder;

for (let flowLabel = 1; flowLabel <= packets; flowLabel++) {
  const source = `fd00:10::${(1 + random(0xfffe)).toString(16)}`;
  const { kind, port, ...fields } = randomPayload(random(65536), random(65536));
  const packet = ipv6({ source, destination: server, flowLabel, ...fields });
  finder.send(packet, flowLabel, port === null ? 0 : steer(0, port, queues), kind);
}
finder.check();

interface Choice extends Pick<Ipv6Fields, "protocol" | "payload" | "extensions"> {
  kind: string;
  /** Null when the packet belongs to queue 0. */
  port: number | null;
}

function randomPayload(port: number, farPort: number): Choice {
  const inner = (protocol: number, payload: Uint8Array, extensions: Ipv6Fields["extensions"] = []) =>
    ipv6({ source: server, destination: "fd00:10::2", protocol, payload, extensions });
  const errorType = 1 + random(4);
  const about = (kind: string, packet: Uint8Array, innerPort: number | null): Choice => ({
    kind: `ICMPv6 type ${errorType} about ${kind}`,
    protocol: ICMPV6,
    payload: icmpError6(errorType, packet),
    port: innerPort,
  });
  const datagram = { protocol: UDP, payload: udp(port, farPort) };
  const behind = (protocol: number, bytes: readonly number[]) => ({ ...datagram, extensions: [{ protocol, bytes }] });
  const choices: Choice[] = [
    { kind: "UDP", ...datagram, port },
    { kind: "TCP", protocol: TCP, payload: tcp(port, farPort), port },
    { kind: "echo request", protocol: ICMPV6, payload: icmp6(128, port), port },
    { kind: "echo reply", protocol: ICMPV6, payload: icmp6(129, port), port },
    { kind: "ICMPv6 of another type", protocol: ICMPV6, payload: icmp6(100, port), port: null },
    { kind: "GRE", protocol: GRE, payload: udp(port, farPort), port: null },
    { kind: "ESP", protocol: 50, payload: udp(port, farPort), port: null },
    { kind: "UDP behind hop-by-hop options", ...behind(0, noOptions), port: null },
    { kind: "UDP behind destination options", ...behind(60, noOptions), port: null },
    { kind: "a first fragment", ...behind(44, fragmentFields(0, true, 7)), port: null },
    { kind: "a later fragment", ...behind(44, fragmentFields(1400, false, 7)), port: null },
    about("UDP", inner(UDP, udp(farPort, port)), port),
    about("TCP", inner(TCP, tcp(farPort, port)), port),
    about("echo", inner(ICMPV6, icmp6(128, port)), port),
    about("GRE", inner(GRE, udp(farPort, port)), null),
    about("a fragment", inner(UDP, udp(farPort, port), [{ protocol: 44, bytes: fragmentFields(0, true, 7) }]), null),
  ];
  return choices[random(choices.length)]!;
}
