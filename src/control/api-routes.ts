/** Which request of the control socket is answered how: methods, paths and queries. */

import type { ApiHandlers } from "./api.ts";
import { readExplainQuery } from "./explain-query.ts";
import { RequestError } from "./request-error.ts";

/** Most flows in one answer: some 35 MB of JSON. */
export const maxFlowsInAnswer = 100_000;
/** As the configuration has it; no new connections at all is what draining is for. */
export const maxWeight = 10_000;

interface Asked {
  handlers: ApiHandlers;
  /** Of an uplink that there is; empty where the path has none. */
  uplink: string;
  query: URLSearchParams;
}

interface Route {
  method: "GET" | "POST";
  /** NAME stands for an uplink's. */
  path: string;
  query?: readonly string[];
  answer: (asked: Asked) => unknown;
}

const routes: readonly Route[] = [
  { method: "GET", path: "/version", answer: ({ handlers }) => ({ version: handlers.version, pid: process.pid }) },
  { method: "GET", path: "/status", answer: ({ handlers }) => handlers.status() },
  { method: "GET", path: "/flows", query: ["uplink", "limit"], answer: flows },
  { method: "GET", path: "/explain", query: ["source", "destination", "protocol"], answer: explain },
  { method: "POST", path: "/reload", answer: ({ handlers }) => handlers.reload() },
  { method: "POST", path: "/uplinks/NAME/drain", answer: ({ handlers, uplink }) => handlers.drain(uplink) },
  { method: "POST", path: "/uplinks/NAME/enable", answer: ({ handlers, uplink }) => handlers.enable(uplink) },
  { method: "POST", path: "/uplinks/NAME/disable", answer: ({ handlers, uplink }) => handlers.disable(uplink) },
  { method: "POST", path: "/uplinks/NAME/weight", query: ["value"], answer: weight },
];

/** What the daemon answers. Throws RequestError when the request makes no sense, and what the handlers throw. */
export async function answerRequest(method: string, address: URL, handlers: ApiHandlers): Promise<unknown> {
  const { pathname, searchParams: query } = address;
  const steps = pathname.split("/").map(decodeStep);
  const route = routes.find(({ path }) => matches(path, steps));
  if (route === undefined)
    throw new RequestError(404, `${pathname} is not known; there are ${routes.map(({ path }) => path).join(", ")}`);
  if (method !== route.method) throw new RequestError(405, `${pathname} is answered to ${route.method}, not ${method}`);
  checkKeys(query, route.query ?? []);
  const uplink = route.path.includes("/NAME/") ? knownUplink(steps[2]!, handlers) : "";
  return route.answer({ handlers, uplink, query });
}

function decodeStep(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    throw new RequestError(400, "the address of the request is malformed");
  }
}

function matches(path: string, steps: readonly string[]): boolean {
  const wanted = path.split("/");
  return wanted.length === steps.length && wanted.every((step, index) => step === "NAME" || step === steps[index]);
}

/** A key that is ignored would be one that was misspelt. */
function checkKeys(query: URLSearchParams, known: readonly string[]): void {
  const stranger = [...query.keys()].find((key) => !known.includes(key));
  if (stranger === undefined) return;
  const expected = known.length === 0 ? "none is known here" : `there are ${known.join(", ")}`;
  throw new RequestError(400, `parameter ${JSON.stringify(stranger)} is not known; ${expected}`);
}

function flows({ handlers, query }: Asked): unknown {
  const limit = readWhole("limit", query.get("limit") ?? String(maxFlowsInAnswer), maxFlowsInAnswer);
  const uplink = query.get("uplink");
  return handlers.flows(uplink === null ? { limit } : { uplink: knownUplink(uplink, handlers), limit });
}

function weight({ handlers, uplink, query }: Asked): unknown {
  return handlers.weight(uplink, readWhole("weight", query.get("value") ?? "", maxWeight));
}

function explain({ handlers, query }: Asked): unknown {
  const asked = readExplainQuery(
    query.get("source") ?? "",
    query.get("destination") ?? "",
    query.get("protocol") ?? "tcp",
  );
  return handlers.explain(asked);
}

function readWhole(what: string, text: string, largest: number): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text) || Number(text) > largest)
    throw new RequestError(
      400,
      `${what} is ${JSON.stringify(text.slice(0, 80))}; expected a whole number from 1 to ${largest}`,
    );
  return Number(text);
}

function knownUplink(name: string, handlers: ApiHandlers): string {
  const names = handlers.status().uplinks.map((known) => known.name);
  if (names.includes(name)) return name;
  throw new RequestError(
    404,
    `there is no uplink named ${JSON.stringify(name.slice(0, 80))}; there are ${names.join(", ")}`,
  );
}
