/** The near side of the control socket: one GET, JSON back, and failures that say whether a daemon is there at all. */

import { request } from "node:http";

const timeoutMs = 10_000;
const maxAnswerBytes = 256 * 1024 * 1024;

export type ControlFailure = "absent" | "denied" | "refused" | "broken";

export class ControlError extends Error {
  /** absent: nobody listens; denied: no permission; refused: the request was wrong; broken: no answer, or none that makes sense. */
  readonly failure: ControlFailure;

  constructor(failure: ControlFailure, message: string) {
    super(message);
    this.name = "ControlError";
    this.failure = failure;
  }
}

/** What the daemon on `socketPath` answers to GET `path`. Throws ControlError. */
export function requestJson<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (failure: ControlFailure, why: string) => reject(new ControlError(failure, why));
    const outgoing = request(
      { socketPath, path, headers: { host: "sluice", connection: "close" }, timeout: timeoutMs },
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
            else fail(answer.statusCode! < 500 ? "refused" : "broken", String(value.error));
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
