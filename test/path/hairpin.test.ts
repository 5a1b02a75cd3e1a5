/**
 * Hairpinning: two hosts inside that know each other by our own addresses (RFC 4787, REQ-9; RFC 5382, REQ-8; RFC 5508,
 * REQ-7). Such packets are met on the LAN, device 3 here, because the kernel would take them for its own.
 */
import { describe, expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { MemoryIO } from "../../src/io/memory-io.ts";
import { mailboxBytes } from "../../src/tables/mailbox.ts";
import { steer } from "../../src/tables/steering-hash.ts";
import {
  ACK,
  addressNumber,
  concat,
  fragmentsOf,
  icmpError,
  ip,
  parse,
  pattern,
  reassemble,
  SYN,
  TCP,
  tcp,
  udp,
  vnetHeader,
} from "../support/packets.ts";
import { client, otherClient, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

const links = [14, 14];
const lanDevice = 3;

class HairpinRig extends Rig {
  constructor(options: RigOptions = {}) {
    const io = new MemoryIO({ linkHeaderBytes: [...links, 14], receiveSlots: 32, scratchSlots: 64 });
    super({ links, io, filtering: filtering.endpointIndependent, ...options });
  }

  /** Lets a packet be met on the LAN. */
  meet(packet: Uint8Array): void {
    this.io.inject(lanDevice, concat(vnetHeader(), new Uint8Array(14).fill(0xee), packet));
  }

  /** A packet met on the LAN, and the one that comes back to it. */
  turn(packet: Uint8Array) {
    this.meet(packet);
    this.run();
    expect([this.left(0), this.left(1)], "nothing leaves").toEqual([[], []]);
    const left = this.left(-1);
    expect(left, `one packet inside; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  /** Opens a UDP mapping on an uplink and returns its outside endpoint. */
  map(inside: string, uplink: number): string {
    this.steerTo(uplink);
    const left = this.outOne(udp({ source: inside, destination: `${server}:3478` }), uplink);
    return `${uplinkAddresses[uplink]}:${left.sourcePort}`;
  }
}

const [here, there] = [`${client}:5000`, `${otherClient}:6000`];

describe.each([
  ["one uplink", 0, 0],
  ["two uplinks", 0, 1],
])("a packet between two hosts that have mappings on %s", (_, hereUplink, thereUplink) => {
  test("reaches the other host from the first one's outside endpoint, and the answer comes back", () => {
    const rig = new HairpinRig();
    const hereOutside = rig.map(here, hereUplink);
    const thereOutside = rig.map(there, thereUplink);
    const [address, port] = hereOutside.split(":");
    const question = udp({ source: here, destination: thereOutside, data: pattern(30) });
    expect(rig.turn(question)).toMatchObject({
      source: address,
      sourcePort: Number(port),
      destination: otherClient,
      destinationPort: 6000,
      data: pattern(30),
      checksumOk: true,
    });
    const answer = udp({ source: there, destination: hereOutside, data: pattern(40) });
    const [thereAddress, therePort] = thereOutside.split(":");
    expect(rig.turn(answer)).toMatchObject({
      source: thereAddress,
      sourcePort: Number(therePort),
      destination: client,
      destinationPort: 5000,
      data: pattern(40),
      checksumOk: true,
    });
  });

  test("carries an ICMP error back to the first host, about the packet as it sent it", () => {
    const rig = new HairpinRig();
    rig.map(here, hereUplink);
    const thereOutside = rig.map(there, thereUplink);
    const arrived = rig.turn(udp({ source: here, destination: thereOutside, data: pattern(30) }));
    const hereAddress = uplinkAddresses[hereUplink]!;
    const error = icmpError({ source: otherClient, destination: hereAddress, type: 3, code: 3, quoted: arrived.bytes });
    const heard = rig.turn(error);
    expect(heard).toMatchObject({
      source: uplinkAddresses[thereUplink],
      destination: client,
      type: 3,
      code: 3,
      checksumOk: true,
    });
    expect(parse(heard.data)).toMatchObject({
      source: client,
      sourcePort: 5000,
      destination: thereOutside.split(":")[0],
    });
    expect(parse(heard.data).data).toEqual(pattern(30));
  });
});

describe("fragments of a packet between two hosts inside", () => {
  const orders = [
    ["in order", [0, 1, 2]],
    ["the first in the middle", [1, 0, 2]],
    ["backwards", [2, 1, 0]],
  ] as const;

  /** What came inside, put together. */
  function whole(left: { bytes: Uint8Array }[]) {
    expect(left).toHaveLength(3);
    return parse(reassemble(left.map(({ bytes }) => bytes)));
  }

  test.each(orders)("turn back with their first: %s", (_, order) => {
    const rig = new HairpinRig();
    const [hereOutside, thereOutside] = [rig.map(here, 0), rig.map(there, 1)];
    const pieces = fragmentsOf(udp({ source: here, destination: thereOutside, data: pattern(4000) }), 1480);
    for (const i of order) rig.meet(pieces[i]!);
    rig.run();
    expect([rig.left(0), rig.left(1)], "nothing leaves").toEqual([[], []]);
    const arrived = whole(rig.left(-1));
    expect(arrived).toMatchObject({ destination: otherClient, destinationPort: 6000, checksumOk: true });
    expect(`${arrived.source}:${arrived.sourcePort}`).toBe(hereOutside);
    expect(arrived.data).toEqual(pattern(4000));
    expect(rig.drops).toEqual({});
  });

  test.each(orders)("find both owners among two workers: %s", (_, order) => {
    const mailboxes = new SharedArrayBuffer(4 * mailboxBytes);
    const first = new HairpinRig({ worker: 0, workers: 2, mailboxes });
    const second = new HairpinRig({ worker: 1, workers: 2, mailboxes, shared: first.shared });
    const rigs = [first, second];
    const owner = (source: string) =>
      rigs[steer(addressNumber(source.split(":")[0]!), Number(source.split(":")[1]), 2)]!;
    // Whatever the hash says, one endpoint of each worker's.
    const mine = [5000, 5001, 5002, 5003, 5004, 5005].map((port) => `${client}:${port}`);
    const asker = mine.find((source) => owner(source) === first)!;
    const answerer = mine.map((_, i) => `${otherClient}:${6000 + i}`).find((source) => owner(source) === second)!;
    const [askerOutside, answererOutside] = [first.map(asker, 0), second.map(answerer, 1)];
    const pieces = fragmentsOf(udp({ source: asker, destination: answererOutside, data: pattern(4000) }), 1480);
    // The kernel has brought them to a worker that owns neither the one endpoint nor, from there, the other.
    for (const i of order) second.meet(pieces[i]!);
    for (let turn = 0; turn < 3; turn++) for (const rig of [second, first]) rig.run();
    const arrived = whole(second.left(-1));
    expect(arrived).toMatchObject({ destination: otherClient, checksumOk: true, data: pattern(4000) });
    expect(`${arrived.source}:${arrived.sourcePort}`).toBe(askerOutside);
    expect([first.drops, second.drops]).toEqual([{}, {}]);
    expect([first.left(-1), ...rigs.flatMap((rig) => [rig.left(0), rig.left(1)])].flat()).toHaveLength(0);
  });

  test("that come from outside in the name of one of our addresses do not join them", () => {
    const rig = new HairpinRig();
    const [, thereOutside] = [rig.map(here, 0), rig.map(there, 1)];
    const pieces = fragmentsOf(udp({ source: here, destination: thereOutside, data: pattern(4000) }), 1480);
    rig.meet(pieces[0]!);
    rig.run();
    const [turned] = rig.left(-1);
    const forged = ip({
      ...parse(pieces[1]!),
      source: uplinkAddresses[0]!,
      destination: uplinkAddresses[1]!,
      identification: turned!.identification,
    });
    expect(rig.in(forged, 1)).toHaveLength(0);
  });
});

test("carries a TCP connection to a forwarded port of our own address", () => {
  const to = addressNumber(otherClient);
  const rig = new HairpinRig({
    forwards: [{ uplinks: 3, protocol: TCP, firstPort: 8080, lastPort: 8080, to, toPort: 80 }],
  });
  const door = `${uplinkAddresses[1]}:8080`;
  const arrived = rig.turn(tcp({ source: here, destination: door, flags: SYN, sequence: 100 }));
  expect(arrived).toMatchObject({
    source: uplinkAddresses[0],
    destination: otherClient,
    destinationPort: 80,
    flags: SYN,
  });
  const outside = `${arrived.source}:${arrived.sourcePort}`;
  const accepted = tcp({ source: `${otherClient}:80`, destination: outside, flags: SYN | ACK, acknowledgment: 101 });
  expect(rig.turn(accepted)).toMatchObject({
    source: uplinkAddresses[1],
    sourcePort: 8080,
    destination: client,
    destinationPort: 5000,
    flags: SYN | ACK,
    checksumOk: true,
  });
  const done = tcp({ source: here, destination: door, flags: ACK, sequence: 101, acknowledgment: 2 });
  expect(rig.turn(done)).toMatchObject({ destination: otherClient, destinationPort: 80, flags: ACK, checksumOk: true });
});
