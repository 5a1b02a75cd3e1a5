/** The near side of the control socket: one request, JSON back, and failures that say whether a daemon is there at all. */

import { request } from "node:http";

const usualTimeoutMs = 10_000;
const maxAnswerBytes = 256 * 1024 * 1024;

export type ControlFailure = "absent" | "denied" | "refused" | "unable" | "broken";

export class ControlError extends Error {
  /** absent: nobody listens; denied: no permission; refused: the request was wrong; unable: what it asks for cannot be done; broken: no answer, or none that makes sense. */
  readonly failure: ControlFailure;

  constructor(failure: ControlFailure, message: string) {
    super(message);
    this.name = "ControlError";
    this.failure = failure;
  }
}

export interface RequestOptions {
  /** Default: GET. */
  method?: "GET" | "POST";
  /** Default: 10,000. */
  timeoutMs?: number;
}

/** What the daemon on `socketPath` answers to a request for `path`. Throws ControlError. */
export function requestJson<T>(socketPath: string, path: string, options: RequestOptions = {}): Promise<T> {
  const { method = "GET", timeoutMs = usualTimeoutMs } = options;
  return new Promise((resolve, reject) => {
    const fail = (failure: ControlFailure, why: string) => reject(new ControlError(failure, why));
    const outgoing = request(
      { socketPath, path, method, headers: { host: "sluice", connection: "close" }, timeout: timeoutMs },
      (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes <= maxAnswerBytes) chunks.push(chunk);
          else outgoing.destroy(new Error(`the answer is longer than ${maxAnswerBytes} bytes`));
        });
        answer.on("error", (error) => fail("broken", `${socketPath}: ${error.message}`));
        answer.on("end", () => {
          try {
            const value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
            if (answer.statusCode === 200) resolve(value as T);
            else fail(failureOf(answer.statusCode!), String(value.error));
          } catch {
            fail("broken", `what listens on ${socketPath} is not sluice: its answer is not JSON`);
          }
        });
      },
    );
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    outgoing.on("error", (error: NodeJS.ErrnoException) => reject(explain(error, socketPath)));
    outgoing.end();
  });
}

function failureOf(status: number): ControlFailure {
  if (status === 409) return "unable";
  return status < 500 ? "refused" : "broken";
}

function explain(error: NodeJS.ErrnoException, socketPath: string): ControlError {
  switch (error.code) {
    case "ENOENT":
    case "ECONNREFUSED":
    case "ENOTDIR":
      return new ControlError("absent", `no sluice is running on ${socketPath}`);
    case "EACCES":
    case "EPERM":
      return new ControlError(
        "denied",
        `permission denied on ${socketPath}; run as the user that runs sluice, usually root`,
      );
    default:
      return new ControlError("broken", `${socketPath}: ${error.message}`);
  }
}
