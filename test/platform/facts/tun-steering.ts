/**
 * The kernel, with our program, chooses the TUN queue that `steer` names.
 *
 *     right ──wire── left ──(kernel forwards)── sluice0, three queues
 *
 * Six hundred random packets of every kind go in; each is found again by its identification. Protocols without
 * ports all go to queue 0, whose worker is the one that the fanout program of the uplinks brings them to.
 */

import { steer } from "../../../src/tables/steering-hash.ts";
import { ip, sysctl } from "../../support/own-network.ts";
import { QueueFinder } from "../../support/queue-finder.ts";
import { GRE, ICMP, icmpEcho, icmpError, ipv4, TCP, tcp, UDP, udp } from "../../support/raw-packet.ts";

const queues = 3;
const packets = 600;
const server = 0xc0000205; // 192.0.2.5

const finder = new QueueFinder({
  queues,
  prepareWire() {
    sysctl("ipv4/ip_forward", 1);
    sysctl("ipv4/conf/all/rp_filter", 0);
    sysctl("ipv4/conf/left/rp_filter", 0);
    ip("addr add 192.168.10.1/24 dev left");
    ip("route add 192.168.0.0/16 dev left");
  },
  prepareTun() {
    ip("link set sluice0 up");
    ip("route add 192.0.2.0/24 dev sluice0");
  },
  numberOf: (packet) => (packet.getUint32(16) === server ? packet.getUint16(4) : 0),
});
const { random } = finder;

for (let identification = 1; identification <= packets; identification++) {
  const source = 0xc0a80000 + 0xb00 + random(0xf000); // somewhere in 192.168/16, but not the router
  const [port, farPort] = [random(65536), random(65536)];
  const { kind, protocol, payload, endpoint, fragment } = randomPayload(source, port, farPort);
  const packet = ipv4({
    source,
    destination: server,
    protocol,
    payload,
    identification,
    optionWords: random(3),
    ...(fragment === undefined ? {} : { fragment }),
  });
  const queue = endpoint === null ? 0 : steer(endpoint.address, endpoint.port, queues);
  finder.send(packet, identification, queue, kind);
}
finder.check();

interface Choice {
  kind: string;
  protocol: number;
  payload: Uint8Array;
  /** The inside endpoint that the packet is about; null when it has no port and belongs to queue 0. */
  endpoint: { address: number; port: number } | null;
  fragment?: number;
}

function randomPayload(source: number, port: number, farPort: number): Choice {
  const inside = 0xc0a80b00 + random(0xf000);
  const inner = (protocol: number, payload: Uint8Array, fragment = 0) =>
    ipv4({ source: server, destination: inside, protocol, payload, optionWords: random(3), fragment });
  const errorType = [3, 4, 5, 11, 12][random(5)]!;
  const about = (kind: string, packet: Uint8Array, innerPort: number | null): Choice => ({
    kind: `ICMP type ${errorType} about ${kind}`,
    protocol: ICMP,
    payload: icmpError(errorType, packet),
    endpoint: innerPort === null ? null : { address: inside, port: innerPort },
  });
  const other = (protocol: number): Choice => ({
    kind: `protocol ${protocol}`,
    protocol,
    payload: udp(port, farPort),
    endpoint: null,
  });
  const choices: (() => Choice)[] = [
    () => ({ kind: "UDP", protocol: UDP, payload: udp(port, farPort), endpoint: { address: source, port } }),
    () => ({ kind: "TCP", protocol: TCP, payload: tcp(port, farPort), endpoint: { address: source, port } }),
    () => ({ kind: "echo request", protocol: ICMP, payload: icmpEcho(8, port), endpoint: { address: source, port } }),
    () => ({ kind: "echo reply", protocol: ICMP, payload: icmpEcho(0, port), endpoint: { address: source, port } }),
    () => ({ kind: "timestamp", protocol: ICMP, payload: icmpEcho(13, port), endpoint: { address: source, port } }),
    () => other(GRE),
    () => other(50 + random(200)),
    () => ({ ...other(GRE), kind: "first fragment of GRE", fragment: 0x2000 }),
    () => ({ ...other(GRE), kind: "last fragment of GRE", fragment: 0x0010 }),
    () => about("UDP", inner(UDP, udp(farPort, port)), port),
    () => about("TCP", inner(TCP, tcp(farPort, port)), port),
    () => about("echo", inner(ICMP, icmpEcho(8, port)), port),
    () => about("GRE", inner(GRE, udp(farPort, port)), null),
    () => about("a later fragment", inner(UDP, udp(farPort, port), 0x0010), 0),
    () => about("a first fragment", inner(UDP, udp(farPort, port), 0x2000), port),
    () => ({ ...choices[0]!(), kind: "first fragment", fragment: 0x2000, endpoint: { address: source, port: 0 } }),
    () => ({ ...choices[0]!(), kind: "last fragment", fragment: 0x0010, endpoint: { address: source, port: 0 } }),
    () => ({ ...choices[0]!(), kind: "UDP, don't fragment", fragment: 0x4000 }),
  ];
  return choices[random(choices.length)]!();
}
