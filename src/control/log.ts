/**
 * The daemon's log: pino, to stderr, in the form that its reader can use.
 *
 *     terminal      12:34:56 WARN  uplink is down  uplink=isp1 reason=carrier
 *     journald      <4>{"level":"warn","uplink":"isp1",...}     the prefix becomes the journal's priority
 *     anything else {"level":"warn","time":"...","uplink":"isp1",...}
 *
 * Written synchronously: a log line is a rare event (state changes, never a packet), and the last one
 * before a crash must not be lost.
 */

import { fstatSync } from "node:fs";
import { styleText } from "node:util";
import { destination, type Logger, pino, stdTimeFunctions } from "pino";
import type { Config } from "./config-types.ts";

export type Log = Logger;
export type LogForm = "terminal" | "journal" | "json";

const stderr = 2;

/** sd-daemon(3): what syslog calls err, warning, info and debug. */
const journalPriority: Record<string, number> = { fatal: 2, error: 3, warn: 4, info: 6, debug: 7, trace: 7 };
const levelStyle: Record<string, "red" | "yellow" | "green" | "gray"> = {
  fatal: "red",
  error: "red",
  warn: "yellow",
  info: "green",
  debug: "gray",
  trace: "gray",
};

/** A logger on stderr. `write` takes each finished line instead when given. */
export function createLog(
  level: Config["log"]["level"],
  form: LogForm = detectForm(),
  write: (line: string) => void = writeToStderr(),
): Log {
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(options, { write: (line: string) => write(dress(line, form)) });
}

/** systemd names the journal's end of the pipe in JOURNAL_STREAM; a redirected stderr is a different file. */
function detectForm(): LogForm {
  if (process.stderr.isTTY) return "terminal";
  const { dev, ino } = fstatSync(stderr);
  return process.env.JOURNAL_STREAM === `${dev}:${ino}` ? "journal" : "json";
}

function writeToStderr(): (line: string) => void {
  const stream = destination({ dest: stderr, sync: true });
  // A reader of the log that went away (EPIPE) is no reason to stop forwarding.
  stream.on("error", () => {});
  return (line) => stream.write(line);
}

function dress(line: string, form: LogForm): string {
  if (form === "json") return line;
  const { level, time, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown> & {
    err?: { message: string; stack?: string };
  };
  const name = String(level);
  if (form === "journal") return `<${journalPriority[name] ?? 6}>${line}`;
  const clock = new Date(String(time)).toTimeString().slice(0, 8);
  const fields = Object.entries(rest).map(([key, value]) => `${key}=${formatField(value)}`);
  if (err !== undefined) fields.push(err.stack ?? err.message);
  const label = styleText(levelStyle[name] ?? "green", name.toUpperCase().padEnd(5), { stream: process.stderr });
  return `${clock} ${label} ${[String(msg ?? ""), ...fields].join("  ")}\n`;
}

function formatField(value: unknown): string {
  return typeof value === "string" && /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value);
}
