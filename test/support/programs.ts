/** The small programs of test/support/programs, as commands for a host of the lab. */

import { fileURLToPath } from "node:url";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import type { Host } from "./topology.ts";

/** Enough for 200,000 connections on a busy machine. */
const timeoutMs = 300_000;

/** `program("web-server", "80")`: runs programs/web-server.ts with the Node that runs the tests. */
export function program(name: string, ...args: readonly string[]): string[] {
  return [process.execPath, fileURLToPath(new URL(`programs/${name}.ts`, import.meta.url)), ...args];
}

/** Starts a program in a host and returns when it says "ready". It ends with the lab. */
export async function startProgram(lab: Lab, host: Host, name: string, ...args: readonly string[]): Promise<Running> {
  const running = lab.spawn(host, program(name, ...args));
  await running.waitFor(/ready/);
  return running;
}

/** Runs a program to its end and returns what it printed as JSON. */
export async function runProgram<T>(lab: Lab, host: Host, name: string, ...args: readonly string[]): Promise<T> {
  return JSON.parse((await lab.exec(host, program(name, ...args), { timeoutMs })).stdout) as T;
}
