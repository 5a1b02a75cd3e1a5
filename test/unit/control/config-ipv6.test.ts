import { describe, expect, it } from "vitest";
import { type ConfigError, parseConfig } from "../../../src/control/config.ts";
import type { Config } from "../../../src/control/config-types.ts";

/** A configuration with these entries of the first uplink's `ipv6`, of `nat`, and as forwards. */
function text({ ipv6 = "{}", second = "{}", nat = "{}", forwards = "[]" }): string {
  return `
uplinks:
  - { name: isp1, interface: wan0, ipv6: ${ipv6} }
  - { name: isp2, interface: wan1, ipv6: ${second} }
steer: { local: true }
nat: ${nat}
forwards: ${forwards}
`;
}

function read(parts: Parameters<typeof text>[0]): Config {
  return parseConfig(text(parts), "f").config;
}

function problems(parts: Parameters<typeof text>[0]): string[] {
  try {
    return parseConfig(text(parts), "f").warnings.map(({ path, message }) => `warning: ${path}: ${message}`);
  } catch (error) {
    return (error as ConfigError).problems.map(({ path, message, expected }) => `${path}: ${message} (${expected})`);
  }
}

describe("IPv6 in a configuration", () => {
  it("is on by default, and off where an uplink says so", () => {
    expect(read({}).uplinks[0]!.ipv6).toEqual({});
    expect(read({ ipv6: "true" }).uplinks[0]!.ipv6).toEqual({});
    expect(read({ ipv6: "false" }).uplinks[0]!.ipv6).toBeNull();
    expect(read({}).nat).not.toHaveProperty("insidePrefix");
  });

  it("has its addresses in the form in which the system writes them, and its prefixes as words", () => {
    const ipv6 = "{ address: '2001:0DB8:1:0::2', gateway: 'FE80::1', prefix: '2001:db8:101::/48' }";
    const config = read({ ipv6, nat: "{ insidePrefix: 'fd00:10::/48' }" });
    expect(config.uplinks[0]!.ipv6).toEqual({
      address: "2001:db8:1::2",
      gateway: "fe80::1",
      prefix: { words: [0x20010db8, 0x01010000, 0, 0], length: 48 },
    });
    expect(config.nat.insidePrefix).toEqual({ words: [0xfd000010 | 0, 0, 0, 0], length: 48 });
  });

  it("names an inside host of a forward in brackets", () => {
    const [forward] = read({ forwards: "[{ protocol: tcp, port: 8080-8081, to: '[FD00:10:0::2]:80-81' }]" }).forwards;
    expect(forward).toMatchObject({ to: "fd00:10::2", firstPort: 8080, toPort: 80 });
  });

  it("may forward one port over IPv4 and IPv6 to two hosts, but not to two over IPv6", () => {
    const to = (target: string) => `{ protocol: tcp, port: 8080, to: '${target}' }`;
    expect(problems({ forwards: `[${to("192.168.10.2:80")}, ${to("[fd00:10::2]:80")}]` })).toEqual([]);
    expect(problems({ forwards: `[${to("[fd00:10::3]:80")}, ${to("[fd00:10::2]:80")}]` })).toEqual([
      "forwards[1].port: overlaps the port of forwards[0] (one forward for a port, protocol and uplink)",
    ]);
  });

  const inside = "{ insidePrefix: 'fd00:10::/48' }";
  it.each([
    ["{ adress: '2001:db8::2' }", "{}", "uplinks[0].ipv6.adress: unknown key; did you mean address?"],
    ["yes please", "{}", "uplinks[0].ipv6: is of the wrong kind (false, or a mapping of address, gateway and prefix)"],
    ["{ address: 203.0.113.2 }", "{}", "uplinks[0].ipv6.address: is not valid"],
    ["{ address: '2001:db8:::2' }", "{}", "uplinks[0].ipv6.address: is not valid"],
    ["{ address: 'fe80::2' }", "{}", "uplinks[0].ipv6.address: is not an address that remote hosts can answer"],
    ["{ address: 'ff02::2' }", "{}", "uplinks[0].ipv6.address: is not an address that remote hosts can answer"],
    ["{ gateway: 'ff02::2' }", "{}", "uplinks[0].ipv6.gateway: is not an address that a machine can have"],
    ["{ address: '2001:db8::2', gateway: '2001:db8:0::2' }", "{}", "uplinks[0].ipv6.gateway: is the uplink's own"],
    ["{ prefix: '2001:db8:101::' }", inside, "uplinks[0].ipv6.prefix: is not valid (an IPv6 prefix such as"],
    ["{ prefix: '2001:db8:101::/65' }", inside, "uplinks[0].ipv6.prefix: has a length that cannot be translated"],
    ["{ prefix: '2001:db8:101::/32' }", inside, "uplinks[0].ipv6.prefix: has bits beyond its length (2001:db8::/32)"],
    ["{ prefix: 'fe80::/48' }", inside, "uplinks[0].ipv6.prefix: is not a prefix that hosts can have addresses of"],
    ["{ prefix: '2001:db8:101::/48' }", "{}", "uplinks[0].ipv6.prefix: stands for no hosts inside"],
    ["{ prefix: 'fd00:10::/40' }", inside, "uplinks[0].ipv6.prefix: overlaps nat.insidePrefix"],
    [
      "{ address: '2001:db8:101::2', prefix: '2001:db8:101::/48' }",
      inside,
      "uplinks[0].ipv6.address: lies in the uplink's prefix",
    ],
    ["{}", inside, "warning: nat.insidePrefix: is replaced nowhere"],
    ["{}", "{ insidePrefix: 'fd00:10::/96' }", "nat.insidePrefix: has a length that cannot be translated"],
  ])("is refused, or doubted, where it cannot be meant: ipv6: %s, nat: %s", (ipv6, nat, problem) => {
    const found = problems({ ipv6, nat });
    expect(found.some((line) => line.startsWith(problem))).toBe(true);
  });

  it("keeps the prefixes of two uplinks apart", () => {
    const [ipv6, second] = ["{ prefix: '2001:db8:100::/40' }", "{ prefix: '2001:db8:101::/48' }"];
    expect(problems({ ipv6, second, nat: inside })).toEqual([
      "uplinks[1].ipv6.prefix: overlaps the prefix of uplinks[0] (every uplink to have its own)",
    ]);
  });

  it.each([
    ["[fe80::2]:80", "does not lead to an address that a machine inside can have"],
    ["[fd00::2]", "is not valid"],
    ["fd00::2:80", "is not valid"],
    ["[fd00:::2]:80", "does not lead to an address that a machine inside can have"],
  ])("has forwards to hosts only: %s", (to, message) => {
    const [problem] = problems({ forwards: `[{ protocol: tcp, port: 8080, to: '${to}' }]` });
    expect(problem).toContain(`forwards[0].to: ${message}`);
  });
});
