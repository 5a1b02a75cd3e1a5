/**
 * Runs a program of the system and gives back what it printed.
 *
 * The control plane changes the system through `ip` and `nft` rather than through netlink of its own:
 * a few dozen calls at start, 2-5 ms each, in the words that an administrator can repeat by hand.
 * Every run is bounded in time and output, and a failure says which command failed and what the
 * program said about it.
 */

import { execFile } from "node:child_process";

const timeoutMs = 10_000;
const maxOutputBytes = 64 * 1024 * 1024;

/** Packages that a missing program comes with, as Debian names them. */
const packageOf: Record<string, string> = { ip: "iproute2", nft: "nftables", setpriv: "util-linux" };

/** Where `ip` and `nft` live is not on the PATH of every service or login. */
export const commandEnvironment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${process.env.PATH ?? ""}:/usr/sbin:/usr/bin:/sbin:/bin`,
  LC_ALL: "C",
};

/** A program that could not be started, was ended, or gave an exit code other than 0. */
export class CommandError extends Error {
  readonly command: string;
  /** Null when the program never ran or was ended by a signal. */
  readonly exitCode: number | null;
  readonly stderr: string;

  constructor(command: string, exitCode: number | null, stderr: string, why: string) {
    super(`${command}: ${why}`);
    this.name = "CommandError";
    this.command = command;
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/** What the program wrote to stdout. Throws `CommandError` naming the command and its stderr when it fails. */
export function run(program: string, args: readonly string[]): Promise<string> {
  const command = [program, ...args].join(" ");
  const options = {
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    maxBuffer: maxOutputBytes,
    env: commandEnvironment,
  } as const;
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else {
        const exitCode = typeof error.code === "number" ? error.code : null;
        reject(new CommandError(command, exitCode, stderr.trim(), explain(program, error, stderr.trim())));
      }
    });
  });
}

/** The JSON that the program printed; `fallback` when it printed nothing, as `ip -json` does for some empty lists. */
export async function runJson<T>(program: string, args: readonly string[], fallback: T): Promise<T> {
  const text = (await run(program, args)).trim();
  if (text === "") return fallback;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new CommandError(
      [program, ...args].join(" "),
      0,
      "",
      `expected JSON, got ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
}

/** Why a program could not be started, in words: used for long-lived children as well. */
export function startFailure(program: string, error: NodeJS.ErrnoException): string {
  if (error.code !== "ENOENT") return error.message;
  const from = packageOf[program];
  return `program not found${from === undefined ? "" : `; it comes with the package ${from}`}`;
}

function explain(
  program: string,
  error: Error & { code?: unknown; killed?: boolean; signal?: unknown },
  stderr: string,
): string {
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `printed more than ${maxOutputBytes} bytes`;
  if (error.killed === true) return `no answer within ${timeoutMs} ms`;
  if (typeof error.code === "string") return startFailure(program, error as NodeJS.ErrnoException);
  if (error.signal) return `ended by ${String(error.signal)}`;
  return stderr === "" ? `exit code ${String(error.code)}` : stderr;
}
