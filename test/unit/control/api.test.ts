import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Api, type ApiHandlers, maxFlowsInAnswer, RefusedError, startApi } from "../../../src/control/api.ts";
import { ControlError, requestJson } from "../../../src/control/client.ts";
import type { ExplainReport, FlowReport } from "../../../src/control/report.ts";
import { Running } from "../../support/process.ts";
import { sampleFlow, sampleHandlers, sampleStatus } from "../../support/reports.ts";

let directory: string;
let socket: string;
let asked: unknown[];
const open: { close(): unknown }[] = [];

const handlers = sampleHandlers({
  flows: async (query): Promise<FlowReport[]> => {
    asked.push(query);
    return [sampleFlow()];
  },
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-api-"));
  socket = join(directory, "run", "control.sock");
  asked = [];
});

afterEach(async () => {
  for (const item of open.splice(0)) await item.close();
  rmSync(directory, { recursive: true });
});

async function start(more: Partial<ApiHandlers> = {}): Promise<Api> {
  const api = await startApi(socket, { ...handlers, ...more });
  open.push(api);
  return api;
}

/** What the server says to bytes that no decent client would send. */
function sendRaw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const connection = connect(socket, () => connection.write(text));
    connection.on("data", (bytes) => {
      answer += bytes;
    });
    connection.on("close", () => resolve(answer)).on("error", reject);
  });
}

const get = (path: string, headers = "") =>
  sendRaw(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`);

async function failureOf(promise: Promise<unknown>): Promise<ControlError> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(ControlError);
  return error;
}

describe("the control socket", () => {
  it("answers with the version, the process, the status and the flows", async () => {
    await start();
    expect(await requestJson(socket, "/version")).toEqual({ version: "1.2.3", pid: process.pid });
    expect(await requestJson(socket, "/status")).toEqual(sampleStatus());
    expect(await requestJson(socket, "/flows")).toEqual([sampleFlow()]);
    expect(await requestJson(socket, "/flows?uplink=isp2&limit=7")).toEqual([sampleFlow()]);
    expect(asked).toEqual([{ limit: maxFlowsInAnswer }, { uplink: "isp2", limit: 7 }]);
  });

  it("may be opened by its owner only, and has its directory made", async () => {
    const umask = process.umask(0);
    try {
      await start();
    } finally {
      process.umask(umask);
    }
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "run")).mode & 0o777).toBe(0o755);
  });

  it("leaves the process's umask as it was", async () => {
    const before = process.umask();
    await start();
    expect(process.umask()).toBe(before);
  });

  it("is gone after close, also while a client keeps its connection", async () => {
    const api = await start();
    const connection = connect(socket);
    await new Promise((resolve) => connection.on("connect", resolve));
    const closed = new Promise((resolve) => connection.on("close", resolve));
    connection.on("error", () => {});
    await api.close();
    await closed;
    expect(existsSync(socket)).toBe(false);
  });

  it("refuses what it does not know, and says what there is", async () => {
    await start();
    expect((await failureOf(requestJson(socket, "/nope"))).message).toMatch(/\/nope is not known; there are \/version/);
    expect((await failureOf(requestJson(socket, "/flows?uplink=isp9"))).message).toBe(
      'there is no uplink named "isp9"; there are isp1, isp2',
    );
    for (const limit of ["0", "-1", "1.5", "x", "", "100001", "9".repeat(40)]) {
      const failure = await failureOf(requestJson(socket, `/flows?limit=${limit}`));
      expect(failure.failure).toBe("refused");
      expect(failure.message).toMatch(/expected a whole number from 1 to 100000/);
    }
    expect(asked).toEqual([]);
  });

  it("takes no other method, no body, no overlong header and no garbage", async () => {
    await start();
    expect(await sendRaw("POST /status HTTP/1.1\r\nHost: x\r\n\r\n")).toMatch(/^HTTP\/1.1 405 /);
    expect(await get("/reload")).toMatch(/^HTTP\/1.1 405 [\s\S]*"\/reload is answered to POST, not GET"/);
    expect(await sendRaw("POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")).toMatch(/^HTTP\/1.1 413 /);
    expect(await get("/status", "Content-Length: 5\r\n")).toMatch(/^HTTP\/1.1 413 /);
    expect(await get("/status", "Transfer-Encoding: chunked\r\n")).toMatch(/^HTTP\/1.1 413 /);
    expect(await get("/status", `X: ${"x".repeat(9000)}\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    expect(await get("http://[", "")).toMatch(/^HTTP\/1.1 400 /);
    expect(await sendRaw("\0\x01\x02\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
    // And goes on answering.
    expect(await requestJson(socket, "/status")).toEqual(sampleStatus());
  });

  it("changes an uplink, and answers what it is then", async () => {
    await start();
    const post = <T>(path: string) => requestJson<T>(socket, path, { method: "POST" });
    expect(await post("/uplinks/isp2/drain")).toMatchObject({ name: "isp2", state: "draining" });
    expect(await post("/uplinks/isp2/enable")).toMatchObject({ name: "isp2", state: "up" });
    expect(await post("/uplinks/isp%32/disable")).toMatchObject({ name: "isp2", state: "disabled" });
    expect(await post("/uplinks/isp1/weight?value=7")).toMatchObject({ name: "isp1", weight: 7 });
    expect(await post("/reload")).toEqual({ changed: [], problems: [] });
  });

  it("changes nothing that is not there, and no weight beyond its range", async () => {
    const never = () => Promise.reject(new Error("was asked all the same"));
    await start({ drain: never, enable: never, disable: never, weight: never });
    const post = (path: string) => failureOf(requestJson(socket, path, { method: "POST" }));
    for (const what of ["drain", "enable", "disable", "weight?value=1"]) {
      const { failure, message } = await post(`/uplinks/isp9/${what}`);
      expect([failure, message]).toEqual(["refused", 'there is no uplink named "isp9"; there are isp1, isp2']);
    }
    for (const value of ["-1", "0", "10001", "1e3", "1.5", "", "9".repeat(40)])
      expect((await post(`/uplinks/isp1/weight?value=${value}`)).message).toMatch(
        /^weight is ".*"; expected a whole number from 1 to 10000$/,
      );
    expect((await post("/uplinks/isp1/weight?valeu=3")).message).toBe(
      'parameter "valeu" is not known; there are value',
    );
    expect((await post("/uplinks/isp1/explode")).message).toMatch(/is not known; there are .*\/uplinks\/NAME\/drain/);
    expect((await post("/uplinks/%ff/drain")).message).toBe("the address of the request is malformed");
  });

  it("explains a flow, whatever way its addresses are written", async () => {
    await start();
    const explain = async (query: string) => (await requestJson<ExplainReport>(socket, `/explain?${query}`)).flow;
    expect(await explain("source=192.168.10.2:51234&destination=192.0.2.10:443")).toEqual({
      protocol: "tcp",
      source: "192.168.10.2",
      sourcePort: 51_234,
      destination: "192.0.2.10",
      destinationPort: 443,
    });
    expect(await explain("source=FD00:0:0::2&destination=[2001:db8::10]:53&protocol=17")).toEqual({
      protocol: "udp",
      source: "fd00::2",
      sourcePort: null,
      destination: "2001:db8::10",
      destinationPort: 53,
    });
    expect((await failureOf(requestJson(socket, "/explain?source=192.168.10.2"))).message).toMatch(
      /^destination "" is not valid; expected an address/,
    );
  });

  it("tells what cannot be done from what makes no sense", async () => {
    await start({ drain: () => Promise.reject(new RefusedError("isp1 is the only uplink that is up")) });
    const failure = await failureOf(requestJson(socket, "/uplinks/isp1/drain", { method: "POST" }));
    expect([failure.failure, failure.message]).toEqual(["unable", "isp1 is the only uplink that is up"]);
  });

  it("passes on that the daemon failed, which is not the client's mistake", async () => {
    await start({ flows: () => Promise.reject(new Error("worker 1 did not answer")) });
    const failure = await failureOf(requestJson(socket, "/flows"));
    expect([failure.failure, failure.message]).toEqual(["broken", "worker 1 did not answer"]);
  });
});

