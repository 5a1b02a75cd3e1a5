/**
 * What the uplinks have used this month, kept across restarts: a small file of JSON.
 *
 * It is replaced whole by rename(2), at most once a minute and at the end: what a crash loses is a minute. A file that cannot be
 * read as one is kept aside for its owner to look at, and counting begins anew; one that cannot be written is no reason to stop.
 */

import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Usage } from "./budget.ts";

const leastIntervalMs = 60_000;
const maxFileBytes = 64 * 1024;
const maxUplinks = 256;

/** The usage by uplink's name, with a sentence about what is wrong with the file, or null. Never rejects. */
export async function readUsage(path: string): Promise<{ usage: Map<string, Usage>; warning: string | null }> {
  const usage = new Map<string, Usage>();
  try {
    const found = await readWhole(path);
    if (typeof found !== "string") return { usage: found, warning: null };
    const aside = `${path}.unreadable`;
    await rename(path, aside);
    return { usage, warning: `${path} is ${found}: kept as ${aside}, data caps count from 0` };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return { usage, warning: null };
    return { usage, warning: `cannot read ${path}: ${message}; data caps count from 0` };
  }
}

/** Writes a file now and then. */
export class UsageFile {
  readonly #path: string;
  readonly #warn: (text: string) => void;
  #written = "";
  #writtenMs: number | null = null;
  #writing: Promise<void> = Promise.resolve();
  #isFailing = false;

  /** `warn` is told once when writing begins to fail. */
  constructor(path: string, warn: (text: string) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  /** May be called as often as one likes: writes at most once a minute. */
  offer(usage: ReadonlyMap<string, Usage>, nowMs: number): void {
    if (this.#writtenMs !== null && nowMs - this.#writtenMs < leastIntervalMs) return;
    this.#writtenMs = nowMs;
    void this.write(usage);
  }

  /** Writes it at once; resolves when that is done or has failed. */
  write(usage: ReadonlyMap<string, Usage>): Promise<void> {
    const text = `${JSON.stringify({ version: 1, uplinks: Object.fromEntries(usage) }, null, 2)}\n`;
    this.#writing = this.#writing.then(() => this.#replace(text));
    return this.#writing;
  }

  async #replace(text: string): Promise<void> {
    if (text === this.#written) return;
    const beside = `${this.#path}.new`;
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o755 });
      // Or a power cut could leave the new name with nothing behind it.
      await writeFile(beside, text, { mode: 0o600, flush: true });
      await rename(beside, this.#path);
      this.#written = text;
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#warn(`cannot write ${this.#path}: ${(error as Error).message}`);
      this.#isFailing = true;
      await rm(beside, { force: true }).catch(() => {});
    }
  }
}

/** The usage, or what is wrong with the file. */
async function readWhole(path: string): Promise<Map<string, Usage> | string> {
  const { size } = await stat(path);
  if (size > maxFileBytes) return `longer than ${maxFileBytes} bytes`;
  let file: { version?: unknown; uplinks?: unknown } | null;
  try {
    file = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return `not JSON (${error.message})`;
    throw error;
  }
  if (typeof file !== "object" || file?.version !== 1 || typeof file.uplinks !== "object" || file.uplinks === null)
    return "not a usage file of version 1";
  const entries = Object.entries(file.uplinks);
  if (entries.length > maxUplinks) return `about more than ${maxUplinks} uplinks`;
  const bad = entries.find(([, usage]) => !isUsage(usage));
  return bad === undefined ? new Map(entries) : `wrong about ${bad[0].slice(0, 64)}`;
}

function isUsage(value: unknown): value is Usage {
  if (typeof value !== "object" || value === null) return false;
  const { since, bytes } = value as Partial<Usage>;
  const isDay = typeof since === "string" && /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(since);
  return isDay && typeof bytes === "number" && Number.isFinite(bytes) && bytes >= 0;
}
