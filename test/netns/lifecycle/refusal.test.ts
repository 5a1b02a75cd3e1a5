/**
 * Starts that cannot succeed: each says what is missing and what to do, with its own exit code, and changes
 * nothing. Machines that lack something are played by mount namespaces. The topology is the lab's (scripts/lab).
 */

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { type Lab, openLab } from "../../support/lab.ts";
import { runCommand } from "../../support/process.ts";
import { smallConfig } from "./daemon.ts";
import { type Machine, readMachine } from "./machine.ts";

const command = fileURLToPath(new URL("../../../bin/sluice", import.meta.url));

let lab: Lab;
let before: Machine;
let file: string;
let socket: string;

beforeAll(async () => {
  lab = await openLab({ name: "refusal" });
  // An ordinary user must be able to read the file, or that would be the reason.
  chmodSync(lab.directory, 0o755);
  file = join(lab.directory, "sluice.yaml");
  socket = join(lab.directory, "control.sock");
  writeFileSync(file, stringify(smallConfig(lab)));
  before = await readMachine(lab);
});
afterAll(() => lab.close());

/** Runs `sluice up` behind the given words; returns its exit status and what it said, which no log line was. */
async function up(wrapper: string[] = [], config = file): Promise<{ status: number; said: string }> {
  const words = [...wrapper, command, "up", "-c", config, "--socket", socket];
  const { status, stdout, stderr } = await lab.exec("router", words, { mayFail: true });
  expect(stdout).toBe("");
  expect(await readMachine(lab)).toEqual(before);
  return { status, said: stderr };
}

/** A mount namespace of its own in which `hide` has been run. */
const without = (hide: string) => ["unshare", "--mount", "sh", "-ec", `${hide}; exec "$@"`, "sh"];
/** The directory as it is, without one file of it. */
const withoutFile = (directory: string, name: string) =>
  without(
    [
      "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work",
      `mount -t overlay -o lowerdir=${directory},upperdir=/mnt/upper,workdir=/mnt/work overlay ${directory}`,
      `rm ${directory}/${name}`,
    ].join("; "),
  );

describe("a start is refused with exit code 4", () => {
  it("without privileges, naming those that are missing and how to get them", async () => {
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const { status, said } = await up(nobody);
    expect(said).toMatch(/^sluice: privileges: CAP_NET_ADMIN, CAP_NET_RAW.* missing; run as root, or as a service/m);
    expect(status).toBe(4);
  });

  it("with CAP_NET_ADMIN alone, naming the rest", async () => {
    const { status, said } = await up(["setpriv", "--bounding-set=-all,+net_admin"]);
    expect(said).toMatch(/^sluice: privileges: CAP_NET_RAW.* missing; run as root/m);
    expect(status).toBe(4);
  });

  it("without /dev/net/tun, with the module that brings it", async () => {
    const { status, said } = await up(without("mount -t tmpfs tmpfs /dev/net"));
    expect(said).toMatch(/^sluice: TUN: .*ENOENT.*; modprobe tun; in a container, pass the device in/m);
    expect(status).toBe(4);
  });

  it.each([
    ["nft", "/usr/sbin", "nftables"],
    ["ip", "/usr/bin", "iproute2"],
  ])("without %s, with the package that brings it", async (program, directory, debianPackage) => {
    // Debian has ip in /usr/bin, and a link in /usr/sbin or none.
    const both = [
      "unshare",
      "--mount",
      "sh",
      "-ec",
      `[ ! -L /usr/sbin/${program} ] || mount --bind /dev/null /usr/sbin/${program}; exec "$@"`,
      "sh",
    ];
    const { status, said } = await up([...both, ...withoutFile(directory, program)]);
    expect(said).toContain(`sluice: ${program}: the program cannot be run; apt-get install ${debianPackage}\n`);
    expect(status).toBe(4);
  });
});

describe("a start is refused with exit code 2", () => {
  it("by a wrong configuration: every problem at once, with line, path, value and expectation", async () => {
    const wrong = join(lab.directory, "wrong.yaml");
    const text = `tun:
  name: sluice0
  address: 192.168.10.5/24
steer:
  interfaces: [lan9]
  locall: true
uplinks:
  - name: isp1
    interface: wan0
    weight: 0
  - name: isp1
    interface: wan1
    address: 198.51.100.300
nat:
  ports: 40000-30000
`;
    writeFileSync(wrong, text);
    const { status, said } = await up([], wrong);
    const problems = said.trim().split("\n");
    expect(problems).toEqual([
      expect.stringMatching(/:6:3: steer\.locall: .*unknown.*local/),
      expect.stringMatching(/:10:13: uplinks\[0\]\.weight: .*got 0; expected/),
      expect.stringMatching(/:11:11: uplinks\[1\]\.name: is also the name of uplinks\[0\] .*got "isp1"/),
      expect.stringMatching(/:13:14: uplinks\[1\]\.address: .*got "198\.51\.100\.300"; expected/),
      expect.stringMatching(/:15:10: nat\.ports: is reversed .*got "40000-30000"; expected the lower port first/),
    ]);
    expect(status).toBe(2);

    // What only this machine can tell comes when the file by itself is right.
    const right = { tun: { address: "192.168.10.5/24" }, steer: { interfaces: ["lan9"] } };
    writeFileSync(wrong, stringify(smallConfig(lab, right)));
    const next = await up([], wrong);
    expect(next.said).toMatch(/:\d+:12: tun\.address: collides with 192\.168\.10\.1\/24 on lan0/);
    expect(next.said).toMatch(/:\d+:7: steer\.interfaces\[0\]: there is no such interface; did you mean lan0\?/);
    expect(next.status).toBe(2);
    const check = await lab.exec("router", [command, "check", "-c", wrong], { mayFail: true });
    expect({ status: check.status, said: check.stderr }).toEqual(next);
  });

  it.each([
    [["up", "--bogus"], /^sluice: unknown option '--bogus'/],
    [["upp"], /^sluice: unknown command 'upp'/],
    [["flows", "--limit", "0"], /^sluice: .*--limit.* Expected a whole number from 1/],
    [["up", "-c", "/nonexistent.yaml"], /^\/nonexistent\.yaml: .*(no such file|ENOENT)/],
  ])("by %j", async (words, complaint) => {
    const { status, stderr } = await runCommand([command, ...words], { mayFail: true });
    expect(stderr).toMatch(complaint);
    expect(status).toBe(2);
  });
});

it("status and flows without a daemon say so and exit 3", async () => {
  for (const words of [["status"], ["status", "--json"], ["flows"]]) {
    const { status, stdout, stderr } = await runCommand([command, ...words, "--socket", socket], { mayFail: true });
    expect([status, stdout, stderr]).toEqual([3, "", `sluice: no sluice is running on ${socket}\n`]);
  }
});
