/**
 * Any request on the control socket: what answers is JSON and no server error, and the next ordinary request is answered.
 *
 *     input: [how 1][text]      how: 0 the text is the address asked for, 1 headers, 2 the whole request, 3 the address posted to
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApi } from "../../../src/control/api.ts";
import { sampleHandlers } from "../../support/reports.ts";

const directory = mkdtempSync(join(tmpdir(), "sluice-fuzz-"));
const socket = join(directory, "control.sock");
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
const api = startApi(socket, sampleHandlers());

export async function fuzz(input: Uint8Array): Promise<void> {
  await api;
  const how = input[0] ?? 0;
  const text = Buffer.from(input.subarray(1)).toString("latin1");
  const request = toRequest(how % 4, text);
  // Whatever is not a whole request gets no answer until its time is over; that it ends is what matters.
  for (let answer = await ask(request); answer !== ""; ) answer = checkFirst(answer);
}

function toRequest(how: number, text: string): string {
  const address = text.replaceAll(/[\r\n]/g, "");
  switch (how) {
    case 0:
      return `GET ${address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
    case 1:
      return `GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${text}\r\n\r\n`;
    case 2:
      return text;
    default:
      return `POST ${address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  }
}

/** Checks the first of the answers in a text and returns the others. */
function checkFirst(answer: string): string {
  const [head, status] = /^HTTP\/1\.1 (\d{3}) [\s\S]*?\r\n\r\n/.exec(answer) ?? [];
  assert.ok(head !== undefined, `no answer of HTTP's: ${JSON.stringify(answer)}`);
  assert.ok(Number(status) < 500, answer);
  // An empty body in chunks is Node's own, to a request without a host.
  const rest = answer.slice(head.length).replace(/^0\r\n\r\n/, "");
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  // To HEAD there is a length and no body; and Node refuses by itself what is not HTTP, without any.
  if (length === 0 || rest.startsWith("HTTP/") || rest === "") return rest;
  const value = JSON.parse(rest.slice(0, length));
  if (status !== "200") assert.equal(typeof value.error, "string");
  return rest.slice(length);
}

function ask(request: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const connection = connect(socket, () => connection.end(request, "latin1"));
    connection.setEncoding("latin1");
    connection.on("data", (text) => {
      answer += text;
    });
    connection.on("close", () => resolve(answer)).on("error", () => resolve(answer));
  });
}

export function seeds(): Uint8Array[] {
  const addresses = [
    "/version",
    "/status",
    "/flows?limit=5&uplink=isp1",
    "/flows?limit=0",
    "/nothing",
    "/explain?source=192.0.2.1:5&destination=[::1]&protocol=icmp",
    "//[",
    "*",
    "%zz",
  ];
  const headers = ["Content-Length: 5", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: websocket"];
  const whole = [
    "POST /status HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
  ];
  const posted = ["/reload", "/uplinks/isp1/drain", "/uplinks/isp2/weight?value=7", "/uplinks/%69/enable", "/status"];
  const input = (how: number) => (text: string) => Uint8Array.of(how, ...Buffer.from(text, "latin1"));
  return [...addresses.map(input(0)), ...headers.map(input(1)), ...whole.map(input(2)), ...posted.map(input(3))];
}

/** Ends the server, so that the process can end. */
export async function close(): Promise<void> {
  await (await api).close();
}
