/** Real programs: shell scripts in a directory of their own, which write down what they were given. */

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HooksConfig } from "../../../src/control/config-types.ts";
import { createHooks, type HookEvent, type Hooks } from "../../../src/control/hooks.ts";
import { createLog } from "../../../src/control/log.ts";
import { until } from "../../support/until.ts";

let directory: string;
let hooks: Hooks;
let logged: Record<string, unknown>[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-hooks-"));
  logged = [];
});

afterEach(async () => {
  await hooks.stop();
  rmSync(directory, { recursive: true });
});

function script(name: string, body: string): string {
  const file = join(directory, name);
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

function start(config: Partial<HooksConfig>): Hooks {
  const log = createLog("debug", "json", (line) => void logged.push(JSON.parse(line)));
  hooks = createHooks({ timeoutMs: 20_000, ...config }, log);
  return hooks;
}

const event = (more: Partial<HookEvent> = {}): HookEvent => ({
  action: "down",
  uplink: "isp1",
  interface: "wan0",
  address: "203.0.113.2",
  state: "down",
  reason: "no carrier",
  ...more,
});

const file = (name: string) => join(directory, name);
const written = (name: string) =>
  existsSync(file(name)) ? readFileSync(file(name), "utf8").trimEnd().split("\n") : [];
const warnings = () => logged.filter(({ level }) => level === "warn");
const logs = (count: number) => until(`${count} lines are in the log`, () => logged.length === count);
const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0);
    // The dead are there until somebody asks for their end: an orphan's parent in a container may never.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

describe("a hook", () => {
  it("is told the event by its environment, and has no input, no arguments and nothing of systemd's", async () => {
    const all = `"$ACTION|$UPLINK|$INTERFACE|$ADDRESS|$STATE|$REASON|$#|$PWD|\${NOTIFY_SOCKET-none}"`;
    const down = script("down", `read -r line; echo $? > ${file("input")}; echo ${all} > ${file("got")}`);
    process.env.NOTIFY_SOCKET = "/run/systemd/notify";
    try {
      start({ down }).run(event());
    } finally {
      delete process.env.NOTIFY_SOCKET;
    }
    await logs(1);
    expect(written("got")).toEqual(["down|isp1|wan0|203.0.113.2|down|no carrier|0|/|none"]);
    expect(written("input")).toEqual(["1"]);
    expect(logged[0]).toMatchObject({
      level: "debug",
      msg: "hook has run",
      uplink: "isp1",
      action: "down",
      hook: down,
    });
  });

  it("takes a reason for what it is: no shell reads it, no zero byte stops the start", async () => {
    const down = script("down", `printf %s "$REASON" > ${file("got")}`);
    start({ down }).run(event({ reason: `$(touch ${file("harm")}) "; '\0\n`, address: null }));
    await logs(1);
    expect(written("got")).toEqual([`$(touch ${file("harm")}) "; '??`]);
    expect(existsSync(file("harm"))).toBe(false);
  });

  it("runs for its own events only", async () => {
    start({ up: script("up", `echo "$ACTION" >> ${file("got")}`) });
    for (const action of ["down", "degraded", "up", "address"] as const) hooks.run(event({ action }));
    await logs(1);
    await hooks.stop();
    expect(written("got")).toEqual(["up"]);
  });

  it("has what it says in the log, no more than 4 KB, and may say more without waiting", async () => {
    start({
      up: script("up", "echo fine; echo well >&2"),
      down: script("down", "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done"),
    });
    hooks.run(event({ action: "up" }));
    await logs(1);
    expect(logged[0]).toMatchObject({ level: "info", output: expect.stringMatching(/^(fine\nwell|well\nfine)$/) });
    hooks.run(event());
    await logs(2);
    expect(logged[1]!.output).toMatch(/^(0123456789\n){372}0123 \.\.\. \(215904 bytes more\)$/);
  });

  it("that fails is one warning with the reason and what it said", async () => {
    const plain = file("plain");
    writeFileSync(plain, "#!/bin/sh\n");
    start({
      up: script("up", "echo no such record; exit 3"),
      down: file("missing"),
      degraded: plain,
      address: script("address", "kill -9 $$"),
    });
    for (const action of ["up", "down", "degraded", "address"] as const) hooks.run(event({ action }));
    await logs(4);
    expect(warnings().map(({ action, reason, output }) => [action, reason, output])).toEqual([
      ["up", "exit code 3", "no such record"],
      ["down", "there is no such program, or no interpreter that its first line names", undefined],
      ["degraded", "it is not executable", undefined],
      ["address", "ended by SIGKILL", undefined],
    ]);
  });
});

