import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Usage } from "../../../src/control/budget.ts";
import { readUsage, UsageFile } from "../../../src/control/usage-file.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-usage-"));
  path = join(directory, "deeper", "usage.json");
});
afterEach(() => rmSync(directory, { recursive: true }));

const usage = new Map<string, Usage>([["isp1", { since: "2026-11-01", bytes: 12_345 }]]);
const more = new Map<string, Usage>([["isp1", { since: "2026-11-01", bytes: 99_999 }]]);

function open(): { file: UsageFile; warnings: string[] } {
  const warnings: string[] = [];
  return { file: new UsageFile(path, (text) => warnings.push(text)), warnings };
}

describe("a usage file", () => {
  it("is empty, without a warning, where there is none", async () => {
    expect(await readUsage(path)).toEqual({ usage: new Map(), warning: null });
  });

  it("gives back what was written, in a directory made for it, and leaves nothing beside it", async () => {
    const { file, warnings } = open();
    await file.write(usage);
    expect(await readUsage(path)).toEqual({ usage, warning: null });
    expect(readdirSync(join(directory, "deeper"))).toEqual(["usage.json"]);
    expect(warnings).toEqual([]);
  });

  it("is written at once, then at most once a minute, and at the end whatever the time", async () => {
    const { file } = open();
    file.offer(usage, 1_000);
    await file.write(usage);
    rmSync(path);
    file.offer(more, 60_999);
    await file.write(usage);
    expect(readdirSync(join(directory, "deeper"))).toEqual([]);
    file.offer(more, 61_000);
    await file.write(more);
    expect((await readUsage(path)).usage).toEqual(more);
    await file.write(usage);
    expect((await readUsage(path)).usage).toEqual(usage);
  });

  it.each([
    ["", "not JSON"],
    ['{"version":1,"uplinks":{"isp1":{"since":"2026-11-01","by', "not JSON"],
    ["null", "not a usage file of version 1"],
    ['{"version":2,"uplinks":{}}', "not a usage file of version 1"],
    ['{"version":1,"uplinks":{"isp1":{"since":"yesterday","bytes":5}}}', "wrong about isp1"],
    ['{"version":1,"uplinks":{"isp1":{"since":"2026-11-01","bytes":-5}}}', "wrong about isp1"],
    ['{"version":1,"uplinks":{"isp1":null}}', "wrong about isp1"],
    [`"${"x".repeat(70_000)}"`, "longer than 65536 bytes"],
  ])("that holds %.60s is kept aside, with a warning", async (text, expected) => {
    await open().file.write(usage);
    writeFileSync(path, text);
    const found = await readUsage(path);
    expect(found.usage.size).toBe(0);
    expect(found.warning).toContain(`${path} is ${expected}`);
    expect(readFileSync(`${path}.unreadable`, "utf8")).toBe(text);
    expect(await readUsage(path)).toEqual({ usage: new Map(), warning: null });
  });

  it("that cannot be written is warned of once, and again only after it could be", async () => {
    const { file, warnings } = open();
    writeFileSync(join(directory, "deeper"), "a file where a directory should be");
    await file.write(usage);
    await file.write(more);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`cannot write ${path}: `);
    rmSync(join(directory, "deeper"));
    await file.write(usage);
    expect((await readUsage(path)).usage).toEqual(usage);
    rmSync(join(directory, "deeper"), { recursive: true });
    writeFileSync(join(directory, "deeper"), "again");
    await file.write(more);
    expect(warnings).toHaveLength(2);
  });

  it("that cannot be read is warned of and left alone", async () => {
    const { warning } = await readUsage(directory);
    expect(warning).toContain(`cannot read ${directory}: EISDIR`);
  });
});
