/**
 * sluice as systemd runs it: its messages at the right moments, and the capabilities of share/sluice.service,
 * no more. systemd's side of the notify protocol is played by a few lines of Perl. The topology is the lab's (scripts/lab).
 */

import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { type Running, runCommand } from "../../support/process.ts";
import { Sluice } from "../../support/sluice.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { connectTimes, kinds, serve } from "./load.ts";
import { type Machine, readMachine } from "./machine.ts";
import { until } from "./until.ts";

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const unit = readFileSync(path("share/sluice.service"), "utf8");
const hasSystemd = existsSync("/usr/bin/systemd-notify");
const watchdogMs = 600;
/** recv without ancillary data: the descriptor that systemd-notify waits for (BARRIER=1) is closed with the message. */
const listener = `
  use Socket; $| = 1;
  socket(S, AF_UNIX, SOCK_DGRAM, 0) && bind(S, sockaddr_un($ARGV[0])) || die $!;
  print "bound\\n";
  while (defined recv(S, $message, 4096, 0)) { print "$message\\n"; }`;

let lab: Lab;
let before: Machine;

beforeAll(async () => {
  lab = await openLab({ name: "systemd", masquerade: true });
  await serve(lab);
  before = await readMachine(lab);
});
afterAll(() => lab.close());

describe.skipIf(!hasSystemd)("systemd", () => {
  let number = 0;

  /** Its end of the socket, and the environment that it starts services with. */
  async function manager(): Promise<{ heard: Running; env: Record<string, string> }> {
    const socket = join(lab.directory, `notify-${number++}`);
    const heard = lab.spawn("router", ["perl", "-e", listener, socket]);
    await heard.waitFor(/bound/);
    return { heard, env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: String(watchdogMs * 1000) } };
  }

  const signsOfLife = (heard: Running) => heard.stdout.split("WATCHDOG=1").length - 1;

  it("hears READY when traffic is forwarded, signs of life, and STOPPING before anything is undone", async () => {
    const { heard, env } = await manager();
    const sluice = new Sluice(lab, { config: smallConfig(lab, { workers: 2 }), env });
    await heard.waitFor(/READY=1/);
    expect(kinds(await connectTimes(lab, 30))).toEqual(["isp1", "isp2"]);
    expect(heard.stdout).toContain("STATUS=2 workers, 2 of 2 uplinks up");
    await until(() => signsOfLife(heard) >= 5);
    expect(heard.stdout).not.toContain("STOPPING");
    expect(await sluice.stop()).toBe(0);
    expect(heard.stdout).toContain("STOPPING=1");
    expect(await readMachine(lab)).toEqual(before);
  });

  it("hears no more signs of life when a worker hangs", async () => {
    const { heard, env } = await manager();
    const order = join(lab.directory, "order-hangs");
    const sabotage = { NODE_OPTIONS: `--import=${path("test/netns/lifecycle/sabotage.ts")}`, SABOTAGE: order };
    const sluice = await startSluice(lab, smallConfig(lab, { workers: 2 }), { env: { ...env, ...sabotage } });
    await until(() => signsOfLife(heard) >= 3);
    writeFileSync(order, "hangs");
    let signs = -1;
    await until(async () => {
      const earlier = signs;
      signs = signsOfLife(heard);
      await new Promise((resolve) => setTimeout(resolve, 3 * watchdogMs));
      return signs === earlier;
    });
    expect(heard.stdout).not.toContain("STOPPING");
    // What systemd does then, with SIGABRT; the next start finds the journal.
    await sluice.kill9();
    const next = await startSluice(lab, smallConfig(lab), { args: ["--socket", sluice.socket] });
    expect(await next.stop()).toBe(0);
    expect(await readMachine(lab)).toEqual(before);
  });
});

describe("share/sluice.service", () => {
  const capabilities = /^AmbientCapabilities=(.*)$/m
    .exec(unit)![1]!
    .toLowerCase()
    .replaceAll("cap_", "+")
    .replaceAll(" ", ",");
  const privileges = ["--no-new-privs", `--bounding-set=-all,${capabilities}`, `--inh-caps=-all,${capabilities}`];
  const user = ["--reuid=65534", "--regid=65534", "--clear-groups", `--ambient-caps=-all,${capabilities}`];

  // As systemd does: the runtime directory is the service's own, all else is read-only (ProtectSystem=strict).
  const mounts = (uid: number) => [
    "mkdir -p /run/sluice",
    `mount -t tmpfs -o uid=${uid} tmpfs /run/sluice`,
    "mount -o remount,bind,ro /",
  ];
  // udev makes the TUN everybody's.
  const anybodysTun = ["mount -t tmpfs tmpfs /dev/net", "mknod -m 666 /dev/net/tun c 10 200"];

  it.each([
    ["root", privileges, mounts(0)],
    ["a user", [...privileges, ...user], [...mounts(65_534), ...anybodysTun]],
  ])("names all the capabilities, and leaves all the room, that %s needs", async (_who, words, prepare) => {
    chmodSync(lab.directory, 0o755);
    const file = join(lab.directory, "sluice.yaml");
    writeFileSync(file, JSON.stringify(smallConfig(lab, { workers: 2 })));
    const start = ["unshare", "--mount", "sh", "-ec", `${prepare.join("; ")}; exec setpriv "$@"`, "sh", ...words];
    const sluice = lab.spawn("router", [...start, path("bin/sluice"), "up", "-c", file]);
    await sluice.waitFor(/sluice is forwarding/, 20_000);
    // CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF.
    expect(readFileSync(`/proc/${sluice.pid}/status`, "utf8")).toMatch(/^CapEff:\s+0000008000003000$/m);
    expect(kinds(await connectTimes(lab, 30))).toEqual(["isp1", "isp2"]);
    await lab.exec("router", ["ip", "link", "set", "wan1", "mtu", "1400"]);
    await sluice.waitFor(/uplink has another MTU/);
    await lab.exec("router", ["ip", "link", "set", "wan1", "mtu", "1500"]);
    expect(await sluice.stop()).toBe(0);
    expect(sluice.output.split("\n").filter((line) => /"level":"(warn|error)"/.test(line))).toEqual([]);
    expect(await readMachine(lab)).toEqual(before);
  });

  it("is understood by systemd", async ({ skip }) => {
    if (!existsSync("/usr/bin/systemd-analyze")) skip();
    const file = join(lab.directory, "sluice.service");
    writeFileSync(file, unit.replaceAll("=/usr/local/bin/sluice", `=${path("bin/sluice")}`));
    const { status, stdout, stderr } = await runCommand(["systemd-analyze", "verify", file], { mayFail: true });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
  });
});
