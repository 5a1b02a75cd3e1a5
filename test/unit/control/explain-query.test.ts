import { describe, expect, it } from "vitest";
import { readExplainQuery } from "../../../src/control/explain-query.ts";

const read =
  (source: string, destination = "192.0.2.10", protocol = "tcp") =>
  () =>
    readExplainQuery(source, destination, protocol);

describe("a flow to explain", () => {
  it.each([
    ["192.168.10.2", "192.168.10.2", null],
    ["192.168.10.2:0", "192.168.10.2", 0],
    ["192.168.10.2:65535", "192.168.10.2", 65_535],
    ["[192.168.10.2]:80", "192.168.10.2", 80],
  ])("has the source %s", (text, source, sourcePort) => {
    expect(read(text)()).toMatchObject({ source, sourcePort });
  });

  it.each([
    ["2001:DB8:0:0::10", "2001:db8::10", null],
    ["[2001:db8::10]", "2001:db8::10", null],
    ["[2001:db8::10]:443", "2001:db8::10", 443],
    // Without brackets the last group is no port.
    ["2001:db8::10:443", "2001:db8::10:443", null],
  ])("has the IPv6 source %s", (text, source, sourcePort) => {
    expect(read(text, "2001:db8::1")()).toMatchObject({ source, sourcePort });
  });

  it.each([
    ["6", "tcp"],
    ["TCP", "tcp"],
    ["icmpv6", "icmp"],
    ["58", "icmp"],
    ["132", "sctp"],
    ["089", "89"],
    ["255", "255"],
  ])("has the protocol %s", (text, protocol) => {
    expect(read("192.168.10.2", "192.0.2.10", text)()).toMatchObject({ protocol });
  });

  it.each([
    ["", "192.0.2.1", "tcp", /^source "" is not valid; expected an address with or without a port/],
    ["example.org:80", "192.0.2.1", "tcp", /^source "example.org:80" is not valid/],
    ["192.168.10.2:", "192.0.2.1", "tcp", /is not valid/],
    ["192.168.10.256", "192.0.2.1", "tcp", /is not valid/],
    ["192.168.10.2:http", "192.0.2.1", "tcp", /is not valid/],
    ["[2001:db8::1", "2001:db8::2", "tcp", /is not valid/],
    [
      "192.168.10.2",
      "192.0.2.1:65536",
      "tcp",
      /^destination "192.0.2.1:65536" has no valid port; expected a port from/,
    ],
    ["192.168.10.2", "224.0.0.1", "tcp", /^destination "224.0.0.1" is not the address of one host/],
    ["fd00::2", "fe80::1", "tcp", /is not the address of one host/],
    ["192.168.10.2", "2001:db8::1", "tcp", /are not of one family/],
    ["192.168.10.2", "192.0.2.1", "tpc", /^protocol "tpc" is not known; expected icmp, tcp, udp, .*or a number to 255/],
    ["192.168.10.2", "192.0.2.1", "0x6", /or a number to 255/],
    ["192.168.10.2", "192.0.2.1", "256", /or a number to 255/],
    ["192.168.10.2", "192.0.2.1", "__proto__", /is not known/],
    ["192.168.10.2", "192.0.2.1", "constructor", /is not known/],
    ["192.168.10.2:7", "192.0.2.1:7", "icmp", /^icmp has no ports; the identifier/],
    ["192.168.10.2:7", "192.0.2.1", "gre", /^flows of protocol gre are told apart by their addresses/],
  ])("of %s and %s, %s, is refused with what was expected", (source, destination, protocol, message) => {
    expect(read(source, destination, protocol)).toThrow(message);
  });

  it("may be a ping with its identifier", () => {
    expect(read("192.168.10.2:7", "192.0.2.1", "icmp")()).toMatchObject({ sourcePort: 7, destinationPort: null });
  });
});
