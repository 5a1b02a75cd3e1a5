import { describe, expect, it } from "vitest";
import type { UplinkConfig } from "../../../src/control/config-types.ts";
import type { AddressRow, DefaultRoute, LinkRow } from "../../../src/control/iproute.ts";
import { publishUplinks } from "../../../src/control/publish-uplinks.ts";
import { describeUplink, type UplinkSnapshot } from "../../../src/control/uplink-snapshot.ts";
import { SharedState, uplinkWord, uplinkWords } from "../../../src/tables/shared-state.ts";
import { plainUplink } from "../../support/plain-uplink.ts";

const address: AddressRow = { family: "inet", local: "203.0.113.2", prefixlen: 24, scope: "global" };
const link: LinkRow = {
  ifindex: 5,
  ifname: "wan0",
  flags: ["BROADCAST", "UP", "LOWER_UP"],
  mtu: 1492,
  link_type: "ether",
  address: "02:00:5e:00:53:02",
  addr_info: [address],
};
const route: DefaultRoute = { device: "wan0", gateway: "203.0.113.1", table: 254, metric: 100 };
const noCuts = new Array(2).fill({ standsIn: false, cutAll: 0, cutDisplaced: 0 });
const uplink: UplinkConfig = { name: "isp1", interface: "wan0", ...plainUplink };

function describeWith(
  { links = [link], defaultRoutes = [route] }: { links?: LinkRow[]; defaultRoutes?: DefaultRoute[] },
  config: { address?: string; gateway?: string } = {},
  previous: UplinkSnapshot | null = null,
): UplinkSnapshot {
  return describeUplink({ ...uplink, ...config }, { links, defaultRoutes, defaultRoutes6: [] }, previous);
}

describe("an uplink's snapshot", () => {
  it.each([
    ["interface missing", { links: [] }],
    ["administratively down", { links: [{ ...link, flags: ["BROADCAST"], addr_info: [] }] }],
    ["no carrier", { links: [{ ...link, flags: ["NO-CARRIER", "UP"] }] }],
    ["no address", { links: [{ ...link, addr_info: [] }] }],
    ["no address", { links: [{ ...link, addr_info: [{ ...address, scope: "link" }] }] }],
    ["no gateway", { defaultRoutes: [] }],
    ["no gateway", { defaultRoutes: [{ ...route, device: "wan1" }] }],
    ["links of type infiniband are not supported", { links: [{ ...link, link_type: "infiniband" }] }],
  ])("is down with the first reason that keeps it from sending: %s", (reason, system) => {
    expect(describeWith(system)).toMatchObject({ state: "down", reason });
  });

  it("takes the first global address that is not secondary", () => {
    const rows: AddressRow[] = [
      { ...address, family: "inet6", local: "2001:db8::2" },
      { ...address, local: "203.0.113.9", secondary: true },
      { ...address, local: "203.0.113.8" },
      address,
    ];
    expect(describeWith({ links: [{ ...link, addr_info: rows }] }).address).toBe("203.0.113.8");
  });

  it("takes a configured address when the interface has it, secondary or not, and else says so", () => {
    const rows = [address, { ...address, local: "203.0.113.9", secondary: true }];
    expect(describeWith({ links: [{ ...link, addr_info: rows }] }, { address: "203.0.113.9" }).address).toBe(
      "203.0.113.9",
    );
    expect(describeWith({}, { address: "203.0.113.9" })).toMatchObject({
      address: null,
      reason: "address 203.0.113.9 is not on wan0",
    });
  });

  it("learns the gateway from the main table before others, and from the lowest metric", () => {
    const defaultRoutes = [
      { ...route, table: 100, metric: 0, gateway: "203.0.113.7" },
      { ...route, metric: 300, gateway: "203.0.113.8" },
      { ...route, metric: 200, gateway: "203.0.113.9" },
    ];
    expect(describeWith({ defaultRoutes }).gateway).toBe("203.0.113.9");
    expect(describeWith({ defaultRoutes: defaultRoutes.slice(0, 1) }).gateway).toBe("203.0.113.7");
    expect(describeWith({ defaultRoutes }, { gateway: "203.0.113.250" }).gateway).toBe("203.0.113.250");
  });

  it("remembers a gateway whose route is gone as long as the address stays", () => {
    const previous = describeWith({});
    expect(describeWith({ defaultRoutes: [] }, {}, previous)).toMatchObject({ state: "up", gateway: "203.0.113.1" });
    const moved = [{ ...link, addr_info: [{ ...address, local: "203.0.113.3" }] }];
    expect(describeWith({ links: moved, defaultRoutes: [] }, {}, previous).reason).toBe("no gateway");
  });

  it("names the network that the address connects to", () => {
    const networkOf = (more: Partial<AddressRow>) =>
      describeWith({ links: [{ ...link, addr_info: [{ ...address, ...more }] }] }).network;
    expect(networkOf({})).toBe("203.0.113.0/24");
    expect(networkOf({ local: "203.0.113.130", prefixlen: 25 })).toBe("203.0.113.128/25");
    expect(networkOf({ prefixlen: 32 })).toBeNull();
    expect(networkOf({ prefixlen: 32, address: "198.51.100.9" })).toBe("198.51.100.9/32");
  });

  it("has no link header and needs no gateway on a point-to-point link", () => {
    const ppp: LinkRow = { ...link, link_type: "ppp", flags: ["POINTOPOINT", "NOARP", "UP", "LOWER_UP"] };
    delete ppp.address;
    expect(describeWith({ links: [ppp], defaultRoutes: [] })).toMatchObject({
      state: "up",
      linkHeaderBytes: 0,
      gateway: null,
      macAddress: null,
    });
  });
});

