/**
 * The far side of the control socket: HTTP with JSON over a Unix socket that only its owner may open.
 *
 *     GET  /version                  {version, pid}
 *     GET  /status                   StatusReport
 *     GET  /flows                    FlowReport[]    ?uplink=NAME &limit=N
 *     GET  /explain                  ExplainReport   ?source=ADDRESS[:PORT] &destination=ADDRESS[:PORT] &protocol=NAME
 *     POST /uplinks/NAME/drain       UplinkReport    also enable, disable
 *     POST /uplinks/NAME/weight      UplinkReport    ?value=N
 *     POST /reload                   ReloadReport
 *
 * What is wrong comes as {error}: 400, 404, 405 or 413 for a request that makes no sense, 409 for one that
 * cannot be done, 500 for a failure.
 *
 * HTTP because `curl --unix-socket` and every language can speak it. Whoever may connect is root
 * already, so the limits here guard against accidents: a client that hangs, or never reads.
 */

import { lstatSync, mkdirSync, type Stats, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import { answerRequest } from "./api-routes.ts";
import { ControlError, requestJson } from "./client.ts";
import type { ExplainQuery, ExplainReport, FlowReport, ReloadReport, StatusReport, UplinkReport } from "./report.ts";
import { RefusedError, RequestError } from "./request-error.ts";

export { maxFlowsInAnswer } from "./api-routes.ts";
export { RefusedError } from "./request-error.ts";

const maxConnections = 32;
const idleConnectionMs = 30_000;

/** The daemon's part. A handler that cannot do what it is asked throws RefusedError. */
export interface ApiHandlers {
  version: string;
  status(): StatusReport;
  /** At most `limit` flows, of one uplink if a name is given. */
  flows(query: { uplink?: string; limit: number }): Promise<FlowReport[]>;
  /** These four give the uplink as it is afterwards. The name is that of an uplink that `status` has. */
  drain(uplink: string): Promise<UplinkReport>;
  enable(uplink: string): Promise<UplinkReport>;
  disable(uplink: string): Promise<UplinkReport>;
  weight(uplink: string, weight: number): Promise<UplinkReport>;
  /** Reads the file again: what has changed, or every problem; then nothing has. */
  reload(): Promise<ReloadReport>;
  /** What would become of a flow, without opening it. Addresses are canonical and of one family. */
  explain(query: ExplainQuery): Promise<ExplainReport>;
}

export interface Api {
  /** Ends open requests and removes the socket. */
  close(): Promise<void>;
}

/** What stands in the way of listening, in words for the person who started sluice. */
export class ApiStartError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ApiStartError";
  }
}

/**
 * Listens on `socketPath` (mode 0600; its directory is made if need be). A socket that a dead daemon
 * left behind is replaced. Throws ApiStartError when a live one answers there, naming its process.
 */
export async function startApi(socketPath: string, handlers: ApiHandlers): Promise<Api> {
  await clearTheWay(socketPath);
  const server = createServer(
    { maxHeaderSize: 8192, headersTimeout: 5_000, requestTimeout: 10_000 },
    (incoming, answer) => {
      void respond(incoming, answer, handlers);
    },
  );
  server.maxConnections = maxConnections;
  server.timeout = idleConnectionMs;
  await listen(server, socketPath);
  return { close: () => close(server) };
}

/** Throws ApiStartError when a daemon answers on the socket; removes a dead one's. */
export async function clearTheWay(socketPath: string): Promise<void> {
  const kind = lookAt(socketPath);
  if (kind === undefined) return;
  if (!kind.isSocket())
    throw new ApiStartError(
      `${socketPath} exists and is not a socket; remove it or set control.socket to another path`,
    );
  try {
    const { pid } = await requestJson<{ pid: number }>(socketPath, "/version");
    throw new ApiStartError(
      `sluice is already running on ${socketPath} (pid ${pid}); stop it, or set control.socket and tun.name to others`,
    );
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    if (error.failure !== "absent") throw new ApiStartError(`another process holds ${socketPath}: ${error.message}`);
  }
  // ECONNREFUSED: the socket's process is gone.
  unlinkSync(socketPath);
}

function lookAt(socketPath: string): Stats | undefined {
  try {
    return lstatSync(socketPath, { throwIfNoEntry: false });
  } catch (error) {
    throw cannotListen(socketPath, error);
  }
}

function cannotListen(socketPath: string, error: unknown): ApiStartError {
  return new ApiStartError(`cannot listen on ${socketPath}: ${(error as NodeJS.ErrnoException).code ?? error}`);
}

async function listen(server: Server, socketPath: string): Promise<void> {
  try {
    mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 });
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject);
      // bind(2) runs within listen(), so the umask makes the socket private from its first moment.
      const umask = process.umask(0o177);
      server.listen(socketPath, resolve);
      process.umask(umask);
    });
  } catch (error) {
    throw cannotListen(socketPath, error);
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function respond(incoming: IncomingMessage, answer: ServerResponse, handlers: ApiHandlers): Promise<void> {
  try {
    send(answer, 200, await route(incoming, handlers));
  } catch (error) {
    send(answer, statusOf(error), { error: (error as Error).message });
  }
}

function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status;
  return error instanceof RefusedError ? 409 : 500;
}

async function route(incoming: IncomingMessage, handlers: ApiHandlers): Promise<unknown> {
  if (incoming.headers["transfer-encoding"] !== undefined || Number(incoming.headers["content-length"] ?? 0) > 0) {
    throw new RequestError(413, "a request has no body");
  }
  if (!URL.canParse(incoming.url ?? "", "http://sluice"))
    throw new RequestError(400, "the address of the request is malformed");
  return answerRequest(incoming.method ?? "", new URL(incoming.url ?? "", "http://sluice"), handlers);
}

function send(answer: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  // A refused request may have a body still coming; closing is simpler than reading it to its end.
  answer.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    ...(status !== 200 && { connection: "close" }),
  });
  answer.end(text);
}
