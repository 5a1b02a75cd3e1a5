/** The project's files, and what the TypeScript ones import. */

import { type Dirent, readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** Every file that .gitignore does not ignore, by its path from the root. Not by git, which a machine that got a tarball may not have. */
export function projectFiles(): string[] {
  const ignored = readFileSync(join(root, ".gitignore"), "utf8").split("\n");
  const isIgnored = (entry: Dirent) =>
    entry.name === ".git" ||
    ignored.includes(entry.isDirectory() ? `${entry.name}/` : entry.name) ||
    ignored.includes(`*${extname(entry.name)}`);
  const walk = (directory: string): string[] =>
    readdirSync(join(root, directory), { withFileTypes: true })
      .filter((entry) => !isIgnored(entry))
      .flatMap((entry) => {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) return walk(path);
        return entry.isFile() ? [path] : [];
      });
  return walk("").sort();
}

export function read(path: string): string {
  return readFileSync(join(root, path), "utf8");
}

/** The source with comments blanked out, line breaks kept. */
export function withoutComments(source: string): string {
  return source.replace(commentOrText, (match) => (/^\/[/*]/.test(match) ? blank(match) : match));
}

/** The source with comments and all that stands in quotes blanked out: what is left is code. */
export function codeOf(source: string): string {
  return source.replace(commentOrText, blank);
}

/** What a file imports: paths relative to the root for the project's own files, names as written for others. */
export function importsOf(path: string, source: string): string[] {
  const specifiers = withoutComments(source).matchAll(/(?:\bfrom|\bimport|\bimport\()\s*"([^"]+)"/g);
  return [...specifiers].map(([, name]) => (name!.startsWith(".") ? join(dirname(path), name!) : name!));
}

const commentOrText = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g;

function blank(text: string): string {
  return text.replace(/[^\n]/g, " ");
}
