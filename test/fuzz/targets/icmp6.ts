/**
 * The same as icmp.ts for IPv6: any packet as an ICMPv6 error about one of four flows. What goes on is translated to the
 * last byte, and everything else is dropped.
 *
 *     input: [how 1][packet]      how: 1 from the inside, 2 mend the ICMPv6 checksum
 */
import assert from "node:assert/strict";
import { client6, type Left6, server6, uplinkAddresses6 } from "../../path/rig.ts";
import { concat, GRE, SYN, TCP, UDP } from "../../support/packets.ts";
import { address6Text, echo6, ICMPV6, icmpError6, ip6, parse6, tcp6, udp6 } from "../../support/packets6.ts";
import { mendLayer4Of6 } from "../mend.ts";
import { everything, openStage, runOne } from "../stage.ts";

const errorTypes = [1, 2, 3, 4];
const mapped = uplinkAddresses6[0]!;
const stage = openStage();
stage.steerTo(0);
const outgoing = [
  stage.outOne6(tcp6({ source: `[${client6}]:5000`, destination: `[${server6}]:80`, flags: SYN })),
  stage.outOne6(udp6({ source: `[${client6}]:5001`, destination: `[${server6}]:53`, data: Uint8Array.of(1, 2, 3) })),
  stage.outOne6(echo6({ source: client6, destination: server6, identifier: 77 })),
  stage.outOne6(ip6({ source: client6, destination: server6, protocol: GRE, payload: new Uint8Array(12) })),
];
const insidePorts = [5000, 5001, 77];
const mappedPorts = outgoing.map(({ sourcePort, identifier }) => sourcePort || identifier);

export function fuzz(input: Uint8Array): void {
  if (input.length < 2) return;
  const how = input[0]!;
  const packet = input.slice(1);
  if (how & 2) mendLayer4Of6(packet);
  // Only errors: nothing else must change the flows, so that every input finds the same.
  if (packet.length < 41 || packet[0]! >>> 4 !== 6 || packet[6] !== ICMPV6 || !errorTypes.includes(packet[40]!)) return;
  const before = stage.openFlows;
  runOne(stage, how & 1 ? -1 : 0, packet);
  assert.equal(stage.openFlows, before);
  for (const { uplink, six } of everything(stage)) for (const left of six) check(left, packet, uplink);
}

/** That `after` is `before` with one address and port of the flow's put for the other, and is right. */
function check(after: Left6, before: Uint8Array, uplink: number): void {
  assert.ok(after.checksumOk, "the ICMPv6 checksum is right");
  const quotedAt = after.l4 + 8;
  const quoted = after.bytes.subarray(quotedAt);
  const isInbound = uplink < 0;
  const [end, ports] = isInbound ? [client6, insidePorts] : [mapped, mappedPorts];
  const side = isInbound ? 8 : 24;
  assert.equal(isInbound ? after.destination : after.source, end);
  assert.equal(address6Text(quoted.subarray(side, side + 16)), end);

  const inner = innerOf(quoted);
  assert.ok(quoted.length >= inner.l4 + 8, "as much is quoted as tells the flow");
  const portAt = inner.l4 + (inner.protocol === ICMPV6 ? 4 : isInbound ? 0 : 2);
  const hasPort = [TCP, UDP, ICMPV6].includes(inner.protocol);
  if (hasPort) assert.ok(ports.includes((quoted[portAt]! << 8) | quoted[portAt + 1]!), "a flow's port");
  const checksumAt = inner.l4 + (inner.protocol === TCP ? 16 : inner.protocol === UDP ? 6 : 2);
  const mayChange = new Set([
    ...range(isInbound ? 24 : 8, 16),
    ...range(after.l4 + 2, 2),
    ...range(quotedAt + side, 16),
    ...(hasPort ? [...range(quotedAt + portAt, 2), ...range(quotedAt + checksumAt, 2)] : []),
    // A next-hop MTU below what IPv6 allows is raised.
    ...(after.type === 2 ? range(after.l4 + 4, 4) : []),
  ]);
  for (let at = 0; at < after.bytes.length; at++)
    assert.ok(after.bytes[at] === before[at] || mayChange.has(at), `byte ${at} has changed`);
}

/** What a quoted packet, which may be cut off, says that it holds, and where. */
function innerOf(quoted: Uint8Array): { protocol: number; l4: number } {
  const whole = quoted.slice();
  whole.set([(whole.length - 40) >>> 8, (whole.length - 40) & 0xff], 4);
  return parse6(whole);
}

export function seeds(): Uint8Array[] {
  const outside = outgoing.flatMap(({ bytes }) => [
    icmpError6({ source: "2001:db8:77::1", destination: mapped, type: 3, quoted: bytes }),
    icmpError6({ source: server6, destination: mapped, type: 2, mtu: 600, quoted: bytes.slice(0, 48) }),
  ]);
  const inside = [
    tcp6({ source: `[${server6}]:80`, destination: `[${client6}]:5000`, flags: SYN }),
    udp6({ source: `[${server6}]:53`, destination: `[${client6}]:5001` }),
    echo6({ source: server6, destination: client6, identifier: 77, type: 129 }),
  ].map((quoted) => icmpError6({ source: client6, destination: server6, type: 1, code: 4, quoted }));
  const from = (how: number) => (packet: Uint8Array) => concat(Uint8Array.of(how), packet);
  return [...outside.map(from(0)), ...outside.map(from(2)), ...inside.map(from(1)), ...inside.map(from(3))];
}

function range(from: number, length: number): number[] {
  return Array.from({ length }, (_, i) => from + i);
}
