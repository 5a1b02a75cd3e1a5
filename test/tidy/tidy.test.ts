/** The rules of the house, held by an ordinary test (the idea is TigerBeetle's). */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { importProblem, isPure, mayImport } from "./imports.ts";
import { codeOf, importsOf, projectFiles, read, root } from "./source-files.ts";

const files = projectFiles();
const sources = files.filter((path) => /^src\/.*\.ts$/.test(path));
const texts = files.filter((path) => !/\.(png|svg|pcap|gz)$/.test(path) && path !== "package-lock.json");

describe("imports", () => {
  it("run one way", () => {
    const problems = sources.flatMap((path) =>
      importsOf(path, read(path)).map((target) => importProblem(path, target)),
    );
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
  });

  it("are judged by the table, whatever form they have", () => {
    const judged = (path: string, line: string) => importsOf(path, line).map((target) => importProblem(path, target));
    expect(judged("src/dataplane/nat.ts", 'import { a } from "../wire/ipv4.ts";')).toEqual([undefined]);
    expect(judged("src/tables/a.ts", 'import { b } from "./b.ts";')).toEqual([undefined]);
    expect(judged("src/dataplane/nat.ts", 'import {\n  a,\n} from "../io/tun.ts";')).toEqual([
      "src/dataplane/nat.ts: dataplane may import tables, wire, not src/io/tun.ts",
    ]);
    expect(judged("src/dataplane/nat.ts", 'export * from "../control/rules.ts";')).toEqual([
      "src/dataplane/nat.ts: dataplane may import tables, wire, not src/control/rules.ts",
    ]);
    expect(judged("src/wire/tcp.ts", 'import "node:fs"; // from "nowhere"')).toEqual([
      "src/wire/tcp.ts: wire imports nothing from outside src, not node:fs",
    ]);
    expect(judged("src/control/api.ts", 'await import("../dataplane/nat.ts");')).toEqual([
      "src/control/api.ts: control may import io, tables, wire, not src/dataplane/nat.ts",
    ]);
    expect(judged("src/novelty/a.ts", 'import "../wire/tcp.ts";')).toEqual([
      "src/novelty/a.ts: the import table does not know 'novelty'",
    ]);
  });

  it("have no cycle between parts", () => {
    const reach = (part: string): string[] => mayImport[part]!.flatMap((next) => [next, ...reach(next)]);
    for (const part of Object.keys(mayImport)) expect(reach(part)).not.toContain(part);
  });
});

/** Clocks, randomness and the process, unless they are somebody's property. */
const outsideWorld =
  /(?<![.#\w])(?:Date\b|(?:performance|process|console|crypto)\s*\.|Math\s*\.\s*random|set(?:Timeout|Interval|Immediate)\b)/g;
const mutableModuleState = /^(?:export\s+)?(?:let|var)\b.*/gm;

describe("source", () => {
  it("of the data plane reads no clock, no randomness and no process", () => {
    expect(findIn(sources.filter(isPure), (source) => codeOf(source), outsideWorld)).toEqual([]);
    expect("Date.now(); Math.random(); process.env; console.log; performance.now()".match(outsideWorld)).toHaveLength(
      5,
    );
    expect(
      codeOf('// Date.now()\nthis.process.run(); const updateDate = "Date"; #process.x').match(outsideWorld),
    ).toBeNull();
  });

  it("has no module-level let", () => {
    expect(findIn(sources, codeOf, mutableModuleState)).toEqual([]);
    expect("const a = 1;\nlet b = 2;\nexport let c;\n  let inner;".match(mutableModuleState)).toHaveLength(2);
  });

  it("is split into files of at most 250 lines of code, but for those that say why not", () => {
    const long = sources.filter((path) => codeLines(read(path)) > 250);
    expect(long).toEqual(Object.keys(longFiles));
    expect(codeLines("/** one\n * two */\n\nconst three = 3;\n// four\n")).toBe(1);
  });
});

/** Files that may be longer, in the order of their paths, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {
  "src/dataplane/conntrack.ts": "opening, following and ending a flow move the same rows between the same lists",
  "src/dataplane/forwarder.ts": "a packet's walk, both ways, is read best in the order in which it happens",
  "src/dataplane/forwarder6.ts": "the same walk for the other family",
};

describe("the repository", () => {
  it("names no directory of the machine it was written on", () => {
    expect(findIn(texts, (text) => text, /(?<![\w.])\/(?:work|home|root)\/[\w.]+/g)).toEqual([]);
  });

  it("leaves no note about what is still to be done", () => {
    // Put together, so that the rule does not find itself.
    const note = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME"].join("|")})\\b`, "g");
    expect(findIn(texts, (text) => text, note)).toEqual([]);
  });

  it("depends on exact versions", () => {
    const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read("package.json"));
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });

  it("has a lock file that names no registry", () => {
    expect(read("package-lock.json")).not.toContain('"resolved"');
  });

  it("has a lock file with every optional package in it, or npm 11 refuses npm ci", () => {
    const packages: Record<string, { optionalDependencies?: Record<string, string> }> = JSON.parse(
      read("package-lock.json"),
    ).packages;
    for (const [path, { optionalDependencies }] of Object.entries(packages)) {
      for (const name of Object.keys(optionalDependencies ?? {})) {
        const entries = [`node_modules/${name}`, `${path}/node_modules/${name}`];
        expect(
          entries.some((entry) => entry in packages),
          `${name}, optional for ${path}`,
        ).toBe(true);
      }
    }
  });
});

describe.skipIf(!existsSync(join(root, "ARCHITECTURE.md")))("ARCHITECTURE.md", () => {
  const directories = [...new Set(files.flatMap(parents))];
  const named = () =>
    [...read("ARCHITECTURE.md").matchAll(/(?:^|`)\s*([\w.-][\w./-]*\/)(?=[`\s])/gm)].map(([, path]) => path!);

  it("names every directory of src, and every one at the top", () => {
    const wanted = directories.filter((path) => /^(?:src\/)?\w[\w-]*\/$/.test(path));
    const text = read("ARCHITECTURE.md");
    expect(wanted.filter((path) => !text.includes(path.replace(/^src\/(?=\w)/, "")))).toEqual([]);
  });

  it("names no directory that does not exist", () => {
    expect(named().filter((path) => !directories.some((directory) => `/${directory}`.endsWith(`/${path}`)))).toEqual(
      [],
    );
  });
});

/** Every match of `pattern`, with its file and line. */
function findIn(paths: readonly string[], view: (source: string) => string, pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    view(read(path))
      .split("\n")
      .flatMap((line, index) => (line.match(pattern) ?? []).map((match) => `${path}:${index + 1}: ${match}`)),
  );
}

function codeLines(source: string): number {
  return codeOf(source)
    .split("\n")
    .filter((line) => line.trim() !== "").length;
}

/** "src/wire/tcp.ts" lies in "src/" and "src/wire/". */
function parents(path: string): string[] {
  const parent = dirname(path);
  return parent === "." ? [] : [...parents(parent), `${parent}/`];
}
