import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError, loadConfig, parseConfig } from "../../../src/control/config.ts";
import { plainUplink } from "../../support/plain-uplink.ts";

const exampleFile = new URL("../../../share/sluice.yaml", import.meta.url);
const twoUplinks = `
uplinks:
  - { name: isp1, interface: wan0 }
  - { name: isp2, interface: wan1 }
steer: { local: true }
`;

/** Problems as they are printed, without the file's name; of an accepted file, its warnings. */
function problemsOf(text: string): string[] {
  try {
    return parseConfig(text, "f").warnings.map((problem) => new ConfigError("f", [problem]).message.slice(2));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split("\n").map((line) => line.slice(2));
  }
}

describe("a good configuration", () => {
  it("needs nothing but uplinks, and has every default filled in", () => {
    const { config, warnings } = parseConfig(twoUplinks, "f.yaml");
    expect(warnings).toEqual([]);
    expect(config).toEqual({
      file: "f.yaml",
      tun: { name: "sluice0", address: "10.255.255.1", prefixLength: 30 },
      steer: { interfaces: [], local: true },
      uplinks: [
        { name: "isp1", interface: "wan0", ...plainUplink, holdDownMs: 2000 },
        { name: "isp2", interface: "wan1", ...plainUplink, order: 1, holdDownMs: 2000 },
      ],
      balance: {
        key: "five-tuple",
        policy: "weighted-hash",
        sticky: null,
        rescue: true,
        overflowRatio: null,
        exploreRatio: 0.03,
      },
      groups: [],
      rules: [],
      hooks: { timeoutMs: 30_000 },
      nat: {
        firstPort: 16384,
        lastPort: 32767,
        mapping: "endpoint-independent",
        filtering: "address-and-port-dependent",
        timeouts: {
          tcpEstablishedMs: 7_440_000,
          tcpTransitoryMs: 240_000,
          udpMs: 300_000,
          icmpMs: 60_000,
          otherMs: 600_000,
        },
      },
      forwards: [],
      limits: { flows: 1_048_576, flowsPerHost: 65_536 },
      workers: expect.toSatisfy((workers: number) => workers >= 1 && workers <= 8),
      io: "shim",
      failMode: "open",
      log: { level: "info" },
      control: { socket: "/run/sluice/control.sock", stateDirectory: "/var/lib/sluice" },
    });
  });

  it("gives back what it says", () => {
    const { config, warnings } = parseConfig(
      `
tun: { name: lb0, address: 172.31.0.1/29 }
steer: { interfaces: [lan0, lan1], local: true }
uplinks:
  - { name: isp1, interface: wan0, gateway: 203.0.113.1, address: 203.0.113.2, weight: 3, tier: 2 }
balance: { key: source }
nat:
  ports: 20000-29999
  mapping: address-and-port-dependent
  filtering: endpoint-independent
  timeouts: { tcpEstablished: 5d, udp: 2m30s }
forwards:
  - { protocol: both, port: 443, to: 192.168.10.2:8443 }
  - { uplink: isp1, protocol: udp, port: 5000-5009, to: 192.168.10.3:6000-6009 }
limits: { flows: 4096 }
workers: 4
log: { level: debug }
control: { socket: /tmp/s }
`,
      "f",
    );
    expect(warnings).toEqual([]);
    expect(config.tun).toEqual({ name: "lb0", address: "172.31.0.1", prefixLength: 29 });
    expect(config.steer).toEqual({ interfaces: ["lan0", "lan1"], local: true });
    expect(config.uplinks).toEqual([
      {
        ...plainUplink,
        holdDownMs: 2000,
        name: "isp1",
        interface: "wan0",
        gateway: "203.0.113.1",
        address: "203.0.113.2",
        ipv6: {},
        weight: 3,
        tier: 2,
      },
    ]);
    expect(config.balance.key).toBe("source");
    expect(config.nat).toMatchObject({ firstPort: 20_000, lastPort: 29_999, mapping: "address-and-port-dependent" });
    expect(config.nat.filtering).toBe("endpoint-independent");
    expect(config.nat.timeouts).toMatchObject({ tcpEstablishedMs: 432_000_000, udpMs: 150_000 });
    expect(config.forwards).toEqual([
      { uplinks: ["isp1"], protocols: ["tcp", "udp"], firstPort: 443, lastPort: 443, to: "192.168.10.2", toPort: 8443 },
      { uplinks: ["isp1"], protocols: ["udp"], firstPort: 5000, lastPort: 5009, to: "192.168.10.3", toPort: 6000 },
    ]);
    expect(config.limits).toEqual({ flows: 4096, flowsPerHost: 4096 });
    expect(config).toMatchObject({ workers: 4, log: { level: "debug" }, control: { socket: "/tmp/s" } });
  });

  it("is what share/sluice.yaml shows, and the defaults in its comments are the true ones", () => {
    const text = readFileSync(exampleFile, "utf8");
    const keys =
      "tier|passive|holdDown|onDown|failback|policy|rescue|explore|mapping|filtering|timeouts|limits|workers|log|control";
    const uncommented = text.replaceAll(new RegExp(`^( *)# ((?:${keys}): )`, "gm"), "$1$2");
    expect(uncommented.match(new RegExp(`^ *(${keys}):`, "gm"))).toHaveLength(keys.split("|").length);
    expect(problemsOf(text)).toEqual([]);
    expect(parseConfig(uncommented, "f").config).toEqual(parseConfig(text, "f").config);
  });
});

