/**
 * Facts about the kernel that no document promises, each asserted by a small program in
 * test/platform/facts. A program runs in a network namespace that is made for it and ends with it, so
 * there is nothing to clean up. By hand: `unshare --net node test/platform/facts/NAME.ts`.
 */

import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { runCommand } from "./process.ts";

/** A test that passes when the program ends with 0; its output is the failure's message. Skipped without root. */
export function fact(sentence: string, program: string): void {
  const file = fileURLToPath(new URL(`../platform/facts/${program}`, import.meta.url));
  test.skipIf(process.getuid!() !== 0)(sentence, async () => {
    await runCommand(["unshare", "--net", process.execPath, "--disable-warning=ExperimentalWarning", file]);
  });
}
