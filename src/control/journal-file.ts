/**
 * The journal as a file: its form, its checks and its owner.
 *
 * It holds structured entries, never commands: each names a kind of thing and the bounds within which
 * to take it away, so the worst that a forged or damaged file can do is to remove things of sluice's
 * own. It is replaced whole by rename(2) and begun by link(2), which never replaces, so that of two
 * processes that start at once one gets the name.
 *
 * /run is shared by network namespaces, hence the namespace's inode number is part of the file's
 * name. The owner is told by process id and start time, since ids are used again; the boot id tells a
 * file that outlived its system.
 */

import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { parseAddress6 } from "../wire/ipv6.ts";
import { parseIpv4 } from "./config-values.ts";
import type { ManagedNeighbour } from "./neighbour.ts";
import { isPortList, type ReservedPorts } from "./reserved-ports.ts";

export type JournalEntry =
  | { readonly kind: "rules"; readonly firstPriority: number; readonly lastPriority: number }
  | { readonly kind: "routes"; readonly firstTable: number; readonly lastTable: number }
  | ({ readonly kind: "neighbour" } & ManagedNeighbour)
  | ({ readonly kind: "reservedPorts" } & ReservedPorts);

export interface JournalFile {
  version: 1;
  tun: string;
  bootId: string;
  pid: number;
  /** Field 22 of /proc/PID/stat: when the process started, in clock ticks after boot. */
  startTicks: string;
  entries: JournalEntry[];
}

export const journalDirectory = "/run/sluice";
const maxFileBytes = 64 * 1024;
const maxEntries = 256;
/** Tables 0 to 255 are the kernel's own and the distributions'; sluice never takes one of those. */
const firstFreeTable = 256;

/** The TUN's name belongs to a sluice process that is alive. */
export class InUseError extends Error {
  readonly pid: number;
  constructor(tun: string, pid: number) {
    super(`${tun} is in use by another sluice, process ${pid}`);
    this.name = "InUseError";
    this.pid = pid;
  }
}

/** Where the journal for a TUN name in this process's network namespace stands. */
export function journalPath(directory: string, tun: string): string {
  // "net:[4026531840]"
  const namespace = readlinkSync("/proc/self/ns/net").replace(/\D/g, "");
  return join(directory, `${tun}.${namespace}.json`);
}

export function newJournal(tun: string): JournalFile {
  return { version: 1, tun, bootId: bootId(), pid: process.pid, startTicks: startTicksOf(process.pid)!, entries: [] };
}

/** Creates the file whole and at once. Throws when there is one already, `InUseError` when its owner is alive. */
export function claimJournal(path: string, file: JournalFile): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const whole = writeBeside(path, file);
  try {
    linkSync(whole, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    const owner = readJournal(path);
    if (typeof owner === "object" && isAlive(owner)) throw new InUseError(file.tun, owner.pid);
    throw new Error(`${path} is left from an earlier run: recover it first`);
  } finally {
    rmSync(whole, { force: true });
  }
}

export function writeJournal(path: string, file: JournalFile): void {
  renameSync(writeBeside(path, file), path);
}

/** The journal in a file, undefined when there is none, or a text that says why it cannot be trusted. */
export function readJournal(path: string): JournalFile | string | undefined {
  try {
    if (statSync(path).size > maxFileBytes) return `larger than ${maxFileBytes} bytes`;
    return parseJournal(readFileSync(path, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Journals of other live processes in the same directory and network namespace. */
export function livingBeside(path: string): JournalFile[] {
  const ending = basename(path).replace(/^.*(\.\d+\.json)$/, "$1");
  const names = readdirSync(dirname(path)).filter((name) => name.endsWith(ending) && name !== basename(path));
  const files = names.map((name) => readJournal(join(dirname(path), name)));
  return files.filter((file): file is JournalFile => typeof file === "object" && isAlive(file));
}

/** Whether the process that wrote it still runs; a process that got its id later does not count. */
export function isAlive(file: JournalFile): boolean {
  return isOfThisBoot(file) && startTicksOf(file.pid) === file.startTicks;
}

/** False for a file that outlived its system: nothing of what it says is there any more. */
export function isOfThisBoot(file: JournalFile): boolean {
  return file.bootId === bootId();
}

/** The journal in a text, or a text that says what is wrong with it. */
export function parseJournal(text: string): JournalFile | string {
  let file: JournalFile | null;
  try {
    file = JSON.parse(text) as JournalFile | null;
  } catch (error) {
    return (error as SyntaxError).message;
  }
  if (typeof file !== "object" || file === null || file.version !== 1) return "not a journal of version 1";
  const texts = [file.tun, file.bootId, file.startTicks];
  if (!texts.every((field) => typeof field === "string") || !isWithin(file.pid, 1, 2 ** 31))
    return "its owner is not readable";
  if (!Array.isArray(file.entries) || file.entries.length > maxEntries)
    return `not a list of at most ${maxEntries} entries`;
  const bad = file.entries.findIndex((entry) => !isEntry(entry));
  return bad < 0 ? file : `entry ${bad + 1} is not one that sluice writes`;
}

function isEntry(entry: JournalEntry | null): boolean {
  switch (entry?.kind) {
    case "rules":
      return isRange(entry.firstPriority, entry.lastPriority, 1, 65_535);
    case "routes":
      return isRange(entry.firstTable, entry.lastTable, firstFreeTable, 2 ** 31);
    case "neighbour":
      return isInterfaceName(entry.interface) && typeof entry.gateway === "string" && isAddress(entry.gateway);
    case "reservedPorts":
      return (
        isRange(entry.firstPort, entry.lastPort, 1, 65_535) &&
        typeof entry.formerly === "string" &&
        isPortList(entry.formerly)
      );
    default:
      return false;
  }
}

function isAddress(text: string): boolean {
  return parseIpv4(text) !== undefined || parseAddress6(text) !== null;
}

function isRange(first: unknown, last: unknown, low: number, high: number): boolean {
  return isWithin(first, low, high) && isWithin(last, first as number, high);
}

function isWithin(value: unknown, low: number, high: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
}

/** A name the kernel accepts, and that `ip` cannot take for an option. */
function isInterfaceName(name: unknown): boolean {
  return typeof name === "string" && /^[^\s/:-][^\s/:]{0,14}$/.test(name);
}

function writeBeside(path: string, file: JournalFile): string {
  const whole = `${path}.${process.pid}`;
  writeFileSync(whole, JSON.stringify(file), { mode: 0o600 });
  return whole;
}

function startTicksOf(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses, which may hold anything.
  const fields = text.replace(/^.*\)/s, "").trim().split(" ");
  // A zombie holds nothing any more, though its parent may never collect it.
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