describe("the examples in share/sluice.yaml", () => {
  const shown = readFileSync(exampleFile, "utf8");

  it("are accepted", () => {
    const text = shown.replaceAll(/^( *)## /gm, "$1");
    expect(problemsOf(text)).toEqual([]);
    expect(parseConfig(text, "f").config).toMatchObject({
      uplinks: [{ probe: { type: "icmp", lossRatio: 0.2 }, cap: { firstDay: 1 } }, { tier: 2 }],
      rules: [{ strict: true }, { use: ["cheap"] }, { bypass: true }],
    });
  });

  it("and the defaults show every key there is, but for what this version does not do", () => {
    const schema = JSON.parse(readFileSync(new URL("../../../sluice.schema.json", import.meta.url), "utf8"));
    const missing = keysOf(schema).filter((key) => !new RegExp(`(^|[ {])${key}:`, "m").test(shown));
    expect(missing).toEqual(["io", "metrics", "listen"]);
  });

  function keysOf(node: unknown): string[] {
    if (typeof node !== "object" || node === null) return [];
    const { properties = {} } = node as { properties?: object };
    return [
      ...new Set([
        ...Object.keys(properties),
        ...Object.values(node).flatMap(keysOf),
        ...Object.values(properties).flatMap(keysOf),
      ]),
    ];
  }
});

describe("what this version does not do", () => {
  it("is refused where ignoring it would send traffic another way", () => {
    const text = `${twoUplinks}
io: packages
`;
    expect(problemsOf(text)).toEqual(['7:5: io: is not supported by this version (got "packages"; expected shim)']);
  });

  it("is warned about where it would not", () => {
    const text = `
uplinks:
  - name: isp1
    interface: wan0
steer: { local: true }
metrics: { listen: 127.0.0.1:9469 }
`;
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(/^6:10: warning: metrics: is accepted but not acted on in this version; /),
    ]);
  });

  it("is no matter when it is empty or the default", () => {
    const text = `${twoUplinks}\nrules: []\nforwards: []\nbalance: { policy: weighted-hash }\nfailMode: open\nio: shim`;
    expect(problemsOf(text)).toEqual([]);
  });
});

