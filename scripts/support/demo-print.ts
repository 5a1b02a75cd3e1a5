/** How the demo speaks: headings, waits, and at the end what held and what did not. Nothing is wider than 80 columns. */
import { paint } from "../../src/cli/format.ts";

export function say(line = ""): void {
  console.log(line);
}

let headings = 0;

export function heading(text: string): void {
  headings++;
  say();
  say(paint("bold", `${headings}. ${text}`));
  say();
}

/** Says what is being waited for, and how long it took. */
export async function waiting<Result>(what: string, work: Promise<Result>): Promise<Result> {
  const began = performance.now();
  process.stdout.write(paint("dim", `  ${what} ...`));
  try {
    return await work;
  } finally {
    say(paint("dim", ` ${((performance.now() - began) / 1000).toFixed(1)} s`));
  }
}

/** What the exit status depends on. */
class Checks {
  readonly #held: { what: string; ok: boolean }[] = [];

  add(what: string, ok: boolean): void {
    this.#held.push({ what, ok });
  }

  fail(message: string): void {
    this.add(message, false);
  }

  /** Prints all; true when every one held. */
  print(): boolean {
    say();
    for (const { what, ok } of this.#held) say(`  ${ok ? paint("green", "ok    ") : paint("red", "FAILED")}  ${what}`);
    return this.#held.every(({ ok }) => ok);
  }
}

export const checks = new Checks();
