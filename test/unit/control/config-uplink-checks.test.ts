import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ConfigError, parseConfig } from "../../../src/control/config.ts";
import { formatPath } from "../../../src/control/config-problem.ts";

/** What is said about a configuration, without the places in the file. */
function said(text: string): string[] {
  const problems = (() => {
    try {
      return parseConfig(text, "f").warnings;
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
      throw error;
    }
  })();
  return problems.map(
    ({ severity, path, message, expected }) =>
      `${severity === "warning" ? "warning: " : ""}${path}: ${message}${expected === undefined ? "" : ` (${expected})`}`,
  );
}

const base = "steer: { local: true }\nuplinks:\n  - { name: isp2, interface: wan1, address: 198.51.100.2 }\n";
/** About a second uplink with these settings. */
const uplink = (settings: string) => said(`${base}  - { name: isp1, interface: wan0, ${settings} }`);
const probe = (settings: string) => uplink(`probe: { ${settings} }`);
const at = (...path: string[]) => formatPath(["uplinks", 1, ...path]);
const target = at("probe", "targets[0]");

describe("a probe", () => {
  it.each([
    "interval: 50ms, timeout: 3s",
    "targets: [192.0.2.10, '2001:db8::10', 'fe80::1']",
    "type: arp, targets: ['fe80::1', 203.0.113.1]",
    "type: tcp, targets: ['192.0.2.10:443', '[2001:db8::10]:443'], quorum: 2",
    "type: http, targets: ['http://192.0.2.10', 'http://[2001:db8::10]:8080/well?really']",
    "type: dns, targets: [192.0.2.53], query: example.org",
    "loss: 0.2, latency: 500ms, jitter: 100ms, degraded: { loss: 0.05, latency: 200ms, jitter: 50ms }",
  ])("may be { %s }", (settings) => {
    expect(probe(settings)).toEqual([]);
  });

  it.each([
    ["icmp", "'192.0.2.10:80'", "is not valid (an address such as 192.0.2.10 or 2001:db8::10)"],
    ["icmp", "192.0.2.256", "is not valid (an address such as 192.0.2.10 or 2001:db8::10)"],
    [
      "icmp",
      "example.org",
      "is not an address: names would have to be looked up, and by which uplink? (an address such as 192.0.2.10 or 2001:db8::10)",
    ],
    ["tcp", "192.0.2.10", "is not valid (an address and port such as 192.0.2.10:443 or [2001:db8::10]:443)"],
    ["tcp", "'192.0.2.10:65536'", "is not valid (an address and port such as 192.0.2.10:443 or [2001:db8::10]:443)"],
    [
      "tcp",
      "'example.org:443'",
      "is not an address: names would have to be looked up, and by which uplink? (an address and port such as 192.0.2.10:443 or [2001:db8::10]:443)",
    ],
    [
      "http",
      "192.0.2.10",
      "is not valid (a URL with an address, such as http://192.0.2.10/ or http://[2001:db8::10]:8080/well)",
    ],
    [
      "http",
      "'http://example.org/'",
      "has a name in place of an address: names would have to be looked up, and by which uplink? (a URL with an address, such as http://192.0.2.10/ or http://[2001:db8::10]:8080/well)",
    ],
    [
      "http",
      "'https://192.0.2.10/'",
      "is not spoken by a probe: the certificate would need a name (a URL with an address, such as http://192.0.2.10/ or http://[2001:db8::10]:8080/well)",
    ],
  ])("of type %s has no target %s", (type, text, message) => {
    expect(probe(`type: ${type}, targets: [${text}]`)).toEqual([`${target}: ${message}`]);
  });

  it.each([
    ["0.0.0.0", "is not the address of another machine"],
    ["127.0.0.1", "is not the address of another machine"],
    ["224.0.0.1", "is not the address of another machine"],
    ["255.255.255.255", "is not the address of another machine"],
    ["10.255.255.2", "lies in the TUN's own subnet"],
    ["203.0.113.2", "is the uplink's own address"],
    ["198.51.100.2", "is the address of uplinks[0]"],
    ["'::1'", "is not an address that can be asked from afar"],
    ["'ff02::1'", "is not an address that can be asked from afar"],
    ["'2001:db8:0:0::2'", "is the uplink's own address"],
  ])("does not ask %s", (text, message) => {
    const own = "address: 203.0.113.2, ipv6: { address: '2001:db8::2' }";
    expect(uplink(`${own}, probe: { targets: [${text}] }`)).toEqual([
      `${target}: ${message} (an address beyond this uplink)`,
    ]);
  });

  it("finds the dead zone in every form of a target", () => {
    expect(probe("type: tcp, targets: ['127.0.0.1:80']")[0]).toMatch(/is not the address of another machine/);
    expect(probe("type: http, targets: ['http://127.1/']")[0]).toMatch(/is not the address of another machine/);
    expect(probe("type: tcp, targets: ['[fe80::1]:80']")[0]).toMatch(/is not an address that can be asked from afar/);
  });

  it("asks nobody over IPv6 that the uplink does not use", () => {
    expect(uplink("ipv6: false, probe: { targets: ['2001:db8::10'] }")).toEqual([
      `${target}: cannot be asked: the uplink's ipv6 is false (an address beyond this uplink)`,
    ]);
  });

  it("of tcp or http needs targets", () => {
    for (const type of ["tcp", "http"])
      expect(probe(`type: ${type}`)).toEqual([
        `${at("probe", "type")}: needs targets: the gateway has no port or page to ask for (targets)`,
      ]);
  });

  it("has no more of a quorum than targets", () => {
    expect(probe("quorum: 2")).toEqual([
      `${at("probe", "quorum")}: is more than there are targets (1) (as many at most)`,
    ]);
    expect(probe("quorum: 3, targets: [192.0.2.1, 192.0.2.2]")[0]).toMatch(/is more than there are targets \(2\)/);
  });

  it.each([
    ["interval: 49ms", "interval: is out of range (a duration from 50ms to 1h)"],
    ["interval: 61m", "interval: is out of range (a duration from 50ms to 1h)"],
    ["interval: 50ms, timeout: 3001ms", "timeout: is longer than 60 intervals (at most 3s, or a longer interval)"],
    ["timeout: 9ms", "timeout: is too short (at least 10ms)"],
    ["type: dns, query: a..b", "query: is not a name in the DNS (a domain name such as example.org)"],
  ])("with %s is refused", (settings, message) => {
    expect(probe(settings)).toEqual([`${at("probe")}.${message}`]);
  });

  it.each([
    ["latency: 1s", "latency: cannot be exceeded: answers count within the timeout of 1s (less, or a longer timeout)"],
    [
      "degraded: { jitter: 2s }",
      "degraded.jitter: cannot be exceeded: answers count within the timeout of 1s (less, or a longer timeout)",
    ],
    ["loss: 1", "loss: cannot be exceeded: no more than everything is lost (a share below 1)"],
    [
      "loss: 0.2, degraded: { loss: 0.3 }",
      "degraded.loss: is not reached: the line is down above 0.2 (less than that)",
    ],
    [
      "latency: 100ms, degraded: { latency: 100ms }",
      "degraded.latency: is not reached: the line is down above 100ms (less than that)",
    ],
  ])("with %s is warned about", (settings, message) => {
    expect(probe(settings)).toEqual([`warning: ${at("probe")}.${message}`]);
  });
});