describe("the time limit", () => {
  it("ends a program that hangs, with what it has started", async () => {
    const down = script("down", `echo begun; sleep 1000 & echo $! > ${file("child")}; wait`);
    start({ down, timeoutMs: 3000 }).run(event());
    await logs(1);
    expect(logged[0]).toMatchObject({ level: "warn", reason: "did not end within 3000 ms", output: "begun" });
    expect(written("child")).toHaveLength(1);
    await until("the process is gone", () => !isAlive(Number(written("child")[0])));
  });

  it("kills one that does not listen", async () => {
    const down = script("down", `trap '' TERM; echo $$ > ${file("pid")}; while :; do sleep 1; done`);
    start({ down, timeoutMs: 3000 }).run(event());
    await logs(1);
    expect(logged[0]).toMatchObject({ reason: "did not end within 3000 ms" });
    await until("the process is gone", () => !isAlive(Number(written("pid")[0])));
  });

  it("does not wait for a child in the background that keeps the output open, nor ends it", async () => {
    const down = script("down", `sleep 1000 & echo $! >> ${file("child")}; echo done`);
    start({ down }).run(event());
    hooks.run(event());
    await logs(1);
    const child = Number(written("child")[0]);
    expect(logged[0]).toMatchObject({ level: "info", output: "done" });
    expect(isAlive(child)).toBe(true);
    await logs(2);
    expect(written("child")).toHaveLength(2);
    for (const pid of written("child")) process.kill(Number(pid));
  });
});

describe("events", () => {
  it("of an uplink are run one at a time in their order, those of another beside them", async () => {
    const slow = `if [ "$UPLINK" = isp1 ]; then until [ -e ${file("go")} ]; do sleep 0.02; done; fi`;
    const body = `echo "begin $UPLINK $REASON" >> ${file("got")}; ${slow}; echo "end $UPLINK $REASON" >> ${file("got")}`;
    const both = script("both", body);
    start({ up: both, down: both });
    hooks.run(event({ reason: "1" }));
    hooks.run(event({ reason: "2", action: "up" }));
    hooks.run(event({ reason: "3" }));
    hooks.run(event({ uplink: "isp2", reason: "4" }));
    await until("it has written", () => written("got").includes("end isp2 4"));
    expect(written("got").filter((line) => line.includes("isp1"))).toEqual(["begin isp1 1"]);
    writeFileSync(file("go"), "");
    await logs(4);
    expect(written("got").filter((line) => line.includes("isp1"))).toEqual(
      ["1", "2", "3"].flatMap((number) => [`begin isp1 ${number}`, `end isp1 ${number}`]),
    );
  });

  it("that wait behind a slow one are sixteen at most: the oldest are dropped with a warning", async () => {
    const body = `echo "$REASON" >> ${file("got")}; until [ -e ${file("go")} ]; do sleep 0.02; done`;
    start({ down: script("down", body) });
    for (let number = 0; number < 20; number++) hooks.run(event({ reason: String(number) }));
    expect(warnings().map(({ msg, uplink }) => [msg, uplink])).toEqual(
      Array(3).fill(["hook not run: 16 later events wait for the one that runs", "isp1"]),
    );
    writeFileSync(file("go"), "");
    await logs(3 + 17);
    expect(written("got")).toEqual(["0", ...Array.from({ length: 16 }, (_, index) => String(index + 4))]);
  });

  it("are run by the programs of the configuration that holds when they begin", async () => {
    const old = script("old", `echo old >> ${file("got")}; until [ -e ${file("go")} ]; do sleep 0.02; done`);
    start({ down: old });
    hooks.run(event());
    hooks.run(event());
    await until("it has written", () => written("got").length === 1);
    hooks.configure({ down: script("new", `echo new >> ${file("got")}`), timeoutMs: 20_000 });
    writeFileSync(file("go"), "");
    await logs(2);
    expect(written("got")).toEqual(["old", "new"]);
  });
});

describe("the end of the daemon", () => {
  it("ends what runs and begins nothing more", async () => {
    start({ down: script("down", `echo $$ >> ${file("got")}; sleep 1000`) });
    hooks.run(event());
    hooks.run(event({ reason: "waits" }));
    await until("it has written", () => written("got").length === 1);
    await hooks.stop();
    hooks.run(event());
    await sleep(50);
    expect(written("got")).toHaveLength(1);
    expect(isAlive(Number(written("got")[0]))).toBe(false);
    expect(logged.map(({ reason }) => reason)).toEqual(["ended because sluice ends"]);
  });
});
