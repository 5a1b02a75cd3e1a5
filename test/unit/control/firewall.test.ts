import { describe, expect, it } from "vitest";
import { tableName, tableText } from "../../../src/control/firewall.ts";

const wan0 = {
  name: "a",
  device: "wan0",
  address: "203.0.113.2",
  tcpPorts: "16384-32767, 8080-8080",
  udpPorts: "16384-32767",
};
const wan1 = { ...wan0, name: "b", device: "wan1", address: "198.51.100.2", tcpPorts: "16384-32767" };

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
    expect(rules[2], "later fragments have no ports").toBe("ip frag-off & 0x1fff != 0 accept");
  });

  it.each(['w"; drop', "wan*", "wan 0"])("does not hand nft the interface name %j", (device) => {
    expect(() => tableText("t", [{ ...wan0, device }], [])).toThrow("nft cannot be given");
    expect(() => tableText("t", [], [{ name: "lan", device }])).toThrow("nft cannot be given");
  });
});
