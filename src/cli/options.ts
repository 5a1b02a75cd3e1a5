/** Options that several commands share, and what they mean. */

import { existsSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import { ConfigError, defaultConfigFile, loadConfig } from "../control/config.ts";
import { defaultSocket } from "../control/config-schema.ts";
import { parseDurationMs } from "../control/config-values.ts";

export const configOption = ["-c, --config <file>", "configuration file"] as const;
export const socketOption = ["--socket <path>", "control socket of the daemon"] as const;
export const jsonOption = ["--json", "print JSON"] as const;

/**
 * The socket to ask: the one named, else the one in the configuration, else the usual one. A daemon
 * can be asked while its file is being edited, so only a file that was named must be a good one.
 */
export function chooseSocket(options: { socket?: string; config?: string }): string {
  if (options.socket !== undefined) return options.socket;
  if (options.config !== undefined) return loadConfig(options.config).config.control.socket;
  if (!existsSync(defaultConfigFile)) return defaultSocket;
  try {
    return loadConfig(defaultConfigFile).config.control.socket;
  } catch (error) {
    if (error instanceof ConfigError) return defaultSocket;
    throw error;
  }
}

export function readCount(text: string): number {
  const count = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError("Expected a whole number from 1.");
  return count;
}

/** Milliseconds. */
export function readDuration(text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs === undefined) throw new InvalidArgumentError("Expected a duration such as 90s or 5m.");
  return durationMs;
}
