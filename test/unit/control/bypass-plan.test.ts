import { describe, expect, it } from "vitest";
import { planBypass } from "../../../src/control/bypass-plan.ts";
import { parseConfig } from "../../../src/control/config.ts";
import { type Family, routeArguments, ruleArguments } from "../../../src/control/iproute.ts";
import { planRoutes, planRules, slotAt } from "../../../src/control/steering-plan.ts";
import { configWith } from "../../support/rules.ts";

/** What of the plan is about bypasses, as `ip` is told. */
function plan(text: string, family: Family = "-4"): { rules: string[]; thrown: string[] } {
  const config = { ...configWith(text), failMode: "closed" as const };
  const without = (words: string[]) => words.join(" ").replace(" protocol 83", "");
  const rules = planRules(config, [], slotAt(0), family).filter(
    ({ priority }) => priority === 20_005 || priority > 20_007,
  );
  const usual = new Set(planRoutes({ ...config, rules: [] }, [], slotAt(0), family).map((route) => route.destination));
  const routes = planRoutes(config, [], slotAt(0), family).filter(({ destination }) => !usual.has(destination));
  return {
    rules: rules.map((rule) => without(ruleArguments(rule))),
    thrown: routes.map((route) => without(routeArguments(route))),
  };
}

describe("what is left to the kernel", () => {
  it("by destinations alone is thrown back by the steering table", () => {
    const text = `rules:
  - { match: { destination: [203.0.113.0/24] }, use: [a] }
  - { match: { destination: [10.1.2.3/8, 192.0.2.10, 192.0.2.10/32, "2001:DB8::5/48"] }, bypass: true }`;
    expect(plan(text)).toEqual({
      rules: [],
      thrown: ["throw 10.0.0.0/8 table 8300", "throw 192.0.2.10 table 8300"],
    });
    expect(plan(text, "-6")).toEqual({ rules: [], thrown: ["throw 2001:db8::/48 table 8300"] });
  });

  it("by anything else has rules of the kernel, before what is steered", () => {
    const text = `rules:
  - { match: { source: [192.168.10.64/26], destination: [10.0.0.0/8], protocol: tcp, destinationPort: [25, 8000-8010] }, bypass: true }
  - { match: { interface: [lo], protocol: icmp }, bypass: true }
  - { match: { sourcePort: [53] }, bypass: true }`;
    expect(plan(text)).toEqual({
      rules: [
        "pref 20005 from 192.168.10.64/26 to 10.0.0.0/8 ipproto 6 dport 25 goto 20009",
        "pref 20005 from 192.168.10.64/26 to 10.0.0.0/8 ipproto 6 dport 8000-8010 goto 20009",
        "pref 20005 iif lo ipproto 1 goto 20009",
        "pref 20005 ipproto 6 sport 53 goto 20009",
        "pref 20005 ipproto 17 sport 53 goto 20009",
        "pref 20009 nop",
      ],
      thrown: [],
    });
    expect(plan(text, "-6").rules).toEqual([
      "pref 20005 iif lo ipproto 58 goto 20009",
      "pref 20005 ipproto 6 sport 53 goto 20009",
      "pref 20005 ipproto 17 sport 53 goto 20009",
      "pref 20009 nop",
    ]);
  });

  it("is what no earlier rule uses an uplink for, in the order of the file", () => {
    const text = `rules:
  - { match: { protocol: udp }, use: [b] }
  - { match: { destination: [10.1.0.0/16], protocol: tcp }, use: [a] }
  - { match: { destination: [10.0.0.0/8], protocol: tcp }, bypass: true }
  - { match: { protocol: tcp, destinationPort: [25] }, use: [a] }
  - { match: { source: [192.168.10.9] }, bypass: true }`;
    expect(plan(text).rules).toEqual([
      "pref 20005 ipproto 17 lookup 8300",
      "pref 20005 to 10.1.0.0/16 ipproto 6 lookup 8300",
      "pref 20005 to 10.0.0.0/8 ipproto 6 goto 20009",
      "pref 20005 ipproto 6 dport 25 lookup 8300",
      "pref 20005 from 192.168.10.9/32 goto 20009",
      "pref 20009 nop",
    ]);
  });

  it("is everything where a rule says so", () => {
    expect(plan("rules: [{ match: {}, bypass: true }]").rules).toEqual(["pref 20005 goto 20009", "pref 20009 nop"]);
    expect(plan("rules: [{ match: { destination: [0.0.0.0/0] }, bypass: true }]").rules).toEqual([
      "pref 20005 goto 20009",
      "pref 20009 nop",
    ]);
  });

  it("is nothing without such rules", () => {
    expect(planBypass(configWith("rules: [{ match: {}, use: [a] }]"), "-4")).toEqual({ thrown: [], rules: [] });
  });
});

describe("a bypass that the kernel can't be told", () => {
  const file = (rules: string) => () =>
    parseConfig(`uplinks: [{ name: isp1, interface: wan0 }]\nsteer: { local: true }\nrules:\n${rules}`, "f");

  it.each([
    [
      "by DSCP",
      "  - { match: { dscp: [46] }, bypass: true }",
      "rules[0].match.dscp: can't be left to the kernel's own routing",
    ],
    [
      "behind a rule by DSCP",
      `  - { match: { dscp: [46] }, use: [isp1] }
  - { match: { destination: [10.0.0.0/8] }, bypass: true }`,
      "rules[0]: takes by DSCP or domain from what rules[1] bypasses",
    ],
    [
      "behind a rule by domain",
      `  - { match: { domain: [example.org], protocol: tcp }, use: [isp1] }
  - { match: { protocol: tcp, destinationPort: [25] }, bypass: true }`,
      "rules[0]: takes by DSCP or domain from what rules[1] bypasses",
    ],
    [
      "in too many rules",
      `  - { match: { source: [10.0.0.0/8], destination: [${Array.from({ length: 513 }, (_, i) => `192.0.${i >> 8}.${i & 255}`)}] }, bypass: true }`,
      "rules: take 513 rules of the kernel for what is bypassed",
    ],
  ])("is refused: %s", (_, rules, message) => {
    expect(file(rules)).toThrow(message);
  });

  it("may be any number of destinations, and domains that are none of its business", () => {
    expect(
      file(
        `  - { match: { destination: [${Array.from({ length: 600 }, (_, i) => `192.0.${i >> 8}.${i & 255}`)}] }, bypass: true }`,
      ),
    ).not.toThrow();
    expect(
      file(`  - { match: { domain: [example.org], protocol: udp }, use: [isp1] }
  - { match: { destination: [10.0.0.0/8], protocol: tcp }, bypass: true }`),
    ).not.toThrow();
  });
});
