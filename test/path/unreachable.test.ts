/** "Destination unreachable" of our own, to an inside host whose first packet goes nowhere (RFC 5508, REQ-8; RFC 1812, section 4.3.2). */
import { describe, expect, test } from "vitest";
import { noUplink } from "../../src/tables/shared-state.ts";
import {
  ACK,
  echo,
  fragmentsOf,
  GRE,
  icmpError,
  ip,
  parse,
  partialVnet,
  pattern,
  RST,
  SYN,
  tcp,
  udp,
} from "../support/packets.ts";
import { answerAll } from "./answers.ts";
import { client, errorSource, firstPort, otherClient, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const asks = (port = 5000, source = client, bytes = 30) =>
  udp({ source: `${source}:${port}`, destination: `${server}:53`, data: pattern(bytes) });
const opens = (port = 5000, source = client) =>
  tcp({ source: `${source}:${port}`, destination: `${server}:80`, flags: SYN });
const pings = (identifier = 5000, source = client) => echo({ source, destination: server, identifier });

/** Small tables that the first packet fills, and the name under which the next is dropped. */
const full: [string, RigOptions, string][] = [
  ["no port is left", { lastPort: firstPort }, "no-port"],
  ["the flow table is full", { flows: 1 }, "flow-table-full"],
  ["the host has its share of flows", { flowsPerHost: 1 }, "host-flow-limit"],
];

describe.each(full)("when %s", (_, options, name) => {
  test.each([
    ["UDP", asks],
    ["TCP", opens],
    ["a ping", pings],
  ])("the sender of %s hears that it is prohibited, about the packet as it sent it", (_, build) => {
    const rig = new Rig(options);
    const established = rig.outOne(build(1));
    answerAll(rig);
    const refused = build(2);
    expect(rig.out(refused)).toHaveLength(0);
    const told = rig.left(-1);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ source: errorSource, destination: client, type: 3, code: 13, checksumOk: true });
    expect(told[0]!.data).toEqual(refused);
    expect([...told[0]!.payload.slice(4, 8)]).toEqual([0, 0, 0, 0]);
    expect(rig.drops).toEqual({ [name]: 1 });
    expect(rig.outOne(build(1)).sourcePort, "the flow that there is goes on").toBe(established.sourcePort);
  });
});

describe("when there is no uplink", () => {
  test("the sender hears that the network is unreachable; flows that there are go on", () => {
    const rig = new Rig();
    rig.outOne(asks(1));
    rig.steerTo(noUplink);
    expect(rig.out(asks(2))).toHaveLength(0);
    expect(rig.left(-1)).toMatchObject([{ source: errorSource, destination: client, type: 3, code: 0 }]);
    expect(rig.drops).toEqual({ "no-uplink": 1 });
    expect(rig.out(asks(1))).toHaveLength(1);
    expect(rig.left(-1)).toHaveLength(0);
  });

  test("nothing is said while an uplink is only not ready for a moment", () => {
    const rig = new Rig();
    rig.setUplink(0, { ready: 0 });
    expect(rig.out(asks())).toHaveLength(0);
    expect(rig.left(-1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "uplink-not-ready": 1 });
  });
});

test("it quotes what an error has room for, of a super-packet too", () => {
  const rig = new Rig({ flows: 1 });
  rig.outOne(asks(1));
  answerAll(rig);
  const big = udp({
    source: `${client}:2`,
    destination: `${server}:53`,
    data: pattern(20_000),
    checksum: "partial",
  });
  rig.out(big, 0, partialVnet(big, 0, 1200));
  const [told] = rig.left(-1);
  expect(told!.bytes).toHaveLength(576);
  expect(told!.checksumOk).toBe(true);
  expect(told!.data).toEqual(big.slice(0, 548));
});

