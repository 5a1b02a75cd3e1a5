/**
 * Counts which branches an input takes. Modules that are loaded from now on get a counter at the beginning of every block,
 * branch and right-hand side of && and ||, as AFL and libFuzzer have it in machine code.
 *
 * Why not jazzer.js, which would bring libFuzzer: its native part asks for glibc 2.38 (version 4.0.0; Debian 12 has 2.36), and the version
 * before fetches one from elsewhere at install time. Why not V8's own coverage: taking it costs milliseconds, a counter nanoseconds,
 * and only with counts of every single input can a second turn of a loop be told from the first.
 */
import { registerHooks, stripTypeScriptTypes } from "node:module";
import { parseAst } from "vitest/node";

export interface Instrumented {
  /** How often each counter was passed; whoever runs an input sets them to 0 before. */
  readonly counters: Uint32Array;
  /** How many counters there are by now. */
  size(): number;
  /** Numbers and texts that the code holds: a packet that must contain one is hardly found by chance. */
  readonly words: { numbers: Set<number>; texts: Set<string> };
}

interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

const mostCounters = 65_536;
const counterArray = "__fuzzCounters";

/** From now on, instruments every module whose address matches, as it is loaded. Once a process. */
export function instrument(isWanted: RegExp): Instrumented {
  const counters = new Uint32Array(mostCounters);
  const words = { numbers: new Set<number>(), texts: new Set<string>() };
  let used = 0;
  const next = () => {
    if (used === mostCounters) throw new Error(`more than ${mostCounters} branches`);
    return used++;
  };
  Object.assign(globalThis, { [counterArray]: counters });
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!isWanted.test(url) || loaded.source === undefined || loaded.source === null) return loaded;
      const text =
        typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
      const isTypeScript = loaded.format === "module-typescript";
      const source = withCounters(isTypeScript ? stripTypeScriptTypes(text) : text, next, words);
      return { ...loaded, source, ...(isTypeScript && { format: "module" }) };
    },
  });
  return { counters, words, size: () => used };
}

/** The source with counters, line for line. */
function withCounters(source: string, next: () => number, words: Instrumented["words"]): string {
  const inserts: { at: number; text: string }[] = [];
  const insert = (at: number, text: string) => inserts.push({ at, text });
  const count = () => `${counterArray}[${next()}]++`;

  /** In the order of the text, so that what is inserted at one place nests rightly. */
  const visit = (node: Node, role: "statement" | "branch" | "other"): void => {
    const isBlock = node.type === "BlockStatement";
    if (isBlock) insert(node.start + 1, `${count()};`);
    else if (role === "statement") insert(node.start, `{${count()};`);
    else if (role === "branch") insert(node.start, `(${count()},`);
    if (node.type === "SwitchCase" && (node.consequent as Node[]).length > 0)
      insert((node.consequent as Node[])[0]!.start, `${count()};`);
    note(node, words);
    for (const [key, child] of Object.entries(node)) {
      if (Array.isArray(child)) for (const each of child) if (isNode(each)) visit(each, "other");
      if (isNode(child)) visit(child, roleOf(node, key));
    }
    if (isBlock || role === "other") return;
    insert(node.end, role === "statement" ? "}" : ")");
  };
  visit(parseAst(source) as unknown as Node, "other");

  let text = "";
  let from = 0;
  for (const each of inserts.sort((a, b) => a.at - b.at)) {
    text += source.slice(from, each.at) + each.text;
    from = each.at;
  }
  return text + source.slice(from);
}

/** What becomes of a node's child: a statement that may not run, an expression that may not be reached, or nothing. */
function roleOf({ type, expression }: Node, key: string): "statement" | "branch" | "other" {
  const isBranch = key === "consequent" || key === "alternate";
  if (type === "IfStatement" && isBranch) return "statement";
  if (/^(?:For|While|DoWhile)/.test(type) && key === "body") return "statement";
  if (type === "ConditionalExpression" && isBranch) return "branch";
  if (type === "LogicalExpression" && key === "right") return "branch";
  return type === "ArrowFunctionExpression" && key === "body" && expression === true ? "branch" : "other";
}

function note({ type, value }: Node, { numbers, texts }: Instrumented["words"]): void {
  if (type !== "Literal") return;
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) < 2 ** 32) numbers.add(value);
  if (typeof value === "string" && value.length > 1 && value.length < 40) texts.add(value);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}