describe("an uplink's IPv6", () => {
  const address6: AddressRow = { family: "inet6", local: "2001:db8:1::2", prefixlen: 64, scope: "global" };
  const route6: DefaultRoute = { device: "wan0", gateway: "fe80::1", table: 254, metric: 1024 };

  function describe6(
    rows: AddressRow[],
    ipv6: UplinkConfig["ipv6"] = {},
    more: { defaultRoutes6?: DefaultRoute[]; previous?: UplinkSnapshot; flags?: string[] } = {},
  ): UplinkSnapshot["ipv6"] {
    const links = [{ ...link, addr_info: rows, flags: more.flags ?? link.flags }];
    const system = { links, defaultRoutes: [], defaultRoutes6: more.defaultRoutes6 ?? [route6] };
    return describeUplink({ ...uplink, ipv6 }, system, more.previous ?? null).ipv6;
  }

  it("is up with a global address and the gateway of its own default route, whatever IPv4 does", () => {
    expect(describe6([address6])).toEqual({
      address: "2001:db8:1::2",
      network: "2001:db8:1::/64",
      gateway: "fe80::1",
      gatewayMac: null,
      prefix: null,
      state: "up",
      reason: "",
    });
    expect(describeWith({ links: [{ ...link, addr_info: [address6] }] })).toMatchObject({ reason: "no address" });
  });

  it.each([
    ["no address", [address], {}],
    ["no address", [{ ...address6, scope: "link", local: "fe80::2" }], {}],
    ["no address", [{ ...address6, tentative: true }], {}],
    ["no address", [{ ...address6, dadfailed: true }], {}],
    ["no address", [{ ...address6, temporary: true }], {}],
    ["address 2001:db8:1::9 is not on wan0", [address6], { address: "2001:db8:1::9" }],
    [
      "address 2001:db8:1::2 lies in the prefix 2001:db8::/32",
      [address6],
      { prefix: { words: [0x20010db8, 0, 0, 0], length: 32 } },
    ],
  ])("is down with its own reason: %s", (reason, rows, config) => {
    expect(describe6(rows, config)).toMatchObject({ state: "down", reason });
  });

  it("is down without a gateway, without a carrier, and where the configuration leaves it out", () => {
    expect(describe6([address6], {}, { defaultRoutes6: [] }).reason).toBe("no gateway");
    expect(describe6([address6], {}, { flags: ["UP", "NO-CARRIER"] }).reason).toBe("no carrier");
    expect(describe6([address6], null)).toMatchObject({ address: null, reason: "left out by the configuration" });
  });

  it("prefers an address that stays: not deprecated, not unique local, and the one of before among equals", () => {
    const [other, local] = ["2001:db8:1::3", "fd00:1::2"].map((text) => ({ ...address6, local: text }));
    const deprecated = { ...address6, deprecated: true };
    expect(describe6([local!, deprecated, other!]).address).toBe("2001:db8:1::3");
    expect(describe6([deprecated, local!]).address).toBe("fd00:1::2");
    expect(describe6([deprecated]).address).toBe("2001:db8:1::2");
    const previous = describeWith({ links: [{ ...link, addr_info: [other!] }] });
    expect(describe6([address6, other!], {}, { previous }).address).toBe("2001:db8:1::3");
  });

  it("goes to the workers with its own header, address and prefix", () => {
    const prefix = { words: [0x20010db8, 0x01010000, 0, 0], length: 48 };
    const described = describeWith({ links: [{ ...link, addr_info: [address6] }] });
    const ipv6 = { ...describe6([address6], { prefix }), gatewayMac: "02:00:5e:00:53:06" };
    const shared = new SharedState();
    publishUplinks([{ ...described, ipv6 }], noCuts, shared);
    const { uplinks, uplinkBytes } = shared;
    expect([uplinks[uplinkWord.ready], uplinks[uplinkWord.ready6]]).toEqual([0, 1]);
    const headerAt = uplinkWord.linkHeader6 * 4;
    const header = Buffer.from(uplinkBytes.slice(headerAt, headerAt + 14)).toString("hex");
    expect(header).toBe("02005e00530602005e00530286dd");
    const words = (at: number) => Array.from(uplinks.subarray(at, at + 4));
    expect(words(uplinkWord.address6)).toEqual([0x20010db8, 0x00010000, 0, 2]);
    expect(words(uplinkWord.prefix6)).toEqual(prefix.words);
    expect(uplinks[uplinkWord.prefix6Length]).toBe(48);
  });
});

describe("publishing", () => {
  const resolved = { ...describeWith({}), gatewayMac: "02:00:5e:00:53:01" };

  it("writes a row that is ready, with the header as it goes out", () => {
    const shared = new SharedState();
    publishUplinks([resolved], noCuts, shared);
    expect(Array.from(shared.uplinks.subarray(0, 3))).toEqual([1, 0xcb007102 | 0, 1492]);
    expect(Buffer.from(shared.uplinkBytes.slice(16, 30)).toString("hex")).toBe("02005e00530102005e0053020800");
  });

  it("clears ready when the uplink is down, and leaves the other rows alone", () => {
    const shared = new SharedState();
    publishUplinks([resolved, resolved], noCuts, shared);
    publishUplinks([{ ...resolved, state: "down", reason: "no carrier" }, resolved], noCuts, shared);
    expect(shared.uplinks[0]).toBe(0);
    expect(shared.uplinks[uplinkWords]).toBe(1);
  });

  it("makes a new generation only for a change", () => {
    const shared = new SharedState();
    publishUplinks([resolved], noCuts, shared);
    const { generation } = shared;
    publishUplinks([{ ...resolved }], noCuts, shared);
    expect(shared.generation).toBe(generation);
    publishUplinks([{ ...resolved, mtu: 1500 }], noCuts, shared);
    expect(shared.generation).toBe(generation + 2);
  });
});
