import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Journal, recover } from "../../../src/control/journal.ts";
import {
  InUseError,
  type JournalEntry,
  type JournalFile,
  journalPath,
  newJournal,
  parseJournal,
} from "../../../src/control/journal-file.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-journal-"));
  path = journalPath(directory, "sluice0");
});
afterEach(() => rmSync(directory, { recursive: true }));

const entries: JournalEntry[] = [
  { kind: "rules", firstPriority: 20_000, lastPriority: 20_009 },
  { kind: "routes", firstTable: 8300, lastTable: 8316 },
  { kind: "neighbour", interface: "wan0", gateway: "203.0.113.1" },
  { kind: "neighbour", interface: "wan0", gateway: "fe80::1" },
  { kind: "reservedPorts", firstPort: 16_384, lastPort: 32_767, formerly: "20000-20010,30000" },
];

function write(more: Partial<JournalFile>): void {
  writeFileSync(path, JSON.stringify({ ...newJournal("sluice0"), ...more }));
}

/** A process id that was used a moment ago. */
function deadPid(): number {
  return spawnSync("true").pid;
}

describe("a journal", () => {
  it("stands in a file of its TUN and network namespace, whole after every entry", () => {
    const journal = new Journal("sluice0", directory);
    for (const entry of entries) {
      journal.record(entry);
      expect(parseJournal(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid, entries: journal.entries });
    }
    expect(readdirSync(directory)).toEqual([expect.stringMatching(/^sluice0\.\d+\.json$/)]);
    journal.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("claims its TUN's name while its process lives, and no other name", async () => {
    const journal = new Journal("sluice0", directory);
    expect(() => new Journal("sluice0", directory)).toThrow(InUseError);
    await expect(recover("sluice0", directory)).rejects.toThrow(
      `sluice0 is in use by another sluice, process ${process.pid}`,
    );
    new Journal("sluice1", directory).close();
    journal.close();
    expect(await recover("sluice0", directory)).toEqual([]);
  });

  it("tells other running instances' reservations, not those of dead ones or other namespaces", () => {
    const reservation = entries.at(-1)!;
    const living = new Journal("sluice1", directory);
    living.record(reservation);
    const dead = { ...newJournal("sluice2"), pid: deadPid(), entries: [reservation] };
    writeFileSync(journalPath(directory, "sluice2"), JSON.stringify(dead));
    writeFileSync(
      join(directory, "sluice3.1.json"),
      JSON.stringify({ ...newJournal("sluice3"), entries: [reservation] }),
    );
    expect(new Journal("sluice0", directory).otherReservations()).toEqual([reservation]);
  });
});

describe("recovery", () => {
  it("takes over from a process that died, and from one whose id somebody else has now", async () => {
    for (const owner of [{ pid: deadPid() }, { startTicks: "1" }]) {
      write(owner);
      expect(() => new Journal("sluice0", directory)).toThrow("recover it first");
      expect(await recover("sluice0", directory)).toEqual([]);
      expect(existsSync(path)).toBe(false);
    }
  });

  it("undoes nothing for a journal that outlived its system", async () => {
    // Undoing these would run `ip` and say so.
    write({ bootId: "another", entries });
    expect(await recover("sluice0", directory)).toEqual([]);
    expect(existsSync(path)).toBe(false);
  });

  it.each([
    ["no JSON", "{"],
    ["another version", JSON.stringify({ version: 2 })],
    ["null", "null"],
    ["too large", JSON.stringify({ ...newJournal("sluice0"), tun: "x".repeat(100_000) })],
    ["a command", JSON.stringify({ ...newJournal("sluice0"), entries: [{ kind: "shell", command: "true" }] })],
  ])("sets a file aside that it cannot trust, and says why: %s", async (_, text) => {
    writeFileSync(path, text);
    expect(await recover("sluice0", directory)).toEqual([expect.stringContaining(`${path} cannot be trusted: `)]);
    expect(readFileSync(`${path}.corrupt`, "utf8")).toBe(text);
    expect(existsSync(path)).toBe(false);
  });
});

describe("reading a journal", () => {
  const parse = (entry: unknown) => parseJournal(JSON.stringify({ ...newJournal("sluice0"), entries: [entry] }));

  it("gives back every kind of entry", () => {
    for (const entry of entries) expect(parse(entry)).toMatchObject({ entries: [entry] });
  });

  it.each([
    { ...entries[0], firstPriority: 0 },
    { ...entries[0], lastPriority: 19_999 },
    { ...entries[0], lastPriority: 70_000 },
    { ...entries[0], firstPriority: "20000" },
    { ...entries[1], firstTable: 254 },
    { ...entries[2], interface: "-all" },
    { ...entries[2], interface: "wan0 dev wan1" },
    { ...entries[2], gateway: "203.0.113.1; reboot" },
    { ...entries[2], gateway: 3 },
    { ...entries[3], gateway: "fe80::1%wan0" },
    { ...entries[4], lastPort: 65_536 },
    { ...entries[4], formerly: "1-2;3" },
    null,
    "rules",
    [],
  ])("refuses an entry that sluice does not write: %j", (entry) => {
    expect(parse(entry)).toBe("entry 1 is not one that sluice writes");
  });

  it("refuses more entries than sluice writes, and an owner that is no process", () => {
    const file = newJournal("sluice0");
    expect(parseJournal(JSON.stringify({ ...file, entries: Array(300).fill(entries[0]) }))).toMatch(/at most 256/);
    expect(parseJournal(JSON.stringify({ ...file, pid: -1 }))).toBe("its owner is not readable");
  });
});
