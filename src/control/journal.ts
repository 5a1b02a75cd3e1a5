/**
 * What a sluice process has changed on the system, noted before each change.
 *
 * Most of what sluice sets vanishes with the process: the TUN with its routes and sysctls, the nft
 * table with its owner. The rest - rules, the uplinks' route tables, managed neighbours, reserved
 * ports - stands in this journal, so that the next start can undo it after a `kill -9`. Undoing an
 * entry whose change is gone, or was never made, does nothing. Rules and routes are only ever removed
 * when they carry sluice's protocol number.
 */

import { renameSync, rmSync } from "node:fs";
import { alone } from "./alone.ts";
import { removeOwnRoutes, removeOwnRules } from "./iproute.ts";
import {
  claimJournal,
  InUseError,
  isAlive,
  isOfThisBoot,
  type JournalEntry,
  type JournalFile,
  journalDirectory,
  journalPath,
  livingBeside,
  newJournal,
  readJournal,
  writeJournal,
} from "./journal-file.ts";
import { unmanageNeighbour } from "./neighbour.ts";
import { type ReservedPorts, releasePorts } from "./reserved-ports.ts";

export class Journal {
  readonly #path: string;
  readonly #file: JournalFile;

  /**
   * Begins the journal of this process, which claims the TUN's name in this network namespace. Throws
   * `InUseError` when a live process has it; what a dead one left must have been recovered before.
   */
  constructor(tun: string, directory = journalDirectory) {
    this.#path = journalPath(directory, tun);
    this.#file = newJournal(tun);
    claimJournal(this.#path, this.#file);
  }

  get entries(): readonly JournalEntry[] {
    return this.#file.entries;
  }

  /** Notes what undoes a change. Call it before the change is made. */
  record(entry: JournalEntry): void {
    this.#file.entries.push(entry);
    writeJournal(this.#path, this.#file);
  }

  /** Undoes the given entries, the latest first, and strikes them. Throws after trying all, when some failed; those stay. */
  async undo(entries: readonly JournalEntry[] = this.entries): Promise<void> {
    const standing = entries.filter((entry) => this.entries.includes(entry));
    await undoEntries(standing, this.#path, (undone) => {
      this.#file.entries.splice(this.#file.entries.indexOf(undone), 1);
      writeJournal(this.#path, this.#file);
    });
  }

  /** Port reservations of other running instances in this network namespace. */
  otherReservations(): ReservedPorts[] {
    return reservationsBeside(this.#path);
  }

  /** Ends the journal. Call it when everything is undone. */
  close(): void {
    rmSync(this.#path, { force: true });
  }
}

/** Throws `InUseError` when a live process has the TUN's name. Changes nothing. */
export function refuseIfInUse(tun: string, directory = journalDirectory): void {
  const file = readJournal(journalPath(directory, tun));
  if (typeof file === "object" && isAlive(file)) throw new InUseError(tun, file.pid);
}

/**
 * Undoes what a dead process left for this TUN name, and says what, one sentence each. A file that
 * cannot be trusted is set aside, nothing of it is undone, and the sentence says so. Empty when there
 * was nothing. Throws `InUseError` when the owner is alive, and an error naming everything that could
 * not be undone; the journal stays then.
 */
export async function recover(tun: string, directory = journalDirectory): Promise<string[]> {
  const path = journalPath(directory, tun);
  const file = readJournal(path);
  if (file === undefined) return [];
  if (typeof file === "string") {
    renameSync(path, `${path}.corrupt`);
    return [`${path} cannot be trusted: ${file}. It is now ${path}.corrupt; nothing was undone`];
  }
  if (isAlive(file)) throw new InUseError(tun, file.pid);
  const sentences: string[] = [];
  if (isOfThisBoot(file)) {
    await undoEntries(file.entries, path, (undone) => {
      sentences.push(`undone for process ${file.pid}, which ended without: ${describe(undone)}`);
    });
  }
  rmSync(path, { force: true });
  return sentences;
}

async function undoEntries(
  entries: readonly JournalEntry[],
  path: string,
  onUndone: (entry: JournalEntry) => void,
): Promise<void> {
  const failures: string[] = [];
  for (const entry of [...entries].reverse()) {
    const undo = async () => {
      await undoEntry(entry, path);
      onUndone(entry);
    };
    try {
      // Another instance that ends now must see the list and this journal both before or both after.
      await (entry.kind === "reservedPorts" ? alone(undo) : undo());
    } catch (error) {
      failures.push(`${describe(entry)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failures.length > 0) throw new Error(`could not undo ${failures.join("; ")}`);
}

async function undoEntry(entry: JournalEntry, path: string): Promise<void> {
  switch (entry.kind) {
    case "rules":
      return removeOwnRules(entry.firstPriority, entry.lastPriority);
    case "routes":
      return removeOwnRoutes(entry.firstTable, entry.lastTable);
    case "neighbour":
      return unmanageNeighbour(entry);
    case "reservedPorts":
      return releasePorts(entry, reservationsBeside(path));
  }
}

function describe(entry: JournalEntry): string {
  switch (entry.kind) {
    case "rules":
      return `rules of priority ${entry.firstPriority} to ${entry.lastPriority}`;
    case "routes":
      return `routes in tables ${entry.firstTable} to ${entry.lastTable}`;
    case "neighbour":
      return `managed neighbour ${entry.gateway} on ${entry.interface}`;
    case "reservedPorts":
      return `reserved ports ${entry.firstPort}-${entry.lastPort}`;
  }
}

function reservationsBeside(path: string): ReservedPorts[] {
  return livingBeside(path).flatMap((file) => file.entries.filter((entry) => entry.kind === "reservedPorts"));
}
