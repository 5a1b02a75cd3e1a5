import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createLog, type LogForm } from "../../../src/control/log.ts";
import { runCommand } from "../../support/process.ts";

function linesOf(form: LogForm, level: "trace" | "info" | "warn" | "silent" = "info") {
  const lines: string[] = [];
  return { log: createLog(level, form, (line) => void lines.push(line)), lines };
}

describe("the log", () => {
  it("is one JSON object a line where a program reads it, with the level's name and the time", () => {
    const { log, lines } = linesOf("json");
    log.warn({ uplink: "isp1", reason: "no carrier" }, "uplink is down");
    expect(lines).toHaveLength(1);
    expect(lines[0]!.endsWith("}\n")).toBe(true);
    const { time, ...rest } = JSON.parse(lines[0]!);
    expect(rest).toEqual({ level: "warn", uplink: "isp1", reason: "no carrier", msg: "uplink is down" });
    expect(new Date(time).toISOString()).toBe(time);
  });

  it("carries journald's priority in front under systemd", () => {
    const { log, lines } = linesOf("journal", "trace");
    for (const level of ["fatal", "error", "warn", "info", "debug", "trace"] as const) log[level]("x");
    expect(lines.map((line) => line.slice(0, 3))).toEqual(["<2>", "<3>", "<4>", "<6>", "<7>", "<7>"]);
    for (const line of lines) expect(JSON.parse(line.slice(3))).toMatchObject({ msg: "x" });
  });

  it("is readable on a terminal: clock, level, message, fields", () => {
    const { log, lines } = linesOf("terminal");
    log.info({ uplink: "isp1", reason: "no carrier", flows: 3 }, "uplink is down");
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d INFO {2}uplink is down {2}uplink=isp1 {2}reason="no carrier" {2}flows=3\n$/,
    );
  });

  it("lets nothing through that would forge a line or move the cursor", () => {
    const { log, lines } = linesOf("terminal");
    log.info({ name: "a\nfake=1", title: "\x1b[2J" }, "message");
    expect(lines[0]!.match(/\n/g)).toHaveLength(1);
    expect(lines[0]).not.toContain("\x1b[2J");
  });

  it("shows where an error came from", () => {
    const { log, lines } = linesOf("terminal");
    log.error({ err: new Error("worker 1 ended") }, "stopping");
    expect(lines[0]).toMatch(/ERROR stopping {2}Error: worker 1 ended\n {4}at /);
  });

  it("keeps to the level asked for", () => {
    const { log, lines } = linesOf("json", "warn");
    log.info("no");
    log.warn("yes");
    expect(lines).toHaveLength(1);
    const quiet = linesOf("json", "silent");
    quiet.log.fatal("no");
    expect(quiet.lines).toEqual([]);
  });
});

describe("the form of the log", () => {
  /** What a process logs to a file as its stderr, with the file's own name in JOURNAL_STREAM or another. */
  async function logged(journalStream: string): Promise<string> {
    const directory = mkdtempSync(join(tmpdir(), "sluice-log-"));
    const file = join(directory, "stderr");
    const module = new URL("../../../src/control/log.ts", import.meta.url).href;
    const program = `import("${module}").then(({ createLog }) => createLog("info").warn("hello"))`;
    const shell = `exec 2>"${file}"; JOURNAL_STREAM=${journalStream} exec "$0" -e '${program}'`;
    try {
      await runCommand(["sh", "-c", shell, join("node_modules", "node", "bin", "node")]);
      return readFileSync(file, "utf8");
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  it("is journald's only where stderr is the journal's own stream", async () => {
    expect(await logged("$(stat -Lc %d:%i /dev/fd/2)")).toMatch(/^<4>\{"level":"warn"/);
    // Inherited from a unit, but redirected since.
    expect(await logged("1:1")).toMatch(/^\{"level":"warn"/);
  });
});
