/** systemd's side of the protocol is a datagram socket, played here by a few lines of Perl, which every Debian has. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLog } from "../../../src/control/log.ts";
import { createNotifier } from "../../../src/control/notify.ts";
import { Running } from "../../support/process.ts";

const listener = `
  use Socket; $| = 1;
  socket(S, AF_UNIX, SOCK_DGRAM, 0) && bind(S, sockaddr_un($ARGV[0])) || die $!;
  print "bound\\n";
  while (defined recv(S, $message, 4096, 0)) { $message =~ s/\\n/ | /g; print "got: $message\\n"; }`;
const hasSystemd = existsSync("/usr/bin/systemd-notify") || existsSync("/bin/systemd-notify");

let directory: string;
let socket: string;
let manager: Running;
let logged: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "sluice-notify-"));
  socket = join(directory, "notify");
  manager = new Running(["perl", "-e", listener, socket]);
  logged = [];
  await manager.waitFor(/bound/);
});

afterEach(async () => {
  await manager.stop();
  rmSync(directory, { recursive: true });
});

const notifier = (environment: NodeJS.ProcessEnv) =>
  createNotifier(
    createLog("info", "json", (line) => void logged.push(line)),
    environment,
  );

const messages = () =>
  [...manager.stdout.matchAll(/^got: (.*)$/gm)].map((match) => match[1]!).filter((text) => !text.includes("BARRIER"));

describe.skipIf(!hasSystemd)("systemd", () => {
  it("is told in order that sluice is ready, how it does and that it stops", async () => {
    const systemd = notifier({ NOTIFY_SOCKET: socket });
    systemd.ready("2 of 2\nuplinks up");
    systemd.status("1 of 2 uplinks up");
    await systemd.stopping();
    await manager.waitFor(/STOPPING/);
    expect(messages()).toEqual([
      expect.stringMatching(/READY=1 \| STATUS=2 of 2 uplinks up/),
      expect.stringMatching(/^STATUS=1 of 2 uplinks up/),
      expect.stringMatching(/STOPPING=1/),
    ]);
    expect(logged).toEqual([]);
  });

  it("gets signs of life for as long as there is life", async () => {
    let alive = true;
    const systemd = notifier({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: "60000", WATCHDOG_PID: String(process.pid) });
    systemd.startWatchdog(() => alive);
    await manager.waitFor(/WATCHDOG=1[\s\S]*WATCHDOG=1/);
    alive = false;
    systemd.status("the last message before silence");
    await manager.waitFor(/the last message/);
    const signs = messages().length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(messages()).toHaveLength(signs);
    await systemd.stopping();
  });

  it("gets no signs of life that it did not ask this process for", async () => {
    for (const watchdog of [{}, { WATCHDOG_USEC: "10000", WATCHDOG_PID: "1" }, { WATCHDOG_USEC: "x" }]) {
      const systemd = notifier({ NOTIFY_SOCKET: socket, ...watchdog });
      systemd.startWatchdog(() => true);
      await new Promise((resolve) => setTimeout(resolve, 50));
      await systemd.stopping();
    }
    await manager.waitFor(/(STOPPING[\s\S]*){3}/);
    expect(manager.stdout).not.toContain("WATCHDOG");
  });

  it("being deaf is complained about once, and is no reason to fail", async () => {
    const systemd = notifier({ NOTIFY_SOCKET: join(directory, "nobody") });
    systemd.ready("fine");
    systemd.status("fine");
    await systemd.stopping();
    expect(logged.map((line) => JSON.parse(line).msg)).toEqual(["systemd could not be told"]);
  });
});

describe("without systemd", () => {
  it("nothing is sent and nothing is complained about", async () => {
    const systemd = notifier({ WATCHDOG_USEC: "1000" });
    systemd.ready("fine");
    systemd.startWatchdog(() => true);
    await systemd.stopping();
    expect([manager.stdout, logged]).toEqual(["bound\n", []]);
  });
});
