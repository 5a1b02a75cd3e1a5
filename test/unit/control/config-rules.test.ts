import { describe, expect, it } from "vitest";
import { ConfigError, parseConfig } from "../../../src/control/config.ts";
import type { RuleConfig } from "../../../src/control/config-types.ts";
import { findShadows } from "../../../src/control/rule-shadows.ts";
import { configWith } from "../../support/rules.ts";

const head = `uplinks: [{ name: isp1, interface: wan0 }, { name: isp2, interface: wan1 }]
steer: { interfaces: [lan0] }
`;

/** Problems as they are printed, without the file's name and place; of an accepted file, its warnings. */
function problemsOf(text: string): string[] {
  const without = (message: string) => message.replaceAll(/^f:[0-9]+:[0-9]+: /gm, "").split("\n");
  try {
    return parseConfig(head + text, "f").warnings.flatMap((problem) =>
      without(new ConfigError("f", [problem]).message),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return without(error.message);
  }
}

const rule = (text: string) => `rules: [{ ${text} }]`;

describe("a rule that can't be", () => {
  it.each([
    [
      "an unknown uplink",
      rule("match: {}, use: [isp3]"),
      'rules[0].use[0]: is the name of no uplink or group; did you mean isp1? (got "isp3"; expected one of isp1, isp2)',
    ],
    [
      "neither use nor bypass",
      rule("match: {}"),
      "rules[0]: says what matches but not what becomes of it (expected use or bypass: true)",
    ],
    [
      "use and bypass",
      rule("match: {}, use: [isp1], bypass: true"),
      "rules[0].bypass: leaves to the kernel what use sends to an uplink (got true; expected one of the two)",
    ],
    [
      "strict bypass",
      rule("match: {}, bypass: true, strict: true"),
      "rules[0].strict: means nothing with bypass: no uplink is chosen (got true; expected strict with use only)",
    ],
    [
      "a domain with bypass",
      rule("match: { domain: [example.org] }, bypass: true"),
      "rules[0].match.domain: can't be left to the kernel, which knows no names (expected destination networks with bypass)",
    ],
    [
      "a group beside others",
      `groups: [{ name: g, uplinks: { isp1: 1 } }]\n${rule("match: {}, use: [isp1, g]")}`,
      'rules[0].use[1]: is a group and has others beside it (got "g"; expected one group alone, or uplinks)',
    ],
    [
      "an uplink twice",
      rule("match: {}, use: [isp1, isp1]"),
      'rules[0].use[1]: is named twice (got "isp1"; expected every uplink once; a group has weights)',
    ],
    [
      "a group with an uplink's name",
      "groups: [{ name: isp2, uplinks: { isp1: 1 } }]",
      'groups[0].name: is also the name of an uplink (got "isp2"; expected another name, so that rules can tell them apart)',
    ],
    [
      "two groups of one name",
      "groups: [{ name: g, uplinks: { isp1: 1 } }, { name: g, uplinks: { isp2: 1 } }]",
      'groups[1].name: is also the name of groups[0] (got "g"; expected every group to have its own)',
    ],
    [
      "an unknown uplink in a group",
      "groups: [{ name: g, uplinks: { isp: 1 } }]",
      'groups[0].uplinks.isp: "isp" is the name of no uplink; did you mean isp1? (got 1; expected one of isp1, isp2)',
    ],
    [
      "an address out of range",
      rule("match: { source: [192.0.2.256] }, use: [isp1]"),
      'rules[0].match.source[0]: is not a network (got "192.0.2.256"; expected one such as 198.51.100.0/24 or 2001:db8::/32)',
    ],
    [
      "a prefix too long",
      rule("match: { destination: [192.0.2.0/33] }, use: [isp1]"),
      'rules[0].match.destination[0]: is not a network (got "192.0.2.0/33"; expected one such as 198.51.100.0/24 or 2001:db8::/32)',
    ],
    [
      "ports upside down",
      rule('match: { sourcePort: ["90-80"] }, use: [isp1]'),
      'rules[0].match.sourcePort[0]: is reversed (got "90-80"; expected the lower port first: 80-90)',
    ],
    [
      "ports of a protocol without",
      rule("match: { protocol: sctp, destinationPort: [80] }, use: [isp1]"),
      "rules[0].match.destinationPort: does not go with protocol sctp: only of TCP and UDP are ports known (expected tcp or udp)",
    ],
    [
      "an interface that is not steered",
      rule("match: { interface: [lan9] }, use: [isp1]"),
      'rules[0].match.interface[0]: is the name of no interface that is steered; did you mean lan0? (got "lan9"; expected one of lan0)',
    ],
    [
      "the machine itself where it is not steered",
      rule("match: { interface: [lo] }, use: [isp1]"),
      'rules[0].match.interface[0]: means this machine\'s own traffic, which is not steered (got "lo"; expected steer.local: true, or another interface)',
    ],
  ])("is refused: %s", (_, text, message) => {
    expect(problemsOf(text)).toEqual([message]);
  });

  it("is refused with more sets of uplinks than there are tables for", () => {
    const groups = Array.from({ length: 16 }, (_, i) => `  - { name: g${i}, uplinks: { isp1: ${i + 1} } }`);
    const use = (strict: boolean) =>
      groups.map(
        (_, i) =>
          `  - { match: { dscp: [${i}], protocol: ${strict ? "tcp" : "udp"} }, use: [g${i}], strict: ${strict} }`,
      );
    const file = (rules: string[]) => `groups:\n${groups.join("\n")}\nrules:\n${rules.join("\n")}`;
    expect(problemsOf(file([...use(true), ...use(false)]))).toEqual([
      "rules: use 32 different sets of uplinks (expected at most 31, strict ones apart)",
    ]);
    expect(problemsOf(file([...use(true), ...use(false).slice(1)]))).toEqual([]);
  });

  it("is refused with more domains than there are numbers for", () => {
    const rules = Array.from({ length: 256 }, (_, i) => `  - { match: { domain: [h${i}.example.org] }, use: [isp1] }`);
    expect(problemsOf(`rules:\n${rules.join("\n")}`)).toEqual([
      "rules: have 256 different sets of domains (expected at most 255; rules with equal lists count once)",
    ]);
    expect(problemsOf(`rules:\n${rules.slice(1).join("\n")}`)).toEqual([]);
  });
});

describe("a rule that never comes to bear", () => {
  const shadows = (text: string) => findShadows(configWith(text).rules).map(({ rule, by }) => [rule, ...by]);

  it("is a warning that names those before it", () => {
    const text = `rules:
  - { match: { destination: [192.0.2.0/24] }, use: [isp1] }
  - { match: { destination: [192.0.2.10], protocol: tcp }, use: [isp2] }`;
    expect(problemsOf(text)).toEqual([
      "warning: rules[1]: never comes to bear: rules[0] matches all that it does, and the first match wins",
    ]);
  });

  it.each([
    [
      "everything before it",
      "rules: [{ match: {}, use: [a] }, { match: { domain: [example.org] }, use: [b] }]",
      [[1, 0]],
    ],
    [
      "two halves together",
      `rules:
  - { match: { destination: [10.0.0.0/9] }, use: [a] }
  - { match: { protocol: udp }, use: [a] }
  - { match: { destination: [10.128.0.0/9], protocol: tcp }, use: [a] }
  - { match: { destination: [10.0.0.0/8], protocol: tcp }, use: [b] }`,
      [[3, 0, 2]],
    ],
    [
      "ports in pieces",
      `rules:
  - { match: { protocol: tcp, destinationPort: ["0-1023"] }, use: [a] }
  - { match: { destinationPort: ["1000-65535"] }, use: [a] }
  - { match: { protocol: tcp, destinationPort: ["80-8080"] }, use: [b] }`,
      [[2, 0, 1]],
    ],
    [
      "a parent domain",
      `rules:
  - { match: { domain: [example.org] }, use: [a] }
  - { match: { domain: [www.example.org] }, use: [b] }`,
      [[1, 0]],
    ],
    [
      "an interface list that is longer",
      `rules:
  - { match: { interface: [lan0, lo] }, use: [a] }
  - { match: { interface: [lo], protocol: udp }, use: [b] }`,
      [[1, 0]],
    ],
    [
      "both families",
      `rules:
  - { match: { destination: [0.0.0.0/0] }, use: [a] }
  - { match: { destination: ["::/0"] }, use: [a] }
  - { match: {}, use: [b] }`,
      [[2, 0, 1]],
    ],
  ])("is shadowed by %s", (_, text, expected) => {
    expect(shadows(text)).toEqual(expected);
  });

  it.each([
    ["one family is left", "rules: [{ match: { destination: [0.0.0.0/0] }, use: [a] }, { match: {}, use: [b] }]"],
    [
      "an address is left between two networks",
      `rules:
  - { match: { destination: [192.0.2.0/25] }, use: [a] }
  - { match: { destination: [192.0.2.129/32, 192.0.2.130/31, 192.0.2.132/30, 192.0.2.136/29, 192.0.2.144/28, 192.0.2.160/27, 192.0.2.192/26] }, use: [a] }
  - { match: { destination: [192.0.2.0/24] }, use: [b] }`,
    ],
    [
      "a name is not an address",
      "rules: [{ match: { domain: [example.org] }, use: [a] }, { match: { destination: [192.0.2.0/24] }, use: [b] }]",
    ],
    [
      "another interface is left",
      "rules: [{ match: { interface: [lan0] }, use: [a] }, { match: { interface: [lan0, lan1] }, use: [b] }]",
    ],
    [
      "what has no ports is left",
      `rules: [{ match: { destinationPort: ["0-65535"] }, use: [a] }, { match: {}, use: [b] }]`,
    ],
    [
      "they only overlap",
      "rules: [{ match: { source: [10.0.0.0/8] }, use: [a] }, { match: { destination: [10.0.0.0/8] }, use: [b] }]",
    ],
  ])("is not when %s", (_, text) => {
    expect(shadows(text)).toEqual([]);
  });

  it("is found among thousands", () => {
    const match = configWith("rules: [{ match: {}, use: [a] }]").rules[0]!.match;
    const rules = Array.from(
      { length: 3000 },
      (_, i): RuleConfig => ({
        match: { ...match, destination: [`10.${(i % 2900) >> 8}.${(i % 2900) & 255}.0/24`] },
        use: ["a"],
        strict: false,
        bypass: false,
      }),
    );
    expect(findShadows(rules).map(({ rule, by }) => [rule, ...by])).toEqual(
      Array.from({ length: 100 }, (_, i) => [2900 + i, i]),
    );
  });
});
