/** The C programs of bench/tools, compiled when their source is newer. */
import { mkdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runCommand } from "../test/support/process.ts";

const sources = fileURLToPath(new URL("tools/", import.meta.url));
const binaries = fileURLToPath(new URL("../build/bench/", import.meta.url));

/** Compiles bench/tools/NAME.c with cc and returns the program's path. Throws with what the compiler said. */
export async function compileTool(name: string): Promise<string> {
  const source = `${sources}${name}.c`;
  const binary = `${binaries}${name}`;
  const built = statSync(binary, { throwIfNoEntry: false });
  if (built === undefined || built.mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(binaries, { recursive: true });
    await runCommand(["cc", "-O2", "-std=gnu17", "-Wall", "-Wextra", "-o", binary, source]);
  }
  return binary;
}