describe("an uplink", () => {
  it.each([
    "holdDown: 1h, onDown: 1d",
    "holdDown: 0s, onDown: keep",
    "rate: 1k, cap: { monthly: 1kB }",
    "schedule: [{ from: '22:00', to: '06:00' }]",
  ])("may have { %s }", (settings) => {
    expect(uplink(settings)).toEqual([]);
  });

  it.each([
    ["holdDown: 61m", "holdDown: is out of range (a duration from 0s to 1h)"],
    ["onDown: 25h", "onDown: is out of range (a duration from 0s to 1d)"],
    ["rate: '0.0M'", "rate: is nothing (what the line carries, such as 100M)"],
    ["rate: { up: 1M, down: '0' }", "rate.down: is nothing (what the line carries, such as 100M)"],
    [
      "cap: { monthly: 0GB }",
      "cap.monthly: is nothing (an amount such as 500GB; an uplink that gets no connections has no place here)",
    ],
    [
      "schedule: [{ from: '08:00', to: '08:00' }]",
      "schedule[0].to: is when it begins (another time; 00:00 to 23:59, or the uplink's weight, for all day)",
    ],
    ["weight: -1", "weight: is too small (a whole number from 1 to 10000)"],
  ])("with %s is refused", (settings, message) => {
    expect(uplink(settings)).toEqual([`${at()}.${message}`]);
  });
});

describe("balance and hooks", () => {
  const whole = (settings: string, uplinks = "[{ name: a, interface: wan0 }, { name: b, interface: wan1, tier: 2 }]") =>
    said(`steer: { local: true }\nuplinks: ${uplinks}\n${settings}`);

  it.each(["least-busy", "lowest-latency"])("policy %s with one uplink is warned about", (policy) => {
    expect(whole(`balance: { policy: ${policy} }`, "[{ name: a, interface: wan0 }]")).toEqual([
      "warning: balance.policy: has nothing to choose from: there is one uplink (two uplinks or more)",
    ]);
    expect(whole(`balance: { policy: ${policy} }`)).toEqual([]);
  });

  it("overflow without a next tier, or without a rate to overflow, is warned about", () => {
    expect(whole("balance: { overflow: 0.8 }")).toEqual([
      "warning: balance.overflow: is a share of the highest rate seen so far, since uplinks[0] has no rate (what that line carries in uplinks[0].rate)",
    ]);
    const rated = "[{ name: a, interface: wan0, rate: 100M }, { name: b, interface: wan1, tier: 2 }]";
    expect(whole("balance: { overflow: 0.8 }", rated)).toEqual([]);
    expect(whole("balance: { overflow: 0.8 }", rated.replace(", tier: 2", ""))).toEqual([
      "warning: balance.overflow: has no next tier to use: all uplinks are of one (a tier on some uplinks)",
    ]);
  });

  it("times are within bounds", () => {
    expect(whole("balance: { policy: failover, sticky: { by: source, timeout: 7d } }")).toEqual([]);
    expect(whole("balance: { sticky: { by: source, timeout: 999ms } }")).toEqual([
      "balance.sticky.timeout: is out of range (a duration from 1s to 7d)",
    ]);
    expect(whole("hooks: { timeout: 2h }")).toEqual(["hooks.timeout: is out of range (a duration from 100ms to 1h)"]);
  });
});

describe("a configuration with every section", () => {
  it("is accepted", () => {
    const sample = readFileSync(new URL("../../support/every-section.yaml", import.meta.url), "utf8");
    expect(said(sample)).toEqual([]);
  });
});
