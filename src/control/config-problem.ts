/** One thing that is wrong, or doubtful, in a configuration file: where it stands and what was expected instead. */

export interface Position {
  /** Both count from 1; line 0 when no place in the file is meant. */
  line: number;
  column: number;
}

/** Keys and list indices from the top of the file: ["uplinks", 1, "weight"]. */
export type ConfigPath = readonly (string | number)[];

export interface Problem extends Position {
  severity: "error" | "warning";
  /** As a person writes it: uplinks[1].weight. Empty when the whole file is meant. */
  path: string;
  /** The value as the file has it, shortened; absent when there is none (a missing key, a syntax error). */
  value?: string;
  message: string;
  expected?: string;
}

/** Every problem of a configuration at once; the message has one line for each. */
export class ConfigError extends Error {
  readonly file: string;
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    super(problems.map((problem) => formatProblem(file, problem)).join("\n"));
    this.name = "ConfigError";
    this.file = file;
    this.problems = problems;
  }
}

/** `FILE:LINE:COLUMN: path: message (got VALUE; expected ...)`, the form that editors and compilers share. */
export function formatProblem(file: string, problem: Problem): string {
  const parts = [problem.line === 0 ? file : `${file}:${problem.line}:${problem.column}`];
  if (problem.severity === "warning") parts.push("warning");
  if (problem.path !== "") parts.push(problem.path);
  const aside = [];
  if (problem.value !== undefined) aside.push(`got ${problem.value}`);
  if (problem.expected !== undefined) aside.push(`expected ${problem.expected}`);
  parts.push(aside.length > 0 ? `${problem.message} (${aside.join("; ")})` : problem.message);
  // Keys and values of the file, which may be anything: no control characters on somebody's terminal.
  return parts.join(": ").replaceAll(/\p{Cc}/gu, "?");
}

export function formatPath(path: ConfigPath): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += text === "" ? step : `.${step}`;
  }
  return text;
}

/** A value on one line, short enough for a message. */
export function formatValue(value: unknown): string {
  if (typeof value === "number") return String(value);
  if (value === null || value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
