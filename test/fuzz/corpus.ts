/** The inputs that are kept in the repository: a file a target, a line an input, in base64, shortest first. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

function fileOf(target: string): URL {
  return new URL(`corpus/${target}.txt`, import.meta.url);
}

export function readCorpus(target: string): Uint8Array[] {
  const file = fileOf(target);
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => new Uint8Array(Buffer.from(line, "base64")));
}

export function writeCorpus(target: string, inputs: readonly Uint8Array[]): void {
  const lines = [...inputs].sort((a, b) => a.length - b.length).map((bytes) => Buffer.from(bytes).toString("base64"));
  writeFileSync(fileOf(target), `${[...new Set(lines)].filter((line) => line !== "").join("\n")}\n`);
}
