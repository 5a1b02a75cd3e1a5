/** The command as a person runs it: bin/sluice, its output, its exit codes. */

import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Api, type ApiHandlers, RefusedError, startApi } from "../../../src/control/api.ts";
import type { UplinkReport } from "../../../src/control/report.ts";
import { Running, runCommand } from "../../support/process.ts";
import { sampleFlow, sampleHandlers, sampleStatus, sampleUplink } from "../../support/reports.ts";

const command = fileURLToPath(new URL("../../../bin/sluice", import.meta.url));
const flows = Array.from({ length: 20_000 }, (_, index) => sampleFlow({ sourcePort: index }));

let directory: string;
let socket: string;
let api: Api;
const daemons: Api[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "sluice-cli-"));
  socket = join(directory, "control.sock");
  const handlers = sampleHandlers({
    flows: async ({ uplink, limit }) =>
      flows.filter((flow) => uplink === undefined || flow.uplink === uplink).slice(0, limit),
  });
  api = await startApi(socket, handlers);
});

afterAll(async () => {
  for (const daemon of [api, ...daemons]) await daemon.close();
  rmSync(directory, { recursive: true });
});

const sluice = (...args: string[]) => runCommand([command, ...args], { mayFail: true });
const ask = (...args: string[]) => sluice(...args, "--socket", socket);

