/** Hairpinning over IPv6: as hairpin.test.ts for IPv4. The LAN is device 3. */
import { describe, expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { MemoryIO } from "../../src/io/memory-io.ts";
import { mailboxBytes } from "../../src/tables/mailbox.ts";
import { steer } from "../../src/tables/steering-hash.ts";
import { concat, pattern, SYN, vnetHeader } from "../support/packets.ts";
import {
  address6Words,
  echo6,
  fragmentsOf6,
  icmpError6,
  parse6,
  reassemble6,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { client6, otherClient6, Rig, type RigOptions, server6, uplinkAddresses6 } from "./rig.ts";

const links = [14, 14];
const lanDevice = 3;

class HairpinRig6 extends Rig {
  constructor(options: RigOptions = {}) {
    const io = new MemoryIO({ linkHeaderBytes: [...links, 14], receiveSlots: 32, scratchSlots: 64 });
    super({ links, io, hasIpv6: true, filtering: filtering.endpointIndependent, ...options });
  }

  /** A packet met on the LAN. */
  meet(packet: Uint8Array): void {
    this.io.inject(lanDevice, concat(vnetHeader(), new Uint8Array(14).fill(0xee), packet));
  }

  /** A packet met on the LAN, and the one that comes back to it. */
  turn(packet: Uint8Array) {
    this.meet(packet);
    return this.#cameBack();
  }

  /** The same for one that the kernel sends into the TUN: it is for an address of a prefix. */
  turnInside(packet: Uint8Array) {
    this.injectInside(packet);
    return this.#cameBack();
  }

  #cameBack() {
    this.run();
    expect([this.left6(0), this.left6(1)], "nothing leaves").toEqual([[], []]);
    const left = this.left6(-1);
    expect(left, `one packet inside; drops: ${JSON.stringify(this.drops)}`).toHaveLength(1);
    return left[0]!;
  }

  map(inside: string, uplink: number): string {
    this.steerTo(uplink);
    const left = this.outOne6(udp6({ source: inside, destination: `[${server6}]:3478` }), uplink);
    return `[${uplinkAddresses6[uplink]}]:${left.sourcePort}`;
  }
}

const here = `[${client6}]:5000`;
const there = `[${otherClient6}]:6000`;

describe.each([
  ["one uplink", 0, 0],
  ["two uplinks", 0, 1],
])("a packet between two hosts that have mappings on %s", (_, hereUplink, thereUplink) => {
  test("reaches the other from the first one's outside endpoint, and the answer and an error come back", () => {
    const rig = new HairpinRig6();
    const outsideHere = rig.map(here, hereUplink);
    const outsideThere = rig.map(there, thereUplink);
    const arrived = rig.turn(udp6({ source: here, destination: outsideThere, data: pattern(20) }));
    expect(`[${arrived.source}]:${arrived.sourcePort}`).toBe(outsideHere);
    expect(arrived).toMatchObject({ destination: otherClient6, destinationPort: 6000, checksumOk: true });
    const answer = rig.turn(udp6({ source: there, destination: outsideHere, data: pattern(9) }));
    expect(`[${answer.source}]:${answer.sourcePort}`).toBe(outsideThere);
    expect(answer).toMatchObject({ destination: client6, destinationPort: 5000, checksumOk: true });
    const error = { source: otherClient6, destination: uplinkAddresses6[hereUplink]!, type: 1, code: 4 };
    const told = rig.turn(icmpError6({ ...error, quoted: arrived.bytes }));
    expect(told).toMatchObject({ source: uplinkAddresses6[thereUplink], destination: client6, checksumOk: true });
    const quoted = parse6(told.data);
    expect(`[${quoted.source}]:${quoted.sourcePort} [${quoted.destination}]:${quoted.destinationPort}`).toBe(
      `${here} ${outsideThere}`,
    );
    expect(rig.drops).toEqual({});
  });
});

test("a connection to a forwarded port of ours turns back to the host that it leads to", () => {
  const forward = { uplinks: 1, protocol: 6, firstPort: 80, lastPort: 80, to: 0, toPort: 8080 };
  const rig = new HairpinRig6({ forwards: [{ ...forward, to6: address6Words(otherClient6) }] });
  const arrived = rig.turn(tcp6({ source: here, destination: `[${uplinkAddresses6[0]}]:80`, flags: SYN }));
  expect(arrived).toMatchObject({ source: uplinkAddresses6[0], destination: otherClient6, destinationPort: 8080 });
  const back = { source: `[${otherClient6}]:8080`, destination: `[${arrived.source}]:${arrived.sourcePort}` };
  const answer = rig.turn(tcp6({ ...back, flags: SYN | 16, acknowledgment: 2 }));
  expect(answer).toMatchObject({ source: uplinkAddresses6[0], sourcePort: 80, destination: client6, checksumOk: true });
});

test("hosts that know each other by addresses of a prefix reach each other through the TUN", () => {
  const rig = new HairpinRig6({ insidePrefix: { words: address6Words("fd00:10::"), length: 48 } });
  rig.setUplink(0, { prefix6: "2001:db8:a::/48" });
  const [outsideHere, outsideThere] = ["2001:db8:a:cf4d::2", "2001:db8:a:cf4d::3"];
  const arrived = rig.turnInside(udp6({ source: here, destination: `[${outsideThere}]:6000` }));
  expect(arrived).toMatchObject({ source: outsideHere, sourcePort: 5000, destination: otherClient6, checksumOk: true });
  const ping = rig.turnInside(echo6({ source: client6, destination: outsideThere, identifier: 5 }));
  expect(ping).toMatchObject({ source: outsideHere, destination: otherClient6, identifier: 5, checksumOk: true });
  const pong = echo6({ source: otherClient6, destination: outsideHere, type: 129, identifier: 5 });
  expect(rig.turnInside(pong)).toMatchObject({ source: outsideThere, destination: client6, identifier: 5 });
});

test("fragments turn back too, in any order", () => {
  for (const isReversed of [false, true]) {
    const rig = new HairpinRig6();
    rig.map(here, 0);
    const outsideThere = rig.map(there, 1);
    const pieces = fragmentsOf6(udp6({ source: here, destination: outsideThere, data: pattern(3000) }), 1200);
    for (const piece of isReversed ? pieces.toReversed() : pieces) rig.meet(piece);
    rig.run();
    expect([rig.left6(0), rig.left6(1)]).toEqual([[], []]);
    const whole = parse6(reassemble6(rig.left6(-1).map(({ bytes }) => bytes)));
    expect(whole).toMatchObject({ destination: otherClient6, checksumOk: true, data: pattern(3000) });
  }
});

test("what is met on the LAN and is for nobody's port of ours is left to the kernel", () => {
  const rig = new HairpinRig6();
  rig.meet(udp6({ source: here, destination: `[${server6}]:53` }));
  rig.meet(echo6({ source: client6, destination: uplinkAddresses6[0]! }));
  rig.run();
  expect([rig.left6(-1), rig.left6(0), rig.openFlows, rig.drops]).toEqual([[], [], 0, {}]);
});

test("a stranger outside who takes one of our addresses for his own is dropped", () => {
  const rig = new HairpinRig6();
  const outsideHere = rig.map(here, 0);
  const outsideThere = rig.map(there, 1);
  rig.turn(udp6({ source: here, destination: outsideThere }));
  rig.in6(udp6({ source: outsideHere, destination: outsideThere }), 1);
  expect(rig.drops).toEqual({ "bad-source": 1 });
});

test("a mapping of another worker is reached by its mail", () => {
  const mailboxes = new SharedArrayBuffer(4 * mailboxBytes);
  const first = new HairpinRig6({ worker: 0, workers: 2, mailboxes });
  const second = new HairpinRig6({ worker: 1, workers: 2, mailboxes, shared: first.shared });
  const rigs = [first, second];
  const portOf = (worker: number) => [5001, 5002, 5003, 5004, 5005].find((port) => steer(0, port, 2) === worker)!;
  const hosts = [`[${client6}]:${portOf(0)}`, `[${otherClient6}]:${portOf(1)}`] as const;
  const outside = hosts.map((inside, worker) => rigs[worker]!.map(inside, worker));
  for (const data of [pattern(30), pattern(3000)]) {
    const whole = udp6({ source: hosts[0], destination: outside[1]!, data });
    // Fragments are brought to the first worker, which owns this one.
    for (const piece of data.length < 1000 ? [whole] : fragmentsOf6(whole, 1200)) first.meet(piece);
    for (let turn = 0; turn < 3; turn++) for (const rig of rigs) rig.run();
    expect(first.left6(-1)).toEqual([]);
    const came = second.left6(-1).map(({ bytes }) => bytes);
    const arrived = parse6(came.length === 1 ? came[0]! : reassemble6(came));
    expect(`[${arrived.source}]:${arrived.sourcePort}`).toBe(outside[0]);
    expect(arrived).toMatchObject({ destination: otherClient6, checksumOk: true, data });
  }
});