describe("a problem", () => {
  const uplink = (more: string) => `steer: { local: true }\nuplinks:\n  - { name: a, interface: wan0, ${more} }`;
  const forward = (more: string) => `${uplink("address: 203.0.113.2")}\nforwards:\n  - { protocol: tcp, ${more} }`;
  const nat = (more: string) => `${uplink("weight: 1")}\nnat: { ${more} }`;

  // What each text is about, the text, and the one line that must be printed.
  // biome-ignore format: one case a line
  const single: [string, string, string | RegExp][] = [
    ["no uplinks", "steer: { local: true }", "1:1: uplinks: is missing"],
    ["an empty list of uplinks", "uplinks: []\nsteer: { local: true }", /^1:10: uplinks: has too few entries/],
    ["a list that is a mapping", "uplinks: { a: b }\nsteer: { local: true }", /^1:10: uplinks: is of the wrong kind .* expected a list/],
    ["a key without a value", "uplinks:\nsteer: { local: true }", /^1:1: uplinks: has no value/],
    ["a file that is a list", "- a\n- b", '1:1: the file is of the wrong kind (got ["a","b"]; expected a mapping)'],
    ["weight 0", uplink("weight: 0"), "3:41: uplinks[0].weight: is too small (got 0; expected a whole number from 1 to 10000)"],
    ["a negative weight", uplink("weight: -2"), /uplinks\[0\].weight: is too small \(got -2;/],
    ["a fractional weight", uplink("weight: 1.5"), /uplinks\[0\].weight: is of the wrong kind \(got 1.5; expected a whole number/],
    ["a quoted weight", uplink('weight: "3"'), /uplinks\[0\].weight: is of the wrong kind \(got "3"; expected a whole number/],
    ["an infinite weight", uplink("weight: .inf"), /uplinks\[0\].weight: .*got Infinity;/],
    ["an address out of range", uplink("address: 203.0.113.256"), /^3:42: uplinks\[0\].address: is not valid \(got "203.0.113.256"; expected an IPv4/],
    ["an address with leading zeros", uplink("address: 203.0.113.010"), /uplinks\[0\].address: is not valid/],
    ["an IPv6 address", uplink('gateway: "2001:db8::1"'), /uplinks\[0\].gateway: is not valid/],
    ["a multicast gateway", uplink("gateway: 224.0.0.1"), /uplinks\[0\].gateway: is not an address that a machine can have/],
    ["a gateway that is the uplink itself", uplink("gateway: 203.0.113.2, address: 203.0.113.2"), /uplinks\[0\].gateway: is the uplink's own address/],
    ["a gateway in the TUN's subnet", uplink("gateway: 10.255.255.2"), /uplinks\[0\].gateway: lies in the TUN's own subnet 10.255.255.1\/30/],
    ["an uplink in the TUN's subnet", uplink("address: 10.255.255.2"), /uplinks\[0\].address: lies in the TUN's own subnet/],
    ["an unknown key in an uplink", uplink("wieght: 3"), /^3:33: uplinks\[0\].wieght: unknown key; did you mean weight\? \(got "wieght"; expected one of name, /],
    ["an unknown key at the top", `${uplink("tier: 1")}\nupLinkz: 3`, /^4:1: upLinkz: unknown key; did you mean uplinks\?/],
    ["an unknown key like none", `${uplink("tier: 1")}\nflux: 3`, /^4:1: flux: unknown key \(/],
    ["a key that JavaScript gives a meaning", `${uplink("tier: 1")}\n__proto__: { a: 1 }`, /^4:1: __proto__: unknown key/],
    ["two uplinks of one name", `${uplink("tier: 1")}\n  - { name: a, interface: wan1 }`, /^4:13: uplinks\[1\].name: is also the name of uplinks\[0\] \(got "a"/],
    ["two uplinks on one interface", `${uplink("tier: 1")}\n  - { name: b, interface: wan0 }`, /^4:27: uplinks\[1\].interface: is also the interface of uplinks\[0\]/],
    ["an uplink without a name", "steer: { local: true }\nuplinks:\n  - interface: wan0", "3:5: uplinks[0].name: is missing"],
    ["an interface on both sides", "steer: { interfaces: [wan0] }\nuplinks: [{ name: a, interface: wan0 }]", /^2:33: uplinks\[0\].interface: is also in steer.interfaces/],
    ["an interface steered twice", `uplinks: [{ name: a, interface: wan0 }]\nsteer: { interfaces: [lan0, lan0] }`, /^2:22: steer.interfaces: names "lan0" twice/],
    ["loopback as an uplink", "steer: { local: true }\nuplinks: [{ name: a, interface: lo }]", /uplinks\[0\].interface: the loopback interface leads nowhere/],
    ["loopback as inside", "steer: { interfaces: [lo] }\nuplinks: [{ name: a, interface: wan0 }]", /steer.interfaces\[0\]: this machine's own traffic/],
    ["the TUN as an uplink", "steer: { local: true }\nuplinks: [{ name: a, interface: sluice0 }]", /uplinks\[0\].interface: is the TUN itself/],
    ["the TUN as inside", "steer: { interfaces: [sluice0] }\nuplinks: [{ name: a, interface: wan0 }]", /steer.interfaces\[0\]: is the TUN itself/],
    ["a TUN name too long for Linux", `${uplink("tier: 1")}\ntun: { name: sluice-balancer0 }`, /^4:14: tun.name: is not valid .*1 to 15/],
    ["a TUN name that Linux would fill in", `${uplink("tier: 1")}\ntun: { name: "tun%d" }`, /tun.name: is not valid/],
    ["a TUN address that is the network's", `${uplink("tier: 1")}\ntun: { address: 10.9.0.4/30 }`, /tun.address: is the network address/],
    ["a TUN address that is the broadcast", `${uplink("tier: 1")}\ntun: { address: 10.9.0.7/30 }`, /tun.address: is the broadcast address/],
    ["a TUN address without prefix", `${uplink("tier: 1")}\ntun: { address: 10.9.0.1 }`, /tun.address: is not valid .*prefix length/],
    ["a TUN on loopback addresses", `${uplink("tier: 1")}\ntun: { address: 127.0.0.1/8 }`, /tun.address: is not an address that a machine can have/],
    ["reversed ports", nat("ports: 40000-30000"), /^4:15: nat.ports: is reversed \(got "40000-30000"; expected the lower port first: 30000-40000\)/],
    ["privileged ports", nat("ports: 1000-30000"), /nat.ports: begins too low .*1024 to 65535/],
    ["ports beyond the last", nat("ports: 30000-70000"), /nat.ports: goes beyond the last port/],
    ["one port where a range is due", nat("ports: 30000"), /nat.ports: is of the wrong kind .*a port range such as/],
    ["fewer ports than workers", `${nat("ports: 30000-30002")}\nworkers: 4`, /nat.ports: is too small for 4 workers/],
    ["a timeout without unit", nat("timeouts: { udp: 300 }"), /nat.timeouts.udp: is of the wrong kind \(got 300; expected a duration with its unit/],
    ["a timeout of nothing", nat("timeouts: { udp: 0s }"), /nat.timeouts.udp: is out of range/],
    ["a timeout beyond the timer", nat("timeouts: { udp: 25d }"), /nat.timeouts.udp: is out of range/],
    ["a policy by a wrong name", `${uplink("tier: 1")}\nbalance: { key: fivetuple }`, /balance.key: is not a known value; did you mean five-tuple\?/],
    ["a truth that YAML 1.2 takes for text", "steer: { local: yes }\nuplinks: [{ name: a, interface: wan0 }]", /^1:17: steer.local: is of the wrong kind \(got "yes"; expected true or false\)/],
    ["too few flows", `${uplink("tier: 1")}\nlimits: { flows: 0 }`, /limits.flows: is too small .*from 16 to 16777216/],
    ["too many flows", `${uplink("tier: 1")}\nlimits: { flows: 99999999 }`, /limits.flows: is too large/],
    ["too many workers", `${uplink("tier: 1")}\nworkers: 17`, /workers: is not valid \(got 17; expected auto or a whole number from 1 to 16\)/],
    ["a relative socket", `${uplink("tier: 1")}\ncontrol: { socket: s.sock }`, /control.socket: is not valid .*absolute path/],
    ["a level by a wrong name", `${uplink("tier: 1")}\nlog: { level: verbose }`, /log.level: is not a known value/],
    ["a probe's loss as a percentage", uplink("probe: { loss: 20 }"), /uplinks\[0\].probe.loss: is too large/],
    ["a rule's bad network", `${uplink("tier: 1")}\nrules: [{ match: { source: [192.168.10.0/333.] } }]`, /rules\[0\].match.source\[0\]: is not valid/],
    ["a forward to an address that there cannot be", forward("port: 80, to: 300.1.1.1:80"), /^5:36: forwards\[0\].to: does not lead to an address .* \(got "300.1.1.1:80"; expected such as/],
    ["a forward to the loopback", forward("port: 80, to: 127.0.0.1:80"), /forwards\[0\].to: does not lead to an address that a machine inside can have/],
    ["a forward to an uplink's own address", forward("port: 80, to: 203.0.113.2:80"), /forwards\[0\].to: leads to the address of uplinks\[0\]/],
    ["a forward into the TUN's subnet", forward("port: 80, to: 10.255.255.2:80"), /forwards\[0\].to: lies in the TUN's own subnet 10.255.255.1\/30/],
    ["a forward to port 0", forward("port: 80, to: 192.168.10.2:0"), /forwards\[0\].to: begins too low .*1 to 65535/],
    ["a forward to a port beyond the last", forward("port: 80, to: 192.168.10.2:70000"), /forwards\[0\].to: goes beyond the last port/],
    ["a forwarded range that ends beyond the last port", forward("port: 80-90, to: 192.168.10.2:65526"), /forwards\[0\].to: leads beyond the last port .*a first port up to 65525/],
    ["a forwarded range to another number of ports", forward("port: 80-90, to: 192.168.10.2:80-89"), /forwards\[0\].to: has another number of ports than the 11 of port .*expected 80-90\)/],
    ["a forward to no port", forward("port: 80, to: 192.168.10.2"), /forwards\[0\].to: is not valid .*192.168.10.2:80/],
    ["a forward on an uplink that there is not", forward("uplink: b, port: 80, to: 192.168.10.2:80"), /^5:30: forwards\[0\].uplink: is the name of no uplink \(got "b"; expected one of a\)/],
    ["one in a list of uplinks that there is not", forward("uplink: [a, b], port: 80, to: 192.168.10.2:80"), /forwards\[0\].uplink\[1\]: is the name of no uplink \(got "b"/],
    ["a port that is forwarded as both and as one", forward("port: 80, to: 192.168.10.2:80 }\n  - { protocol: both, port: 80, to: 192.168.10.3:80"), /forwards\[1\].port: overlaps the port of forwards\[0\]/],
    ["more forwards than the kernel's programs have room for", `${uplink("tier: 1")}\nforwards: [${Array(65).fill(0).map((_, i) => `{ protocol: both, port: ${100 + i}, to: 192.168.10.2:80 }`).join(", ")}]`, /forwards: has too many entries \(65\)/],
    ["duplicate keys", "uplinks: []\nuplinks: []", "2:1: Map keys must be unique"],
    ["a syntax error", "uplinks:\n  - name: 'a\n", /^\d:\d+: Missing closing 'quote/],
    ["two documents", `${uplink("tier: 1")}\n---\na: b`, /^4:1: a second document begins here/],
    ["an empty file", "", /^1:1: the file is empty/],
    ["a file of comments", "# uplinks: []\n", /^1:1: the file is empty/],
    ["nothing but a null", "~", /^1:1: the file is empty/],
    ["a list as a key", `${uplink("tier: 1")}\n? [a]\n: b`, /^4:3: /],
  ];

  it.each(single)("is reported with its place and what was expected: %s", (about, text, expected) => {
    const errors = problemsOf(text).filter((line) => !/^\d+:\d+: warning:/.test(line));
    // Where several things follow from one mistake, the mistake itself must be among them.
    expect(errors).toContainEqual(typeof expected === "string" ? expected : expect.stringMatching(expected));
    if (!["a rule's bad network", "a syntax error"].includes(about)) expect(errors).toHaveLength(1);
  });

  it("does not hide another: schema, meaning and unsupported parts are reported together, in the file's order", () => {
    const text = `
tun: { nam: x }
uplinks:
  - { name: a, interface: wan0, weight: 0 }
  - { name: a, interface: wan1, gateway: 1.2.3 }
nat: { ports: 9-1, timeouts: { icmp: fast } }
rules: [{ use: [a] }]
`;
    const paths = problemsOf(text).map((line) => line.split(": ")[1]);
    const expected = ["tun.nam", "uplinks[0].weight", "uplinks[1].name", "uplinks[1].gateway", "nat.ports"];
    expect(paths).toEqual(expect.arrayContaining([...expected, "nat.timeouts.icmp", "rules[0].match"]));
    const lines = problemsOf(text).map((line) => Number(line.split(":")[0]));
    expect(lines).toEqual([...lines].sort((a, b) => a - b));
  });

  it("with forwards names the rival: overlaps among them and with nat.ports", () => {
    const text = `${twoUplinks}
forwards:
  - { protocol: tcp, port: 8000-8010, to: 192.168.10.2:80 }
  - { protocol: udp, port: 8005, to: 192.168.10.2:80 }
  - { protocol: tcp, port: 8010, to: 192.168.10.3:80, uplink: isp1 }
  - { protocol: tcp, port: 9000, to: 192.168.10.3:80, uplink: isp1 }
  - { protocol: tcp, port: 9000, to: 192.168.10.3:80, uplink: [isp2] }
  - { protocol: tcp, port: 20000, to: 192.168.10.3:80 }
  - { protocol: tcp, port: 9-1, to: 192.168.10.3:80 }
`;
    expect(problemsOf(text)).toEqual([
      expect.stringContaining("forwards[2].port: overlaps the port of forwards[0] (got 8010;"),
      expect.stringContaining("forwards[5].port: overlaps nat.ports (16384-32767) (got 20000;"),
      expect.stringContaining('forwards[6].port: is reversed (got "9-1";'),
    ]);
  });

  it("is a warning when the RFCs ask for more, or when nothing would be balanced", () => {
    const timeouts = "{ tcpEstablished: 1h, tcpTransitory: 1m, udp: 30s, icmp: 10s }";
    const text = `uplinks: [{ name: a, interface: wan0 }]\nnat:\n  ports: 30000-30999\n  timeouts: ${timeouts}\nworkers: 1`;
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(/^1:1: warning: steer: nothing is steered/),
      expect.stringMatching(/warning: nat.ports: leaves 1000 ports to each of 1 workers/),
      expect.stringMatching(
        /tcpEstablished: is shorter than RFC 5382 REQ-5 allows \(got "1h"; expected at least 2h4m\)/,
      ),
      expect.stringMatching(/tcpTransitory: is shorter than RFC 5382 REQ-5 allows \(got "1m"; expected at least 4m\)/),
      expect.stringMatching(/udp: is shorter than RFC 4787 REQ-5 allows \(got "30s"; expected at least 2m\)/),
      expect.stringMatching(/icmp: is shorter than RFC 5508 REQ-2 allows \(got "10s"; expected at least 1m\)/),
    ]);
    expect(() => parseConfig(text, "f")).not.toThrow();
  });

  it("limits uplinks to 16", () => {
    const uplinks = (count: number) =>
      Array.from({ length: count }, (_, index) => `  - { name: u${index}, interface: wan${index} }`).join("\n");
    expect(problemsOf(`steer: { local: true }\nuplinks:\n${uplinks(16)}`)).toEqual([]);
    expect(problemsOf(`steer: { local: true }\nuplinks:\n${uplinks(17)}`)).toEqual([
      expect.stringMatching(/uplinks: has too many entries \(17\)/),
    ]);
  });
});

describe("a hostile file", () => {
  it("cannot grow through its anchors", () => {
    const levels = ["a: &a [x, x, x, x, x, x, x, x, x]"];
    for (const [index, name] of [..."bcdefgh"].entries())
      levels.push(`${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[index]}`).join(", ")}]`);
    expect(problemsOf(levels.join("\n"))).toEqual([expect.stringMatching(/Excessive alias count/)]);
  });

  it("may use an anchor as people do: the problem stands where the text is, and each use gets its own defaults", () => {
    const text = "steer: &s { local: true }\nuplinks:\n  - { name: a, interface: wan0 }\nlog: *s";
    expect(problemsOf(text)).toEqual(['1:13: log.local: unknown key (got "local"; expected one of level)']);
  });

  it("cannot exhaust the stack or the memory", () => {
    const depth = 50_000;
    expect(problemsOf(`uplinks: ${"[".repeat(depth)}${"]".repeat(depth)}`).length).toBeGreaterThan(0);
    expect(problemsOf("#".repeat(300_000))).toEqual([expect.stringMatching(/larger than 256 KiB/)]);
  });

  it("puts no control character on the terminal", () => {
    for (const text of ["\x1b[2J: [", "a: \x1b]0;x\x07 : b", `uplinks:\n  - { name: "\\e[2J", interface: wan0 }`]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
      expect(problemsOf(text).join("\n")).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    }
  });

  it("whatever it holds ends in a configuration or a ConfigError", () => {
    const example = readFileSync(exampleFile, "utf8");
    const cut = fc.tuple(fc.nat(example.length), fc.nat(20), fc.string({ maxLength: 12, unit: "grapheme" }));
    const damaged = cut.map(([at, length, text]) => example.slice(0, at) + text + example.slice(at + length));
    const values = fc
      .jsonValue({ maxDepth: 4 })
      .map((value) => JSON.stringify({ uplinks: value, tun: value, nat: { ports: value } }));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), damaged, values), (text) => {
        for (const line of problemsOf(text)) expect(line).toMatch(/^\d+:\d+: ./);
      }),
      { numRuns: 600 },
    );
  });
});

describe("a file that cannot be read", () => {
  it("is named with the reason", () => {
    expect(() => loadConfig("/nonexistent/sluice.yaml")).toThrow(/^\/nonexistent\/sluice.yaml: there is no such file/);
    expect(() => loadConfig("/")).toThrow(/^\/: is a directory/);
  });
});
