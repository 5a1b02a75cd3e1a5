import { describe, expect, it } from "vitest";
import { showExplain } from "../../../src/cli/explain-view.ts";
import { sampleExplain, sampleFlow } from "../../support/reports.ts";

const wide = Number.POSITIVE_INFINITY;
const show = (...more: Parameters<typeof sampleExplain>) => showExplain(sampleExplain(...more), wide);

describe("an explanation", () => {
  it("says which uplink a new flow takes, by what, and who else was there", () => {
    expect(show({ notes: ["The line is new."] })).toEqual([
      "tcp 192.168.10.2:51234 -> 198.51.100.200:443",
      "takes isp1: the hash leads to isp1",
      "",
      "flow     does not exist",
      "rule     none matches",
      "group    all uplinks",
      "policy   weighted-hash",
      "hash     5a71c0de of five-tuple",
      "",
      "UPLINK  STATE  WEIGHT  SHARE",
      "isp1    up          3  75.0%  <- this one",
      "isp2    up          1  25.0%",
      "",
      "The line is new.",
    ]);
  });

  it("names the rule as check counts it, and says that it is strict", () => {
    const rule = { number: 3, text: "to 198.51.100.0/24", strict: true, bypass: false };
    const lines = show({ rule, group: { number: 2, name: "isp1" } });
    expect(lines).toContain("rule     rules[3]: to 198.51.100.0/24, strict");
    expect(lines).toContain("group    isp1");
  });

  it("tells of the flow that exists", () => {
    expect(show({ existing: sampleFlow() })).toContain(
      "flow     exists on isp1 as 203.0.113.2:17001, established, 1m 01s old, idle for 0s",
    );
  });

  it("names no uplink where there is none, or where it depends on what was not given", () => {
    const flow = { ...sampleExplain().flow, sourcePort: null, source: "fd00::2", destination: "2001:db8::10" };
    const lines = show({ flow, uplink: null, hash: null, why: "it depends on the source port", decidedBy: "table" });
    expect(lines.slice(0, 2)).toEqual(["tcp fd00::2 -> [2001:db8::10]:443", "It depends on the source port"]);
    expect(lines).toContain("hash     of five-tuple: something of it was not given");
    expect(lines.join()).not.toContain("this one");
  });

  it("says why a candidate is out", () => {
    const [first, second] = sampleExplain().candidates;
    const out = { ...second!, state: "down" as const, reason: "no carrier", shareRatio: 0, weight: 0 };
    expect(show({ candidates: [first!, out] })).toContain("isp2    down        -      -  no carrier");
  });

  it("shows a control character of the daemon's as a question mark", () => {
    expect(show({ why: "a\x1b[2Jb\nc" })[1]).toBe("takes isp1: a?[2Jb?c");
  });
});