describe("a socket that is there already", () => {
  it("is replaced when its daemon was killed", async () => {
    const script = `require("net").createServer().listen(${JSON.stringify(join(directory, "s"))}, () => console.log("ready"))`;
    const dead = new Running([process.execPath, "-e", script]);
    await dead.waitFor(/ready/);
    await dead.stop("SIGKILL");
    socket = join(directory, "s");
    expect(statSync(socket).isSocket()).toBe(true);
    expect((await failureOf(requestJson(socket, "/status"))).failure).toBe("absent");
    await start();
    expect(await requestJson(socket, "/status")).toEqual(sampleStatus());
  });

  it("is left alone when its daemon lives, and the message names socket and process", async () => {
    await start();
    await expect(startApi(socket, handlers)).rejects.toThrow(
      `sluice is already running on ${socket} (pid ${process.pid})`,
    );
    expect(await requestJson(socket, "/status")).toEqual(sampleStatus());
  });

  it("is left alone when something else listens there", async () => {
    socket = join(directory, "s");
    const other = createServer((_, answer) => answer.end("hello"));
    await new Promise<void>((resolve) => other.listen(socket, resolve));
    open.push(other);
    await expect(startApi(socket, handlers)).rejects.toThrow(`another process holds ${socket}`);
    expect(existsSync(socket)).toBe(true);
    const failure = await failureOf(requestJson(socket, "/status"));
    expect(failure.message).toMatch(/is not sluice: its answer is not JSON/);
  });

  it("is left alone when it is no socket but somebody's file", async () => {
    socket = join(directory, "notes");
    writeFileSync(socket, "mine");
    await expect(startApi(socket, handlers)).rejects.toThrow(`${socket} exists and is not a socket`);
    expect(readFileSync(socket, "utf8")).toBe("mine");
  });

  it("is named when nothing can be made there", async () => {
    writeFileSync(join(directory, "run"), "");
    await expect(startApi(socket, handlers)).rejects.toThrow(/^cannot listen on .*(EEXIST|ENOTDIR)/);
  });
});

describe("a client", () => {
  it("says that no sluice runs where nobody listens", async () => {
    const failure = await failureOf(requestJson(join(directory, "none"), "/status"));
    expect([failure.failure, failure.message]).toEqual([
      "absent",
      `no sluice is running on ${join(directory, "none")}`,
    ]);
  });
});
