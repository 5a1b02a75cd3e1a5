import { describe, expect, it } from "vitest";
import type { Config } from "../../../src/control/config-types.ts";
import { type Family, routeArguments, ruleArguments } from "../../../src/control/iproute.ts";
import { planRoutes, planRules, type Slot, slotAt, slotCount } from "../../../src/control/steering-plan.ts";
import { describeUplink, type UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { plainUplink } from "../../support/plain-uplink.ts";

const slot = slotAt(0);

function config(more: object = {}): Config {
  return {
    tun: { name: "sluice0", address: "10.255.255.1", prefixLength: 30 },
    steer: { interfaces: ["lan0", "lan1"], local: true },
    failMode: "open",
    uplinks: [{ ipv6: {} }, { ipv6: {} }],
    forwards: [] as Config["forwards"],
    rules: [] as Config["rules"],
    ...more,
  } as Config;
}

function uplink(
  device: string,
  address: string | null,
  gateway: string | null,
  network: string | null,
): UplinkSnapshot {
  const links = [
    { ifindex: 2, ifname: device, flags: ["UP", "LOWER_UP"], mtu: 1500, link_type: "ether", addr_info: [] },
  ];
  const described = describeUplink(
    { name: device, interface: device, ...plainUplink },
    { links, defaultRoutes: [], defaultRoutes6: [] },
    null,
  );
  return { ...described, address, gateway, network, reason: "" };
}

const wan0 = uplink("wan0", "203.0.113.2", "203.0.113.1", "203.0.113.0/24");
const wan1 = uplink("wan1", "198.51.100.2", "198.51.100.1", "198.51.100.0/24");
const withIpv6: UplinkSnapshot = {
  ...wan0,
  ipv6: { ...wan0.ipv6, address: "2001:db8:1::2", gateway: "fe80::1", network: "2001:db8:1::/64", reason: "" },
};

type Uplinks = readonly UplinkSnapshot[];

function rules(config: Config, uplinks: Uplinks, slot: Slot, family: Family = "-4"): string[] {
  const plan = planRules(config, uplinks, slot, family);
  return plan.map((rule) => ruleArguments(rule).join(" ").replace(" protocol 83", ""));
}

function routes(config: Config, uplinks: Uplinks, slot: Slot, family: Family = "-4"): string[] {
  const plan = planRoutes(config, uplinks, slot, family);
  return plan.map((route) => routeArguments(route).join(" ").replace(" protocol 83", ""));
}

describe("the plan of rules", () => {
  it("has the order that the header of the file explains", () => {
    expect(rules(config(), [wan0, wan1], slot)).toEqual([
      "pref 20000 from 203.0.113.2/32 iif lo lookup 8301 suppress_prefixlength 0",
      "pref 20000 from 198.51.100.2/32 iif lo lookup 8302 suppress_prefixlength 0",
      "pref 20001 lookup 254 suppress_prefixlength 0",
      "pref 20002 iif sluice0 type blackhole",
      "pref 20003 from 203.0.113.2/32 iif lo lookup 8301",
      "pref 20003 from 198.51.100.2/32 iif lo lookup 8302",
      "pref 20004 oif wan0 lookup 8301",
      "pref 20004 oif wan1 lookup 8302",
      "pref 20006 iif lan0 lookup 8300",
      "pref 20006 iif lan1 lookup 8300",
      "pref 20007 iif lo lookup 8300",
    ]);
  });

  it("has no rule for the machine's own traffic when that is not steered", () => {
    const plan = rules(config({ steer: { interfaces: ["lan0"], local: false } }), [], slot);
    expect(plan.at(-1)).toBe("pref 20006 iif lan0 lookup 8300");
  });

  it("steers only the answers of forwards when the machine's own traffic is not steered, each target once", () => {
    const forward = { uplinks: ["isp1"], protocols: ["tcp"], firstPort: 1, lastPort: 1, toPort: 1 };
    const forwards = ["192.168.10.1", "192.168.10.2", "192.168.10.1"].map((to) => ({ ...forward, to }));
    const lan = { interfaces: ["lan0"], local: false };
    expect(rules(config({ steer: lan, forwards }), [], slot).slice(-3)).toEqual([
      "pref 20006 iif lan0 lookup 8300",
      "pref 20007 from 192.168.10.1/32 iif lo lookup 8300",
      "pref 20007 from 192.168.10.2/32 iif lo lookup 8300",
    ]);
    const all = rules(config({ steer: { ...lan, local: true }, forwards }), [], slot);
    expect(all.filter((rule) => rule.startsWith("pref 20007"))).toEqual(["pref 20007 iif lo lookup 8300"]);
  });

  it("has no rule for an address that is not there", () => {
    const plan = rules(config(), [{ ...wan0, address: null }], slot);
    expect(plan.filter((rule) => rule.includes("from"))).toEqual([]);
  });

  it("stays in its slot's priorities and tables, which no other slot has", () => {
    const [first, second] = [slotAt(7), slotAt(8)];
    expect(second.firstPriority - first.firstPriority).toBe(10);
    expect(slotAt(slotCount - 1).firstPriority + 9).toBeLessThan(32_766);
    const sixteen = Array.from({ length: 16 }, () => wan0);
    const tables = planRoutes(config(), sixteen, first, "-4").map((route) => route.table);
    expect(Math.max(...tables)).toBeLessThan(second.firstTable);
  });
});

describe("the plan of routes", () => {
  it("fills the steering table and one table an uplink, each with the other's network behind its own gateway", () => {
    expect(routes(config(), [wan0, wan1], slot)).toEqual([
      "throw 224.0.0.0/4 table 8300",
      "throw 255.255.255.255 table 8300",
      "unicast default table 8300 dev sluice0 src 10.255.255.1",
      "unicast 203.0.113.0/24 table 8301 dev wan0 src 203.0.113.2",
      "unicast 198.51.100.0/24 table 8301 via 203.0.113.1 onlink dev wan0 src 203.0.113.2",
      "unicast default table 8301 via 203.0.113.1 onlink dev wan0 src 203.0.113.2",
      "unicast 198.51.100.0/24 table 8302 dev wan1 src 198.51.100.2",
      "unicast 203.0.113.0/24 table 8302 via 198.51.100.1 onlink dev wan1 src 198.51.100.2",
      "unicast default table 8302 via 198.51.100.1 onlink dev wan1 src 198.51.100.2",
    ]);
  });

  it("adds a last resort that does not leave with the TUN when failMode is closed", () => {
    expect(routes(config({ failMode: "closed" }), [], slot)).toContain(
      "unreachable default table 8300 metric 4294967295",
    );
  });

  it("keeps two uplinks in the same network apart, and a network within one's own direct", () => {
    const twin = uplink("wan1", "203.0.113.3", "203.0.113.254", "203.0.113.0/24");
    const inner = uplink("wan2", "203.0.113.130", "203.0.113.129", "203.0.113.128/25");
    const plan = routes(config(), [wan0, twin, inner], slot);
    expect(plan.filter((route) => route.includes("table 8301"))).toEqual([
      "unicast 203.0.113.0/24 table 8301 dev wan0 src 203.0.113.2",
      "unicast default table 8301 via 203.0.113.1 onlink dev wan0 src 203.0.113.2",
    ]);
    expect(plan).toContain("unicast 203.0.113.0/24 table 8303 via 203.0.113.129 onlink dev wan2 src 203.0.113.130");
  });

  it("needs no gateway on a point-to-point link", () => {
    const ppp = { ...uplink("ppp0", "192.0.2.201", null, "192.0.2.202/32"), linkHeaderBytes: 0 };
    expect(routes(config(), [ppp], slot).slice(3)).toEqual([
      "unicast 192.0.2.202/32 table 8301 dev ppp0 src 192.0.2.201",
      "unicast default table 8301 dev ppp0 src 192.0.2.201",
    ]);
  });

  it.each([
    ["missing", { present: false }],
    ["switched off", { adminUp: false }],
    ["without an address", { address: null }],
    ["without a gateway", { gateway: null, reason: "no gateway" }],
  ])("asks for no route that the kernel would refuse: an uplink %s", (_, more) => {
    expect(routes(config(), [{ ...wan0, ...more }], slot)).toHaveLength(3);
  });
});

describe("the plan for IPv6", () => {
  it("is empty as long as no uplink has an address", () => {
    expect(rules(config(), [wan0, wan1], slot, "-6")).toEqual([]);
    expect(routes(config(), [wan0, wan1], slot, "-6")).toEqual([]);
  });

  it("lets nothing leave by itself meanwhile when failMode is closed, unless IPv6 is left out altogether", () => {
    const closed = config({ failMode: "closed" });
    expect(rules(closed, [wan0], slot, "-6")).toContain("pref 20006 iif lan0 lookup 8300");
    expect(routes(closed, [wan0], slot, "-6")).toEqual([
      "throw fe80::/10 table 8300",
      "throw ff00::/8 table 8300",
      "unreachable default table 8300 metric 4294967295",
    ]);
    const without = config({ failMode: "closed", uplinks: [{ ipv6: null }] });
    expect(rules(without, [wan0], slot, "-6")).toEqual([]);
    expect(routes(without, [wan0], slot, "-6")).toEqual([]);
  });

  it("has the rules of IPv4, those by address only for the uplinks that have one", () => {
    expect(rules(config(), [withIpv6, wan1], slot, "-6")).toEqual([
      "pref 20000 from 2001:db8:1::2/128 iif lo lookup 8301 suppress_prefixlength 0",
      "pref 20001 lookup 254 suppress_prefixlength 0",
      "pref 20002 iif sluice0 type blackhole",
      "pref 20003 from 2001:db8:1::2/128 iif lo lookup 8301",
      "pref 20004 oif wan0 lookup 8301",
      "pref 20004 oif wan1 lookup 8302",
      "pref 20006 iif lan0 lookup 8300",
      "pref 20006 iif lan1 lookup 8300",
      "pref 20007 iif lo lookup 8300",
    ]);
  });

  it("leaves multicast and link-local to main, and gives the TUN's address to what is sent by it", () => {
    expect(routes(config(), [withIpv6, wan1], slot, "-6")).toEqual([
      "throw fe80::/10 table 8300",
      "throw ff00::/8 table 8300",
      "unicast default table 8300 dev sluice0 src fd73:6c75:6963:65::aff:ff01",
      "unicast 2001:db8:1::/64 table 8301 dev wan0 src 2001:db8:1::2",
      "unicast default table 8301 via fe80::1 onlink dev wan0 src 2001:db8:1::2",
    ]);
  });

  it("steers the answers of IPv6 forwards by IPv6 and those of IPv4 by IPv4", () => {
    const forward = { uplinks: ["isp1"], protocols: ["tcp"], firstPort: 1, lastPort: 1, toPort: 1 };
    const forwards = ["192.168.10.1", "fd00:10::1"].map((to) => ({ ...forward, to }));
    const both = config({ steer: { interfaces: [], local: false }, forwards });
    expect(rules(both, [withIpv6], slot).at(-1)).toBe("pref 20007 from 192.168.10.1/32 iif lo lookup 8300");
    expect(rules(both, [withIpv6], slot, "-6").at(-1)).toBe("pref 20007 from fd00:10::1/128 iif lo lookup 8300");
  });
});
