/** The conformance table names tests that exist, and is published as it is here. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { read, root, withoutComments } from "../tidy/source-files.ts";
import { documentFile, renderDocument, splitTest } from "./document.ts";
import { faults, translator } from "./requirements.ts";

const requirements = [...translator, ...faults].flatMap((section) => section.requirements);

describe("the conformance table", () => {
  it("names tests by file and title that are in the tree", () => {
    const named = new Set(requirements.flatMap(({ tests }) => tests));
    expect([...named].filter((test) => !isThere(test))).toEqual([]);
  });

  it("finds a title only where a test has it", () => {
    expect(isThere("conformance/conformance > finds a title only where a test has it")).toBe(true);
    expect(isThere("conformance/conformance > finds a title")).toBe(false);
    expect(isThere("conformance/nowhere > finds a title only where a test has it")).toBe(false);
  });

  it("shows what it claims to do by a test, and says why where it does not", () => {
    const unfounded = requirements.filter(({ ours, note, tests }) =>
      ours === "no" ? note === undefined : tests.length === 0 || (ours === "partly" && note === undefined),
    );
    expect(unfounded).toEqual([]);
  });

  it("is what is published: run scripts/conformance after a change", () => {
    expect(read(documentFile)).toBe(renderDocument());
  });
});

/** Whether a call in a file begins with this title: `test("..."`, `it.each(...)("..."`. */
function isThere(test: string): boolean {
  const { file, title } = splitTest(test);
  if (!existsSync(join(root, file))) return false;
  const quoted = ['"', "'", "`"].map((quote) => escaped(quote + title + quote)).join("|");
  return new RegExp(`\\(\\s*(?:${quoted}),`).test(withoutComments(read(file)));
}

function escaped(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}]/g, "\\$&");
}
