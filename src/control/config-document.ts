/**
 * A YAML file as plain values, and the place in the file that each came from.
 *
 * Every problem that is found later, by the schema or by a check, is found in the values; `positionOf`
 * leads from its path back to the line. Bounded: a file size, and the number of times that aliases
 * may repeat an anchor (a few lines of YAML can otherwise grow to gigabytes).
 */

import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
} from "yaml";
import { ConfigError, type ConfigPath, type Position, type Problem } from "./config-problem.ts";

export const maxFileBytes = 256 * 1024;
const maxAliasCount = 100;
/** One slip makes the parser stumble over all that follows; more than a screen of that helps nobody. */
const maxSyntaxErrors = 20;

export interface ConfigDocument {
  value: unknown;
  /** Doubtful YAML that has a meaning all the same, such as an unknown tag. */
  warnings: Problem[];
  /** Where a value stands, or its key; where its nearest ancestor stands when the file has neither. */
  positionOf(path: ConfigPath, which?: "key" | "value"): Position;
}

/** Reads YAML 1.2. Throws ConfigError for syntax errors, duplicate keys, several documents, or nothing at all. */
export function readDocument(text: string, file: string): ConfigDocument {
  if (Buffer.byteLength(text) > maxFileBytes)
    throw new ConfigError(file, [wholeFile(`the file is larger than ${maxFileBytes / 1024} KiB`)]);
  const lines = new LineCounter();
  const documents = parse(text, file, lines);
  if (documents.length > 1) {
    const position = positionAt(lines, documents[1]!.range[0]);
    throw new ConfigError(file, [{ ...wholeFile("a second document begins here", "one document"), ...position }]);
  }
  const document = documents[0];
  if (document === undefined || document.contents === null || isEmptyScalar(document.contents)) {
    throw new ConfigError(file, [wholeFile("the file is empty", "at least a list of uplinks")]);
  }
  return {
    value: toValue(document, file),
    warnings: document.warnings.map((warning) => ({
      ...wholeFile(firstLine(warning.message)),
      severity: "warning",
      ...positionAt(lines, warning.pos[0]),
    })),
    positionOf: (path, which = "value") => positionAt(lines, offsetOf(document, path, which)),
  };
}

function parse(text: string, file: string, lines: LineCounter): Document.Parsed[] {
  let documents: Document.Parsed[] | { empty: true };
  try {
    // prettyErrors would append an excerpt of the file to every message; stringKeys refuses keys that are lists or mappings.
    documents = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "error",
      stringKeys: true,
    });
  } catch (error) {
    throw new ConfigError(file, [
      wholeFile(`cannot be read as YAML: ${error instanceof RangeError ? "nested too deeply" : String(error)}`),
    ]);
  }
  const list = Array.isArray(documents) ? documents : [];
  const errors = list.flatMap((document) => document.errors).slice(0, maxSyntaxErrors);
  const problems = errors.map((error) => ({
    ...wholeFile(firstLine(error.message)),
    ...positionAt(lines, error.pos[0]),
  }));
  if (problems.length > 0) throw new ConfigError(file, problems);
  return list;
}

function toValue(document: Document.Parsed, file: string): unknown {
  try {
    return unshare(document.toJS({ maxAliasCount }));
  } catch (error) {
    throw new ConfigError(file, [
      wholeFile(error instanceof RangeError ? "nested too deeply" : firstLine((error as Error).message)),
    ]);
  }
}

/** An alias gives the very object of its anchor; a default filled in at one place must not appear at the other. */
function unshare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unshare);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, unshare(part)]));
}

function offsetOf(document: Document.Parsed, path: ConfigPath, which: "key" | "value"): number {
  let node: Node | null = document.contents;
  let keyAt = node?.range?.[0] ?? 0;
  for (const step of path) {
    if (isAlias(node)) node = (node as Alias).resolve(document) ?? null;
    let child: Node | null = null;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step)) as
        | Pair<Node, Node | null>
        | undefined;
      if (pair === undefined) break;
      keyAt = pair.key.range?.[0] ?? keyAt;
      child = pair.value;
    } else if (isSeq(node)) {
      child = (node.items[Number(step)] as Node | undefined) ?? null;
      keyAt = child?.range?.[0] ?? keyAt;
    }
    if (child === null) {
      node = null;
      break;
    }
    node = child;
  }
  // An empty value ("weight:") has no place of its own worth showing, its key has.
  return which === "key" || node === null || isEmptyScalar(node) ? keyAt : (node.range?.[0] ?? keyAt);
}

function isEmptyScalar(node: Node): boolean {
  return isScalar(node) && node.value === null;
}

function positionAt(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function firstLine(text: string): string {
  // The message quotes the file, which may be anything: no control characters on somebody's terminal.
  return text
    .split("\n", 1)[0]!
    .replaceAll(/\p{Cc}/gu, "?")
    .slice(0, 200);
}

function wholeFile(message: string, expected?: string): Problem {
  return { severity: "error", line: 1, column: 1, path: "", message, ...(expected !== undefined && { expected }) };
}
