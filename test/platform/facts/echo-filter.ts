/**
 * A raw ICMP socket with the program of an echo probe is given the answers to its own questions, and errors about them, and
 * nothing else of what the interface receives: not the answers to others, whose number anybody can raise.
 */

import assert from "node:assert/strict";
import { echoFilter, echoRequest, readEcho } from "../../../src/control/probes/echo-packet.ts";
import { openDeviceSocket } from "../../../src/io/device-socket.ts";
import { enterOwnNetwork } from "../../support/own-network.ts";
import { concat, icmpError, icmpError6, ipv4, ipv6 } from "../../support/raw-packet.ts";

const [ours, others] = [0xabcd, 0xabce];
const cookie = new Uint8Array(8);
const loopback = 0x7f000001;
const protocolIcmp = 1;
const protocolIcmpv6 = 58;

enterOwnNetwork();
check(false, "127.0.0.1");
check(true, "::1");

function check(isIpv6: boolean, address: string): void {
  const kind = isIpv6 ? "icmp6" : "icmp";
  const lo = { kind, interface: "lo", ifindex: 1, address } as const;
  const filtered = openDeviceSocket({ ...lo, filter: echoFilter(isIpv6, ours) });
  const open = openDeviceSocket(lo);

  const question = (identifier: number, sequence: number) => echoRequest(isIpv6, identifier, sequence, cookie);
  open.send(question(others, 1), address);
  open.send(question(ours, 2), address);
  open.send(quoting(isIpv6, question(others, 3)), address);
  open.send(quoting(isIpv6, question(ours, 4)), address);
  // The kernel is done with all of them when the last is answered: loopback delivers in the sender's call.
  const seen = received(open, isIpv6);
  assert.ok(seen.length >= 6, `without the program: ${seen.length} packets`);
  assert.deepEqual(
    received(filtered, isIpv6).map((packet) => {
      const said = readEcho(isIpv6, ours, packet);
      return said && [said.kind, said.sequence];
    }),
    [
      ["reply", 2],
      ["error", 4],
    ],
  );
  filtered.close();
  open.close();
}

/** "Host unreachable" about a question, as a router says it. */
function quoting(isIpv6: boolean, question: Uint8Array): Uint8Array {
  if (!isIpv6)
    return icmpError(3, ipv4({ source: loopback, destination: loopback, protocol: protocolIcmp, payload: question }));
  return icmpError6(1, ipv6({ source: "::1", destination: "::1", protocol: protocolIcmpv6, payload: question }));
}

function received(socket: ReturnType<typeof openDeviceSocket>, isIpv6: boolean): Uint8Array[] {
  const room = new Uint8Array(2048);
  const packets: Uint8Array[] = [];
  for (;;) {
    const datagram = socket.receive(room);
    if (datagram === null) return packets;
    assert.equal(datagram.hopLimit >= 0, isIpv6);
    packets.push(concat(room.subarray(0, datagram.bytes)));
  }
}
