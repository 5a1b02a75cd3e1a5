import { describe, expect, it } from "vitest";
import { formatAge, formatBitRate, formatBytes, formatEndpoint, formatTable } from "../../../src/cli/format.ts";
import { showStatus } from "../../../src/cli/status-view.ts";
import { sampleStatus, sampleUplink } from "../../support/reports.ts";

const wide = Number.POSITIVE_INFINITY;

/** The cells of a table's row, by the row's first cell. */
function row(lines: string[], first: string): string[] {
  return lines.find((line) => line.startsWith(first))!.split(/ {2,}/);
}

describe("the status", () => {
  it("shows each uplink's share of the flows beside what its weight asks for", () => {
    expect(showStatus(sampleStatus(), wide)).toEqual([
      "sluice 0.1.0, up 2h 04m, 2 workers, io shim",
      "",
      "UPLINK  STATE  INTERFACE  ADDRESS       GATEWAY      WEIGHT  TARGET  SHARE  FLOWS     SENT  RECEIVED",
      "isp1    up     wan0       203.0.113.2   203.0.113.1       3   75.0%  75.0%     30  1.50 MB   2.34 GB",
      "isp2    up     wan1       198.51.100.2  -                 1   25.0%  25.0%     10  1.50 MB   2.34 GB",
      "",
      "Flows: 40 active (33 tcp, 7 udp), 123,456 opened since the start",
      "Drops: 12,348 packets",
      "  12,345  no-mapping",
      "       3  bad-checksum",
    ]);
  });

  it("shows what the policy gives each uplink, and says why one is out", () => {
    const down = sampleUplink({ name: "isp2", targetRatio: 0, state: "down", reason: "no carrier", flows: 0 });
    const lines = showStatus(sampleStatus({ uplinks: [sampleUplink({ targetRatio: 1 }), down], drops: {} }), wide);
    expect(row(lines, "isp1")).toContain("100.0%");
    expect(row(lines, "isp2")).toEqual(expect.arrayContaining(["down", "-", "0.0%"]));
    expect(lines).toContain("isp2 is down: no carrier");
    expect(lines).toContain("Drops: none");
  });

  it("shows tiers when they differ", () => {
    const spare = sampleUplink({ name: "lte", tier: 2 });
    expect(showStatus(sampleStatus({ uplinks: [sampleUplink(), spare] }), wide)[2]).toContain("TIER");
    expect(showStatus(sampleStatus(), wide)[2]).not.toContain("TIER");
  });

  it("shows IPv6 once an uplink has it, and why it cannot be used", () => {
    const ipv6 = { address: "2001:db8:1::2", gateway: "fe80::1", state: "up", reason: "" } as const;
    const silent = { ...ipv6, address: "2001:db8:2::2", state: "down", reason: "no gateway" } as const;
    const uplinks = [
      sampleUplink({ ipv6 }),
      sampleUplink({ name: "isp2", ipv6: silent }),
      sampleUplink({ name: "isp3" }),
    ];
    const lines = showStatus(sampleStatus({ uplinks }), wide);
    expect(row(lines, "isp1")).toContain("2001:db8:1::2");
    expect(row(lines, "isp2")).not.toContain("2001:db8:2::2");
    expect(lines).toContain("IPv6 on isp2 is down: no gateway");
    expect(lines.join()).not.toContain("isp3 is down");
    expect(showStatus(sampleStatus(), wide)[2]).not.toContain("IPV6");
  });

  it("shows round trip and loss once something measures them", () => {
    const probed = sampleUplink({ rttMs: 12.34, lossRatio: 0.015 });
    const lines = showStatus(sampleStatus({ uplinks: [probed, sampleUplink({ name: "isp2" })] }), wide);
    expect(row(lines, "isp1")).toEqual(expect.arrayContaining(["12.3 ms", "1.5%"]));
    expect(showStatus(sampleStatus(), wide)[2]).not.toMatch(/RTT|LOSS/);
  });

  it("marks an uplink that is up and not well, and says what it is", () => {
    const bad = sampleUplink({ degraded: true, reason: "loss 12.0%", lossRatio: 0.12, rttMs: 123.4 });
    const capped = sampleUplink({ name: "lte", state: "draining", reason: "data cap: 20 GB are used" });
    const lines = showStatus(sampleStatus({ uplinks: [bad, capped] }), wide);
    expect(row(lines, "isp1").slice(0, 2)).toEqual(["isp1", "degraded"]);
    expect(row(lines, "isp1")).toContain("123 ms");
    expect(lines).toContain("isp1 is degraded: loss 12.0%");
    expect(lines).toContain("lte is draining: data cap: 20 GB are used");
  });

  it("keeps round trip and loss in 80 columns, and gives up addresses first", () => {
    const measured = { rttMs: 12.34, lossRatio: 0.015, degraded: true, reason: "loss 1.5%" };
    const uplinks = [sampleUplink(measured), sampleUplink({ ...measured, name: "isp2", rttMs: 802.1, flows: 12_345 })];
    const lines = showStatus(sampleStatus({ uplinks }), 80);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const title of ["STATE", "RTT", "LOSS", "TARGET", "SHARE", "FLOWS", "SENT"]) expect(lines[2]).toContain(title);
    expect(lines[2]).not.toMatch(/ADDRESS|GATEWAY/);
  });

  it("shows rates between two looks", () => {
    const later = sampleStatus({ uplinks: [sampleUplink({ txBytes: 1_500_000 + 250_000 })] });
    const lines = showStatus(later, wide, { report: sampleStatus(), elapsedSeconds: 2 });
    expect(row(lines, "isp1").slice(-2)).toEqual(["1.00 Mbit/s", "0 bit/s"]);
  });

  it("fits 80 columns with long names, and keeps the state and the shares", () => {
    const uplinks = ["enterprise-fibre-1", "isp2"].map((name) =>
      sampleUplink({ name, interface: "enp129s0f1np1.42", flows: 1e6 }),
    );
    const lines = showStatus(sampleStatus({ uplinks }), 80);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    for (const title of ["STATE", "TARGET", "SHARE", "FLOWS"]) expect(lines[2]).toContain(title);
  });

  it("without any uplink or flow is no division by nothing", () => {
    const empty = showStatus(sampleStatus({ uplinks: [sampleUplink({ flows: 0 })], workers: 1 }), wide);
    expect(row(empty, "isp1")).toContain("0.0%");
    expect(empty[0]).toContain("1 worker,");
    expect(showStatus(sampleStatus({ uplinks: [] }), wide).join()).not.toMatch(/NaN|Infinity/);
  });
});

