/** Which exit code and message a failure ends in. */

import { ApiStartError } from "../control/api.ts";
import { ControlError } from "../control/client.ts";
import { CommandError } from "../control/command.ts";
import { ConfigError } from "../control/config.ts";
import { RequestError } from "../control/request-error.ts";
import { formatRequirement, RequirementsError } from "../control/requirements.ts";
import { DeviceError } from "../io/device-error.ts";

export const exitCode = { done: 0, failed: 1, usage: 2, noDaemon: 3, missing: 4 } as const;

/** A failure that the command itself found. */
export class CliError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export function describeFailure(error: unknown): { code: number; message: string } {
  if (error instanceof CliError) return { code: error.code, message: `sluice: ${error.message}` };
  // One line a problem, each beginning with the file's name, so that an editor can jump to it.
  if (error instanceof ConfigError) return { code: exitCode.usage, message: error.message };
  if (error instanceof RequirementsError)
    return {
      code: exitCode.missing,
      message: error.missing.map((item) => `sluice: ${formatRequirement(item)}`).join("\n"),
    };
  // A program that never ran; what one that ran complained about is an ordinary failure.
  if (error instanceof CommandError && error.exitCode === null)
    return { code: exitCode.missing, message: `sluice: ${error.message}` };
  if (error instanceof DeviceError) return { code: deviceCode(error), message: `sluice: ${error.message}` };
  if (error instanceof ApiStartError) return { code: exitCode.failed, message: `sluice: ${error.message}` };
  if (error instanceof RequestError) return { code: exitCode.usage, message: `sluice: ${error.message}` };
  if (error instanceof ControlError) return { code: controlCode(error), message: `sluice: ${error.message}` };
  return { code: exitCode.failed, message: `sluice: ${error instanceof Error ? error.message : String(error)}` };
}

function controlCode(error: ControlError): number {
  switch (error.failure) {
    case "absent":
      return exitCode.noDaemon;
    case "denied":
      return exitCode.missing;
    case "refused":
      return exitCode.usage;
    case "unable":
    case "broken":
      return exitCode.failed;
  }
}

/** A device that another program has is not missing. */
function deviceCode(error: DeviceError): number {
  return error.problem === "name-in-use" || error.problem === "no-interface" ? exitCode.failed : exitCode.missing;
}
