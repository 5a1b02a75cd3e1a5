/** Why a request on the control socket was not done, each with a message for the person. */

/** The request itself is wrong. */
export class RequestError extends Error {
  /** Of HTTP: 400, 404, 405 or 413. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "RequestError";
    this.status = status;
  }
}

/** What was asked for makes sense and cannot be done. */
export class RefusedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RefusedError";
  }
}