describe("numbers", () => {
  it("of bytes have three digits and a decimal unit", () => {
    expect([0, 999, 1000, 1234, 12_345, 123_456, 999_499, 999_500, 1.5e9, 7e18].map(formatBytes)).toEqual([
      "0 B", "999 B", "1.00 kB", "1.23 kB", "12.3 kB", "123 kB", "999 kB", "1.00 MB", "1.50 GB", "7.00 EB",
    ]); // biome-ignore format: pairs are easier to compare in two rows
    expect(formatBitRate(9.4e8)).toBe("940 Mbit/s");
  });

  it("of seconds show the two largest units", () => {
    expect([0, 59.9, 60, 3599, 3600, 86_399, 86_400, 1e6].map(formatAge)).toEqual([
      "0s",
      "59s",
      "1m 00s",
      "59m 59s",
      "1h 00m",
      "23h 59m",
      "1d 00h",
      "11d 13h",
    ]);
  });
});

describe("a table", () => {
  it("shows a control character in a value as a question mark", () => {
    const columns = [{ title: "NAME", text: (name: string) => name }];
    expect(formatTable(["a\x1b[2Jb\nc"], columns, wide)).toEqual(["NAME", "a?[2Jb?c"]);
  });
});

describe("an endpoint", () => {
  it("has its IPv6 address in brackets, or its port could not be told from it", () => {
    expect(formatEndpoint("192.0.2.10", 80)).toBe("192.0.2.10:80");
    expect(formatEndpoint("2001:db8::10", 80)).toBe("[2001:db8::10]:80");
  });
});
