/** A source that no network inside has opens nothing: its answers would go elsewhere, or to a victim. */
import { describe, expect, test } from "vitest";
import { echo, GRE, ip, pattern, SYN, tcp, udp } from "../support/packets.ts";
import { udp6 } from "../support/packets6.ts";
import {
  client,
  client6,
  openRig6,
  otherClient,
  Rig,
  server,
  server6,
  uplinkAddresses,
  uplinkAddresses6,
} from "./rig.ts";

const openers: [string, (source: string) => Uint8Array][] = [
  ["TCP", (source) => tcp({ source: `${source}:5000`, destination: `${server}:80`, flags: SYN })],
  ["UDP", (source) => udp({ source: `${source}:5000`, destination: `${server}:53` })],
  ["a ping", (source) => echo({ source, destination: server })],
  ["GRE", (source) => ip({ source, destination: server, protocol: GRE, payload: pattern(8) })],
];

describe.each(openers)("%s", (_, build) => {
  test("from a network that is not inside is dropped by name, and opens nothing", () => {
    const rig = new Rig();
    rig.setInside("192.168.10.0/24", "192.168.32.0/20", "10.255.255.1/32");
    const foreign = ["192.168.11.2", "192.168.9.255", "198.51.100.99", "10.255.255.2", "192.168.48.1"];
    for (const source of foreign) expect(rig.out(build(source)), source).toHaveLength(0);
    expect(rig.drops).toEqual({ "foreign-source": 5 });
    expect(rig.left(-1), "nobody is told").toHaveLength(0);
    expect(rig.openFlows).toBe(0);
  });

  test("from the LAN, a network behind it and the machine itself leaves", () => {
    const rig = new Rig();
    rig.setInside("192.168.10.0/24", "192.168.32.0/20", "10.255.255.1/32");
    for (const source of [client, otherClient, "192.168.47.254", "10.255.255.1"]) {
      if (rig.openFlows > 0) rig.forwarder.conntrack.close(1);
      expect(rig.out(build(source)), source).toHaveLength(1);
    }
  });
});

test("what would turn back to a host inside is judged as well", () => {
  const rig = new Rig();
  rig.setInside("192.168.10.0/24");
  const inside = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:53` }));
  const back = `${uplinkAddresses[0]}:${inside.sourcePort}`;
  expect(rig.out(udp({ source: "192.168.77.7:5000", destination: back }))).toHaveLength(0);
  expect(rig.drops).toEqual({ "foreign-source": 1 });
});

test("a network that is gone opens nothing new; its flows go on", () => {
  const rig = new Rig();
  rig.setInside("192.168.10.0/24");
  const question = (port: number) => udp({ source: `${client}:${port}`, destination: `${server}:53` });
  rig.outOne(question(1));
  rig.setInside("192.168.20.0/24");
  expect(rig.out(question(1))).toHaveLength(1);
  expect(rig.out(question(2))).toHaveLength(0);
  rig.setInside("192.168.10.0/24", "192.168.20.0/24");
  expect(rig.out(question(2))).toHaveLength(1);
});

test("an uplink's own address is a loop, whatever the networks are", () => {
  const rig = new Rig();
  rig.setInside("0.0.0.0/0");
  rig.out(udp({ source: `${uplinkAddresses[0]}:5000`, destination: `${server}:53` }));
  expect(rig.drops).toEqual({ "own-address": 1 });
});

test("IPv6 is judged by its own networks", () => {
  const rig = openRig6();
  rig.setInside("0.0.0.0/0", "fd00:10::/64");
  const question = (source: string) => udp6({ source: `[${source}]:5000`, destination: `[${server6}]:53` });
  expect(rig.outOne6(question(client6)).source).toBe(uplinkAddresses6[0]);
  for (const source of ["fd00:11::2", "2001:db8:1::77", "fd00:10:0:1::2"]) rig.out(question(source));
  expect(rig.drops).toEqual({ "foreign-source": 3 });
  expect(rig.openFlows).toBe(1);
});
