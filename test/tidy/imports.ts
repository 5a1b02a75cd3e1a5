/** Which part of src/ may import which, and the judgement of one import. ARCHITECTURE.md has the same table. */

/**
 * Imports run one way. Whatever a part may import, it may also import from itself. main, daemon
 * and worker compose the others: those of the main thread know the data plane by its names and numbers alone, the
 * worker does not know the control plane at all.
 */
export const mayImport: Readonly<Record<string, readonly string[]>> = {
  cli: ["main", "control", "io", "tables", "wire"],
  main: ["daemon", "control", "dataplane", "io", "tables", "wire"],
  daemon: ["worker-protocol", "control", "dataplane", "io", "tables", "wire"],
  worker: ["worker-protocol", "dataplane", "io", "tables"],
  "worker-protocol": ["dataplane", "tables"],
  control: ["io", "tables", "wire"],
  io: ["tables", "wire"],
  dataplane: ["tables", "wire"],
  tables: [],
  wire: [],
};

/** These know nothing of the machine: no Node module, no package. */
const pureParts: readonly string[] = ["dataplane", "tables", "wire"];

/** "src/wire/ipv4.ts" is part of "wire", "src/worker.ts" is "worker"; nothing outside src/ is a part. */
export function partOf(path: string): string | undefined {
  return /^src\/([^/.]+)/.exec(path)?.[1];
}

export function isPure(path: string): boolean {
  return pureParts.includes(partOf(path) ?? "");
}

/** What is wrong with a file of src/ importing `target` (a path from the root, or a package's name); undefined when nothing is. */
export function importProblem(path: string, target: string): string | undefined {
  const from = partOf(path)!;
  const allowed = mayImport[from];
  if (allowed === undefined) return `${path}: the import table does not know '${from}'`;
  const to = partOf(target);
  if (to === undefined)
    return isPure(path) ? `${path}: ${from} imports nothing from outside src, not ${target}` : undefined;
  if (to === from || allowed.includes(to)) return undefined;
  return `${path}: ${from} may import ${allowed.join(", ") || "nothing"}, not ${target}`;
}