function write(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

/** Runs it on a terminal of 80 columns, as script(1) plays it; what the terminal got. Node takes a terminal of a CI for one without colours. */
async function onTerminal(words: string, env: Record<string, string> = {}, of = socket): Promise<string> {
  const typed = `stty cols 80 rows 24; exec ${command} ${words} --socket ${of}`;
  return (
    await runCommand(["env", "-u", "CI", "script", "-qec", typed, "/dev/null"], {
      mayFail: true,
      env: { TERM: "xterm", NO_COLOR: "", ...env },
    })
  ).stdout;
}

describe("the launcher", () => {
  it("runs from any directory and through a chain of links", async () => {
    symlinkSync(command, join(directory, "first"));
    symlinkSync("first", join(directory, "second"));
    const { stdout } = await runCommand(["sh", "-c", `cd / && ${directory}/second version`]);
    expect(stdout).toMatch(/^sluice \d+\.\d+\.\d+ \(Node 24\./);
  });

  it("says that 'npm ci' has not been run", async () => {
    const bare = join(directory, "checkout");
    mkdirSync(join(bare, "bin"), { recursive: true });
    copyFileSync(command, join(bare, "bin", "sluice"));
    const { status, stderr, stdout } = await runCommand([join(bare, "bin", "sluice"), "version"], { mayFail: true });
    expect([status, stdout, stderr]).toEqual([4, "", `sluice: its Node is missing; run 'npm ci' in ${bare}\n`]);
  });
});

describe("usage", () => {
  it.each([
    [["bogus"], /unknown command 'bogus'/],
    [["stauts"], /Did you mean status\?/],
    [["status", "--bogus"], /unknown option '--bogus'/],
    [["version", "extra"], /too many arguments/],
    [["flows", "--limit", "0"], /Expected a whole number from 1/],
    [["flows", "--limit", "many"], /Expected a whole number from 1/],
    [["check", "-c"], /argument missing/],
    [[], /^Usage: sluice/],
    [["uplink"], /^Usage: sluice uplink/],
    [["uplink", "drian", "isp1"], /Did you mean drain\?/],
    [["uplink", "drain"], /missing required argument 'name'/],
    [["uplink", "drain", "isp1", "--timeout", "5"], /Expected a duration such as 90s or 5m/],
    [["uplink", "weight", "isp1"], /missing required argument 'n'/],
    [["uplink", "weight", "isp1", "-5"], /Expected a whole number from 1/],
    [["uplink", "weight", "isp1", "much"], /Expected a whole number from 1/],
    [["explain", "192.168.10.2"], /missing required argument 'destination'/],
    [["explain", "192.168.10.2", "example.org:80"], /^sluice: destination "example.org:80" is not valid; expected an/],
    [["explain", "192.168.10.2", "192.0.2.10:80", "tpc"], /^sluice: protocol "tpc" is not known; expected icmp, tcp/],
  ])("that is wrong exits 2 and says so on stderr: %j", async (args, message) => {
    const { status, stdout, stderr } = await sluice(...args);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  it.each(["up", "check", "status", "flows", "explain", "uplink", "reload", "doctor"])(
    "of %s is explained with examples",
    async (name) => {
      const { status, stdout, stderr } = await sluice(name, "--help");
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(new RegExp(`^Usage: sluice ${name} [\\s\\S]*\nExamples:\n {2}sluice ${name}`));
    },
  );
});

describe("without a daemon", () => {
  it.each([
    "status",
    "flows",
    "reload",
    "uplink drain isp1 --wait",
    "uplink weight isp1 5",
    "explain 192.168.10.2 192.0.2.10:80",
  ])("%s exits 3 and names the socket", async (words) => {
    const { status, stdout, stderr } = await sluice(...words.split(" "), "--socket", `${directory}/none`);
    expect([status, stdout, stderr]).toEqual([3, "", `sluice: no sluice is running on ${directory}/none\n`]);
  });

  it("the socket of a named configuration is asked", async () => {
    const file = write(
      "other.yaml",
      `uplinks: [{ name: a, interface: wan0 }]\ncontrol: { socket: ${directory}/other }`,
    );
    expect((await sluice("status", "-c", file)).stderr).toContain(`running on ${directory}/other`);
    const broken = await sluice("status", "-c", write("broken.yaml", "uplinks: 3"));
    expect([broken.status, broken.stderr]).toEqual([
      2,
      expect.stringContaining("broken.yaml:1:10: uplinks: is of the wrong kind"),
    ]);
  });
});

describe("status", () => {
  it("is JSON that equals the daemon's report", async () => {
    const { status, stdout, stderr } = await ask("status", "--json");
    expect([status, stderr, JSON.parse(stdout)]).toEqual([0, "", sampleStatus()]);
  });

  it("in a pipe is a whole table without colours", async () => {
    const { status, stdout } = await ask("status");
    expect(status).toBe(0);
    expect(stdout).toContain("isp1    up     wan0       203.0.113.2   203.0.113.1       3   75.0%  75.0%");
    expect(stdout).not.toContain("\x1b");
  });

  it("on a terminal has colours, unless NO_COLOR is set, and keeps to its width", async () => {
    const coloured = await onTerminal("status");
    expect(coloured).toContain("\x1b[32mup");
    const plain = await onTerminal("status", { NO_COLOR: "1" });
    expect(plain).not.toContain("\x1b");
    expect(plain).toContain("isp2");
    expect(Math.max(...plain.split("\r\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});

describe("status --watch", () => {
  it("in a pipe gives one report after the other until it is told to stop", async () => {
    const watching = new Running([command, "status", "--watch", "--json", "--socket", socket]);
    await watching.waitFor(/\n.*\n/);
    expect(await watching.stop("SIGINT")).toBe(0);
    for (const line of watching.stdout.trim().split("\n")) expect(JSON.parse(line)).toEqual(sampleStatus());
  });

  it("gives the terminal back, and says why, when the daemon goes away", async () => {
    const other = join(directory, "short-lived.sock");
    const daemon = await startApi(other, sampleHandlers());
    const typed = `${command} status --watch --socket ${other}; echo "exit code $?"; stty -a`;
    const terminal = new Running(["script", "-qec", typed, "/dev/null"], { TERM: "xterm" });
    await terminal.waitFor(/isp2/);
    await daemon.close();
    await terminal.exited;
    const [before, after] = terminal.stdout.split("\x1b[?25h\x1b[?1049l");
    expect(before!.startsWith("\x1b[?1049h\x1b[?25l")).toBe(true);
    expect(after).toContain(`sluice: no sluice is running on ${other}`);
    expect(after).toContain("exit code 3");
    expect(after).toMatch(/[^-]icanon/);
  });
});

describe("flows", () => {
  it("is JSON, limited and of one uplink as asked", async () => {
    expect(JSON.parse((await ask("flows", "--json")).stdout)).toHaveLength(20_000);
    expect(JSON.parse((await ask("flows", "--json", "--limit", "2")).stdout)).toEqual(flows.slice(0, 2));
    expect(JSON.parse((await ask("flows", "--json", "--uplink", "isp2")).stdout)).toEqual([]);
  });

  it("is a table with one flow a line", async () => {
    const { stdout } = await ask("flows", "--limit", "1");
    expect(stdout).toBe(
      "PROTO  SOURCE          DESTINATION         UPLINK  MAPPED             STATE           AGE  IDLE     SENT  RECEIVED\n" +
        "tcp    192.168.10.2:0  198.51.100.200:443  isp1    203.0.113.2:17001  established  1m 01s    0s  1.23 kB   98.8 kB\n",
    );
  });

  it("of an uplink that is not there exits 2 and names those that are", async () => {
    const { status, stderr } = await ask("flows", "--uplink", "isp9");
    expect([status, stderr]).toEqual([2, 'sluice: there is no uplink named "isp9"; there are isp1, isp2\n']);
  });

  it("ends quietly when its reader has had enough", async () => {
    const pipe = `set -o pipefail; ${command} flows --socket ${socket} | head -n 2`;
    const { status, stdout, stderr } = await runCommand(["bash", "-c", pipe], { mayFail: true });
    expect([status, stdout.split("\n").length, stderr]).toEqual([0, 3, ""]);
  });
});

/** A daemon of its own for a test; its socket. */
async function daemonWith(more: Partial<ApiHandlers>): Promise<string> {
  const own = mkdtempSync(join(directory, "daemon-"));
  daemons.push(await startApi(join(own, "control.sock"), sampleHandlers(more)));
  return join(own, "control.sock");
}

describe("uplink", () => {
  it("orders, and says in a sentence what the uplink is then", async () => {
    const said = async (...words: string[]) => (await ask("uplink", ...words)).stdout;
    expect(await said("drain", "isp1")).toBe("isp1 is draining: 30 flows left\n");
    expect(await said("disable", "isp2")).toBe("isp2 is disabled\n");
    expect(await said("enable", "isp1")).toBe("isp1 is up, weight 3\n");
    expect(await said("weight", "isp1", "7")).toBe("isp1 is up, weight 7\n");
    expect(JSON.parse(await said("disable", "isp2", "--json"))).toMatchObject({ name: "isp2", state: "disabled" });
    expect(await onTerminal("uplink drain isp1")).toContain("isp1 is \x1b[33mdraining\x1b[39m: 30 flows left");
  });

  it.each([
    ["drain isp9", /^sluice: there is no uplink named "isp9"; there are isp1, isp2\n$/],
    ["weight isp1 10001", /^sluice: weight is "10001"; expected a whole number from 1 to 10000\n$/],
  ])("%s exits 2 and says what there is", async (words, message) => {
    const { status, stdout, stderr } = await ask("uplink", ...words.split(" "));
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  it("that the daemon cannot do exits 1 with its reason", async () => {
    const drain = () => Promise.reject(new RefusedError("isp1 is about to leave the configuration"));
    const { status, stderr } = await sluice("uplink", "drain", "isp1", "--socket", await daemonWith({ drain }));
    expect([status, stderr]).toEqual([1, "sluice: isp1 is about to leave the configuration\n"]);
  });
});

describe("uplink drain --wait", () => {
  /** Once drained, isp1 has so many flows at one look after the other. */
  function drainingBy(counts: number[], more: Partial<UplinkReport> = {}): Promise<string> {
    let looks = -1;
    const isp1 = () => {
      const openFlows = counts[Math.min(looks++, counts.length - 1)]!;
      // What is over waits for its time-out: nobody waits for that.
      return sampleUplink({ state: "draining", reason: "drained by the operator", flows: 99, openFlows, ...more });
    };
    return daemonWith({
      // Before, it is only asked for its uplinks' names.
      status: () => sampleStatus(looks < 0 ? {} : { uplinks: [isp1(), sampleUplink({ name: "isp2" })] }),
      drain: async () => {
        looks = 0;
        return sampleUplink({ state: "draining", flows: 99, openFlows: 12 });
      },
    });
  }

  it("shows the count going down, a line a change, and exits 0 when it is empty", async () => {
    const { status, stdout, stderr } = await sluice(
      "uplink",
      "drain",
      "isp1",
      "--wait",
      "--socket",
      await drainingBy([12, 12, 1, 0]),
    );
    expect([status, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(
      "isp1 is draining: 12 flows left\nisp1 is draining: 1 flow left\nisp1 is draining: 0 flows left\n",
    );
  });

  it("writes over one line on a terminal", async () => {
    const shown = await onTerminal("uplink drain isp1 --wait", { NO_COLOR: "1" }, await drainingBy([12, 1, 0]));
    expect(shown).toBe(
      `${["12 flows", "1 flow", "0 flows"].map((count) => `\r\x1b[Kisp1 is draining: ${count} left`).join("")}\r\n`,
    );
  });

  it("is a report a change with --json", async () => {
    const { stdout } = await sluice(
      "uplink",
      "drain",
      "isp1",
      "--wait",
      "--json",
      "--socket",
      await drainingBy([2, 0]),
    );
    const reports = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(reports.map(({ name, openFlows }) => [name, openFlows])).toEqual([
      ["isp1", 2],
      ["isp1", 0],
    ]);
  });

  it("exits 1 when the time is over, and says that the uplink stays draining", async () => {
    const { status, stderr } = await sluice(
      "uplink",
      "drain",
      "isp1",
      "--timeout",
      "700ms",
      "--socket",
      await drainingBy([5]),
    );
    expect([status, stderr]).toEqual([
      1,
      "sluice: isp1 still has 5 flows after 700ms; it stays draining ('sluice uplink enable isp1' takes it back)\n",
    ]);
  });

  it("exits 1 when somebody enables the uplink meanwhile", async () => {
    const { status, stderr } = await sluice(
      "uplink",
      "drain",
      "isp1",
      "--wait",
      "--socket",
      await drainingBy([5], { state: "up" }),
    );
    expect([status, stderr]).toEqual([1, "sluice: isp1 gets connections again: it is no longer draining\n"]);
  });

  it("exits 1 on Ctrl-C, with the prompt on a line of its own", async () => {
    const own = await drainingBy([5]);
    const waiting = new Running([command, "uplink", "drain", "isp1", "--wait", "--socket", own]);
    await waiting.waitFor(/5 flows left/);
    expect(await waiting.stop("SIGINT")).toBe(1);
    expect(waiting.stderr).toMatch(/^sluice: interrupted; it stays draining/);
  });
});

describe("reload", () => {
  it("prints what has changed, or that nothing has", async () => {
    expect((await ask("reload")).stdout).toBe("nothing has changed\n");
    const changed = ["uplink isp3 is new", "rules changed"];
    const own = await daemonWith({ reload: async () => ({ changed, problems: [] }) });
    const { status, stdout } = await sluice("reload", "--socket", own);
    expect([status, stdout]).toEqual([0, "uplink isp3 is new\nrules changed\n"]);
  });

  it("of a bad file exits 2 with every problem", async () => {
    const problems = ["f.yaml:1:1: uplinks: is missing", "f.yaml:2:1: nat: is of the wrong kind"];
    const own = await daemonWith({ reload: async () => ({ changed: [], problems }) });
    const { status, stdout, stderr } = await sluice("reload", "--socket", own);
    expect([status, stdout, stderr]).toEqual([
      2,
      "",
      `${problems.join("\n")}\nsluice: not reloaded: everything is as it was\n`,
    ]);
    const asJson = await sluice("reload", "--json", "--socket", own);
    expect([asJson.status, JSON.parse(asJson.stdout)]).toEqual([2, { changed: [], problems }]);
  });
});

describe("explain", () => {
  it("asks about the flow as typed, and is JSON if wanted", async () => {
    const { stdout } = await ask("explain", "192.168.10.2", "[192.0.2.10]:53", "udp", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      flow: {
        protocol: "udp",
        source: "192.168.10.2",
        sourcePort: null,
        destination: "192.0.2.10",
        destinationPort: 53,
      },
      uplink: "isp1",
    });
  });

  it("says in words which uplink and why", async () => {
    expect((await ask("explain", "192.168.10.2:51234", "198.51.100.200:443")).stdout).toMatch(
      /^tcp 192.168.10.2:51234 -> 198.51.100.200:443\ntakes isp1: the hash leads to isp1\n/,
    );
    expect(await onTerminal("explain 192.168.10.2 192.0.2.10")).toContain("takes \x1b[1misp1\x1b[22m");
  });
});

describe("check and up with a bad configuration", () => {
  it("print every problem with line, path, value and expectation, and exit 2", async () => {
    const file = write(
      "bad.yaml",
      "uplinks:\n  - { name: a, interface: wan0, weight: 0 }\n  - { name: a, interface: wan1, weihgt: 1 }\n",
    );
    for (const name of ["check", "up"]) {
      const { status, stdout, stderr } = await sluice(name, "-c", file);
      expect([name, status, stdout]).toEqual([name, 2, ""]);
      expect(stderr.split("\n").filter((line) => !line.includes(": warning: "))).toEqual([
        `${file}:2:41: uplinks[0].weight: is too small (got 0; expected a whole number from 1 to 10000)`,
        `${file}:3:13: uplinks[1].name: is also the name of uplinks[0] (got "a"; expected every uplink to have its own)`,
        expect.stringMatching(
          /bad.yaml:3:33: uplinks\[1\].weihgt: unknown key; did you mean weight\? \(got "weihgt"; expected one of /,
        ),
        "",
      ]);
    }
  });

  it("name a file that is not there", async () => {
    const { status, stderr } = await sluice("check", "-c", `${directory}/none.yaml`);
    expect([status, stderr]).toEqual([2, expect.stringContaining("none.yaml: there is no such file")]);
  });
});
