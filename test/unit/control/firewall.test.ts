import { describe, expect, it } from "vitest";
import { tableName, tableText } from "../../../src/control/firewall.ts";

describe("the firewall's table", () => {
  it("has a name of nft's letters that differs for every TUN", () => {
    expect(tableName("sluice0")).toBe("sluice_sluice0");
    expect(tableName("wg-0.1")).toBe("sluice_wg_2d_0_2e_1");
    expect(tableName("wg_0")).not.toBe(tableName("wg-0"));
  });

  it("is one line, so that nft applies it in one transaction", () => {
    const chains = [{ name: "a", device: "wan0", address: "203.0.113.2" }];
    const text = tableText("t", chains, { firstPort: 16_384, lastPort: 32_767 });
    expect(text).not.toContain("\n");
    expect(text).toContain('device "wan0"');
    expect(text).toContain("ip daddr 203.0.113.2 ip protocol { tcp, udp } th dport 16384-32767 drop");
  });

  it.each(['w"; drop', "wan*", "wan 0"])("does not hand nft the interface name %j", (device) => {
    const chains = [{ name: "a", device, address: "203.0.113.2" }];
    expect(() => tableText("t", chains, { firstPort: 1, lastPort: 2 })).toThrow("nft cannot be given");
  });
});
