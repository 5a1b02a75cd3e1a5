import { describe, expect, it } from "vitest";
import { tableName, tableText } from "../../../src/control/firewall.ts";

const wan0 = {
  name: "a",
  device: "wan0",
  ipv4: { address: "203.0.113.2", tcpPorts: "16384-32767, 8080-8080", udpPorts: "16384-32767" },
};
const wan1 = {
  name: "b",
  device: "wan1",
  ipv4: { address: "198.51.100.2", tcpPorts: "16384-32767", udpPorts: "16384-32767" },
};

/** The rules of one chain, in order. */
function rulesOf(text: string, chain: string): string[] {
  const match = new RegExp(`chain ${chain} \\{ (.*?); \\};`).exec(text);
  return match![1]!.split("; ");
}

describe("the firewall's table", () => {
  it("has a name of nft's letters that differs for every TUN", () => {
    expect(tableName("sluice0")).toBe("sluice_sluice0");
    expect(tableName("wg-0.1")).toBe("sluice_wg_2d_0_2e_1");
    expect(tableName("wg_0")).not.toBe(tableName("wg-0"));
  });

  it("is one line, so that nft applies it in one transaction", () => {
    expect(tableText("t", [wan0, wan1], [{ name: "c", device: "lan0" }])).not.toContain("\n");
  });

  it("drops on each uplink what is for its address and a port that is translated or forwarded there, by protocol", () => {
    const text = tableText("t", [wan0, wan1], []);
    expect(rulesOf(text, "a")).toEqual(
      expect.arrayContaining([
        expect.stringContaining('hook ingress device "wan0"'),
        "ip daddr != 203.0.113.2 accept",
        "ip frag-off & 0x3fff == 0 ip protocol tcp th dport { 16384-32767, 8080-8080 } drop",
        "ip frag-off & 0x3fff == 0 ip protocol udp th dport { 16384-32767 } drop",
      ]),
    );
    expect(rulesOf(text, "b")).toEqual(
      expect.arrayContaining([
        "ip daddr != 198.51.100.2 accept",
        "ip frag-off & 0x3fff == 0 ip protocol tcp th dport { 16384-32767 } drop",
      ]),
    );
  });

  it("remembers the first fragments that it drops, so that their later ones follow", () => {
    const rules = rulesOf(tableText("t", [wan0], []), "a");
    const remembered = rules.filter((rule) => rule.includes("update @fragments"));
    expect(remembered).toHaveLength(2);
    expect(remembered[0]).toContain("ip frag-off & 0x2000 != 0 ip protocol tcp th dport { 16384-32767, 8080-8080 }");
    const follow = rules.findIndex((rule) => rule.includes("@fragments drop"));
    const spare = rules.indexOf("ip frag-off & 0x1fff != 0 accept");
    const ports = rules.findIndex((rule) => rule.includes("th dport") && !rule.includes("0x3fff == 0"));
    // Or the payload of later fragments would be taken for ports.
    expect(follow < spare && spare < ports).toBe(true);
  });

  it("keeps the router from saying that it does not know GRE, on every uplink", () => {
    const text = tableText("t", [wan0, wan1], []);
    for (const [chain, device] of [
      ["a_out", "wan0"],
      ["b_out", "wan1"],
    ] as const) {
      const [hook, ...rules] = rulesOf(text, chain);
      expect(hook).toContain(`hook egress device "${device}"`);
      expect(rules).toContain("icmp type destination-unreachable icmp code prot-unreachable drop");
    }
  });

  it("drops on the LANs what is for a translated port of any uplink's address", () => {
    const rules = rulesOf(tableText("t", [wan0, wan1], [{ name: "lan", device: "lan0" }]), "lan");
    expect(rules).toEqual(
      expect.arrayContaining([
        expect.stringContaining('hook ingress device "lan0"'),
        "ip daddr 203.0.113.2 ip protocol tcp th dport { 16384-32767, 8080-8080 } drop",
        "ip daddr 198.51.100.2 ip protocol udp th dport { 16384-32767 } drop",
      ]),
    );
    expect(rules.slice(2, 4), "later fragments have no ports").toEqual([
      "ip frag-off & 0x1fff != 0 accept",
      "frag frag-off != 0 accept",
    ]);
  });

  it("drops the translated ports of an uplink's IPv6 address, its fragments likewise, and all of its prefix", () => {
    const ipv6 = { address: "2001:db8:1::2", tcpPorts: "16384-32767", udpPorts: "16384-32767" };
    const both = { ...wan0, ipv6, prefix6: "2001:db8:101::/48" };
    const text = tableText("t", [both], [{ name: "lan", device: "lan0" }]);
    const rules = rulesOf(text, "a");
    expect(rules.slice(0, -8)).toEqual(rulesOf(tableText("t", [wan0], []), "a"));
    expect(rules.slice(-8)).toEqual([
      "ip6 daddr 2001:db8:101::/48 drop",
      "ip6 daddr != 2001:db8:1::2 accept",
      "frag frag-off != 0 ip6 saddr . frag id @fragments6 drop",
      "frag frag-off != 0 accept",
      "frag more-fragments 1 meta l4proto tcp th dport { 16384-32767 } update @fragments6 { ip6 saddr . frag id }",
      "frag more-fragments 1 meta l4proto udp th dport { 16384-32767 } update @fragments6 { ip6 saddr . frag id }",
      "meta protocol ip6 meta l4proto tcp th dport { 16384-32767 } drop",
      "meta protocol ip6 meta l4proto udp th dport { 16384-32767 } drop",
    ]);
    expect(rulesOf(text, "lan")).toContain("ip6 daddr 2001:db8:1::2 meta l4proto udp th dport { 16384-32767 } drop");
    expect(rulesOf(text, "a_out")).toContain("icmpv6 type parameter-problem icmpv6 code 1 drop");
  });

  it.each(['w"; drop', "wan*", "wan 0"])("does not hand nft the interface name %j", (device) => {
    expect(() => tableText("t", [{ ...wan0, device }], [])).toThrow("nft cannot be given");
    expect(() => tableText("t", [], [{ name: "lan", device }])).toThrow("nft cannot be given");
  });
});
