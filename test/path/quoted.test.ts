/** What an ICMP error quotes, checked as far as RFC 5508 asks and no further; and what no error of our own is ever said about (RFC 1812, section 4.3.2.7). */
import { describe, expect, test } from "vitest";
import { noUplink } from "../../src/tables/shared-state.ts";
import { icmpError, ip, parse, pattern, udp } from "../support/packets.ts";
import { client, Rig, server, uplinkAddresses } from "./rig.ts";

const mapped = uplinkAddresses[0]!;
const hop = "198.51.100.77";
const question = udp({ source: `${client}:5000`, destination: `${server}:53`, data: pattern(20) });

describe("an error", () => {
  test("an error that quotes a header with a wrong checksum is dropped, from either side", () => {
    const rig = new Rig();
    const left = rig.outOne(question);
    const quoted = ip({ ...left, headerChecksum: "wrong" });
    expect(rig.in(icmpError({ source: hop, destination: mapped, type: 3, quoted }))).toHaveLength(0);

    const answer = udp({ source: `${server}:53`, destination: `${mapped}:${left.sourcePort}`, data: pattern(20) });
    const arrived = rig.inOne(answer);
    const refused = ip({ ...arrived, headerChecksum: "wrong" });
    expect(rig.out(icmpError({ source: client, destination: server, type: 3, code: 3, quoted: refused }))).toHaveLength(
      0,
    );
    expect(rig.drops).toEqual({ "icmp-error-no-flow": 2 });
  });

  test("an error that quotes a wrong layer-4 checksum is translated like any other", () => {
    const rig = new Rig();
    const left = rig.outOne(question);
    const payload = left.payload.slice();
    payload[6]! ^= 0x55;
    const quoted = ip({ ...left, payload });
    const arrived = rig.inOne(icmpError({ source: hop, destination: mapped, type: 3, code: 3, quoted }));
    expect(arrived).toMatchObject({ destination: client, checksumOk: true });
    expect(parse(arrived.data)).toMatchObject({ source: client, sourcePort: 5000, checksumOk: false });
  });
});

test("no error is said about a packet to a broadcast or multicast address, or from a source that no host has", () => {
  const rig = new Rig();
  // Without an uplink, and too long for one: both would be told to an ordinary sender.
  rig.steerTo(noUplink);
  const pairs = [
    [client, "255.255.255.255"],
    [client, "224.0.0.251"],
    [client, "239.1.2.3"],
    ["0.0.0.0", server],
    ["127.0.0.1", server],
    ["224.0.0.1", server],
    ["255.255.255.255", server],
  ];
  for (const [source, destination] of pairs) {
    const packet = { source: `${source}:5000`, destination: `${destination}:53`, dontFragment: true };
    expect(rig.out(udp({ ...packet, data: pattern(20) }))).toHaveLength(0);
    expect(rig.out(udp({ ...packet, data: pattern(1600) }))).toHaveLength(0);
  }
  expect(rig.left(-1)).toHaveLength(0);
  expect(rig.out(question)).toHaveLength(0);
  expect(rig.left(-1), "to an ordinary sender it is said").toHaveLength(1);
});