test("it is said 50 times at once and then a hundred times a second, all kinds together", () => {
  const rig = new Rig({ flows: 1, mtu: 1400, receiveSlots: 256, scratchSlots: 256 });
  rig.outOne(asks(1));
  answerAll(rig);
  const tooBig = udp({
    source: `${client}:1`,
    destination: `${server}:53`,
    data: pattern(1480),
    dontFragment: true,
  });
  const refusals = (count: number) => Array.from({ length: count }, (_, i) => asks(1000 + i));
  rig.out([...refusals(20), ...new Array<Uint8Array>(20).fill(tooBig), ...refusals(100)]);
  expect(rig.left(-1)).toHaveLength(50);
  expect(rig.drops).toEqual({ "flow-table-full": 120, "too-big": 20 });
  rig.nowMs += 100;
  rig.out(refusals(100));
  expect(rig.left(-1)).toHaveLength(10);
});

describe("it is never said", () => {
  const fullRig = () => {
    const rig = new Rig({ flows: 2, lastPort: firstPort + 1 });
    const left = rig.out([asks(1), asks(2)]);
    expect(left).toHaveLength(2);
    answerAll(rig);
    return { rig, left: left[0]! };
  };

  test("about an ICMP error, of a flow or of none, from either side", () => {
    const { rig, left } = fullRig();
    rig.steerTo(noUplink);
    const answer = udp({ source: `${server}:53`, destination: `${left.source}:${left.sourcePort}` });
    const quoted = ip({ ...parse(answer), destination: "192.168.10.99" });
    expect(rig.out(icmpError({ source: client, destination: server, type: 3, code: 3, quoted }))).toHaveLength(0);
    expect(rig.in(icmpError({ source: server, destination: mapped, type: 3, quoted }))).toHaveLength(0);
    expect(rig.left(-1)).toHaveLength(0);
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 2 });
  });

  test("about a later fragment; about a first one it is, once", () => {
    const { rig } = fullRig();
    const pieces = fragmentsOf(asks(9, client, 4000), 1480);
    rig.out(pieces.slice(1));
    expect(rig.left(-1)).toHaveLength(0);
    rig.out([pieces[0]!, ...pieces.slice(1)]);
    expect(rig.left(-1)).toMatchObject([{ type: 3, code: 13 }]);
    rig.pass(31_000);
    expect(rig.left(-1)).toHaveLength(0);
  });

  test("about what came from outside: the silence is for everybody", () => {
    const rig = new Rig({ flows: 1, filtering: 2 });
    const left = rig.outOne(asks(1));
    answerAll(rig);
    const stranger = `${left.source}:${left.sourcePort}`;
    expect(rig.in(udp({ source: "192.0.2.99:7", destination: stranger }))).toHaveLength(0);
    expect(rig.left(0)).toHaveLength(0);
    expect(rig.drops).toEqual({ "flow-table-full": 1 });
  });

  test("about what could not have opened a flow anyway, or what another host is in the way of", () => {
    const { rig } = fullRig();
    const wide = new Rig();
    wide.outOne(ip({ source: client, destination: server, protocol: GRE, payload: pattern(8) }));
    wide.out(ip({ source: otherClient, destination: server, protocol: GRE, payload: pattern(8) }));
    rig.out([
      tcp({ source: `${client}:9`, destination: `${server}:80`, flags: ACK }),
      tcp({ source: `${client}:9`, destination: `${server}:80`, flags: RST }),
      echo({ source: client, destination: server, type: 0 }),
      ip({ ...parse(asks(9)), source: "224.0.0.1" }),
      ip({ ...parse(asks(9)), destination: "224.0.0.1" }),
      ip({ ...parse(asks(9)), destination: "255.255.255.255" }),
      ip({ ...parse(asks(9)), source: mapped }),
    ]);
    expect([...rig.left(-1), ...wide.left(-1)]).toHaveLength(0);
    expect(Object.values(rig.drops).reduce((sum, count) => sum + count)).toBe(7);
  });
});
