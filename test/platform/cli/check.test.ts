/**
 * What `check`, `doctor` and `up` say about a machine. Every command runs in a network namespace of its own
 * that vanishes with it:
 *
 *     lan0   192.168.10.1/24       wan0   203.0.113.2/24, default route by 203.0.113.1
 *     wan1   no address            far0 to far2: the other ends
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunResult, runCommand } from "../../support/process.ts";

const command = fileURLToPath(new URL("../../../bin/sluice", import.meta.url));
const network = `
  set -e
  for pair in lan0:far0 wan0:far1 wan1:far2; do ip link add \${pair%:*} type veth peer name \${pair#*:}; done
  for device in lo lan0 wan0 wan1 far0 far1 far2; do ip link set $device up; done
  ip addr add 192.168.10.1/24 dev lan0
  ip addr add 203.0.113.2/24 dev wan0
  ip route add default via 203.0.113.1
  sysctl -qw net.ipv4.ip_forward=1
  set +e`;
const good = "steer: { interfaces: [lan0] }\nuplinks: [{ name: isp1, interface: wan0 }]\n";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sluice-check-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

/** Runs `sluice ARGUMENTS -c FILE` after `more` shell commands; "%" in the arguments stands for the command. */
function sluice(args: string, config: string, more = ""): Promise<RunResult> {
  const file = join(directory, "sluice.yaml");
  writeFileSync(file, config);
  const line = args.includes("%") ? args.replace("%", command) : `${command} ${args}`;
  const script = `${network}\n${more}\ncd ${directory} && ${line} -c sluice.yaml`;
  return runCommand(["unshare", "--net", "--mount", "sh", "-c", script], { mayFail: true });
}

async function problems(config: string, more = ""): Promise<string[]> {
  return (await sluice("check", config, more)).stderr.trim().split("\n");
}

describe("IPv6", () => {
  const addressed = "ip addr add 2001:db8:1::2/64 dev wan0 nodad; ip -6 route add default via fe80::1 dev wan0";
  const forwarding = "sysctl -qw net.ipv6.conf.all.forwarding=1";

  it("is asked about by doctor where an uplink has it", async () => {
    expect((await sluice("doctor", good)).stdout).not.toContain("net.ipv6");
    const off = await sluice("doctor", good, addressed);
    expect(off.stdout).toMatch(/^note .*net.ipv6.conf.all.forwarding: 0: no IPv6 from steer.interfaces is forwarded/m);
    const deaf = await sluice("doctor", good, `${addressed}; ${forwarding}`);
    expect(deaf.stdout).toMatch(/net.ipv6.conf.wan0.accept_ra: 1: router advertisements are ignored/);
    const fine = await sluice("doctor", good, `${addressed}; ${forwarding}; sysctl -qw net.ipv6.conf.wan0.accept_ra=2`);
    expect(fine.stdout).toMatch(/^ok {4}net.ipv6.conf.all.forwarding: 1$/m);
    expect(fine.stdout).not.toContain("accept_ra");
    const without = good.replace("wan0 }", "wan0, ipv6: false }");
    expect((await sluice("doctor", without, addressed)).stdout).not.toContain("net.ipv6");
  });

  it("is missed by check only where the configuration says something about it", async () => {
    const asking = (ipv6: string) => good.replace("wan0 }", `wan0, ipv6: ${ipv6} }`);
    expect((await sluice("check", asking("true"))).stderr).toBe("");
    expect(await problems(asking("{ address: '2001:db8:1::3' }"), addressed)).toEqual([
      expect.stringContaining("IPv6 on the uplink is down at present: address 2001:db8:1::3 is not on wan0"),
    ]);
    expect(await sluice("check", asking("{ address: '2001:db8:1::2' }"), addressed)).toMatchObject({ stderr: "" });
  });
});

describe("check against the machine", () => {
  it("finds nothing wrong where everything is there", async () => {
    expect(await sluice("check", good)).toEqual({ status: 0, stdout: "sluice.yaml: no problems\n", stderr: "" });
  });

  it("names interfaces that are missing, and those that are there", async () => {
    const config = "steer: { interfaces: [lan1] }\nuplinks: [{ name: isp1, interface: ppp0 }]\n";
    const { status, stdout, stderr } = await sluice("check", config);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr.trim().split("\n")).toEqual([
      expect.stringMatching(
        /^sluice.yaml:1:23: steer.interfaces\[0\]: there is no such interface; did you mean lan0\? \(got "lan1"; expected one of .*wan1/,
      ),
      expect.stringMatching(
        /^sluice.yaml:2:36: uplinks\[0\].interface: there is no such interface \(got "ppp0"; expected one of /,
      ),
    ]);
  });

  it("refuses a TUN name that is taken and a TUN subnet that collides", async () => {
    expect(await problems(`${good}tun: { name: wan1, address: 192.168.10.129/25 }`)).toEqual([
      'sluice.yaml:3:14: tun.name: is the name of a device that exists already (got "wan1"; expected a free name; sluice creates the device)',
      expect.stringMatching(/^sluice.yaml:3:29: tun.address: collides with 192.168.10.1\/24 on lan0/),
    ]);
    expect(await problems(good, "ip addr add 10.255.255.9 peer 10.255.255.2 dev wan1")).toEqual([
      expect.stringMatching(/^sluice.yaml:1:1: tun.address: collides with 10.255.255.2\/32 on wan1/),
    ]);
  });

  it("warns about an uplink that could not send now, for it may later", async () => {
    const config =
      "steer: { local: true }\nuplinks:\n  - { name: isp1, interface: wan0 }\n  - { name: isp2, interface: wan1 }\n";
    const { status, stderr } = await sluice("check", config);
    expect([status, stderr]).toEqual([
      0,
      'sluice.yaml:4:30: warning: uplinks[1].interface: the uplink is down at present: no address (got "wan1")\n',
    ]);
  });

  it("warns about a gateway outside of the interface's network, and ports that the kernel gives away", async () => {
    const config = `steer: { local: true }\nuplinks: [{ name: isp1, interface: wan0, gateway: 198.51.100.1 }]\nnat: { ports: 30000-40000 }\n`;
    expect(await problems(config)).toEqual([
      expect.stringMatching(
        /^sluice.yaml:2:51: warning: uplinks\[0\].gateway: is outside wan0's own network .* 203.0.113.2\/24/,
      ),
      expect.stringMatching(
        /^sluice.yaml:3:15: warning: nat.ports: overlaps net.ipv4.ip_local_port_range \(32768-60999\)/,
      ),
    ]);
  });
});

describe("probes and hooks against the machine", () => {
  const probing = (probe: string, device = "wan0") =>
    `steer: { interfaces: [lan0] }\nuplinks: [{ name: isp1, interface: ${device}, probe: ${probe} }]\n`;
  const messages = async (config: string, more = "") =>
    (await problems(config, more)).map((line) => line.replace(/^sluice.yaml:\d+:\d+: /, ""));

  it("have no target on this machine or inside", async () => {
    const targets = "[203.0.113.2, '2001:db8:1::2', 192.168.10.77, 'fd00:10::77', 203.0.113.1, 'fe80::1', 192.0.2.10]";
    const ipv6 = "ip addr add 2001:db8:1::2/64 dev wan0 nodad; ip addr add fd00:10::1/64 dev lan0 nodad";
    expect(await messages(probing(`{ targets: ${targets} }`), ipv6)).toEqual([
      expect.stringMatching(
        /targets\[0\]: is this machine's own address on wan0 \(got "203.0.113.2"; expected an address/,
      ),
      expect.stringMatching(/targets\[1\]: is this machine's own address on wan0/),
      expect.stringMatching(/targets\[2\]: lies in the network of lan0, which is inside/),
      expect.stringMatching(/targets\[3\]: lies in the network of lan0, which is inside/),
    ]);
    const page = "{ type: http, targets: ['http://192.168.10.77/'] }";
    expect(await messages(probing(page))).toEqual([expect.stringMatching(/targets\[0\]: lies in the network of lan0/)]);
  });

  it("need a target on a point-to-point link, and Ethernet for ARP", async () => {
    const tunnel =
      "ip tuntap add tun7 mode tun; ip addr add 203.0.113.9 peer 203.0.113.10 dev tun7; ip link set tun7 up";
    const errors = async (probe: string) =>
      (await messages(probing(probe, "tun7"), tunnel)).filter((line) => !line.startsWith("warning"));
    expect(await errors("{}")).toEqual([
      "uplinks[0].probe: has nobody to ask: tun7 is a point-to-point link (expected targets)",
    ]);
    expect(await errors("{ type: arp, targets: [203.0.113.10] }")).toEqual([
      'uplinks[0].probe.type: is not answered on tun7, which is no Ethernet (got "arp"; expected icmp)',
    ]);
    expect(await errors("{ targets: [192.0.2.10] }")).toEqual([]);
  });

  it("may name a program that is not there, or none, which is warned about", async () => {
    const hooks = "hooks: { up: /bin/true, down: /nothing/here, degraded: /etc/passwd, address: /etc }";
    expect(await messages(`${good}${hooks}`)).toEqual([
      'warning: hooks.down: there is no such file (got "/nothing/here"; expected an executable file)',
      'warning: hooks.degraded: is not executable (got "/etc/passwd"; expected an executable file)',
      'warning: hooks.address: is no file (got "/etc"; expected an executable file)',
    ]);
  });
});

describe("doctor", () => {
  it("finds everything needed here, and leaves no device behind", async () => {
    const { status, stdout } = await sluice("sh -c '% doctor \"$@\"; ip -brief link' doctor", good);
    expect(status).toBe(0);
    expect(stdout).not.toContain("FAIL");
    expect(stdout).toMatch(/^ok {4}TUN: queues with vnet headers/m);
    expect(stdout).toMatch(/^ok {4}net.ipv4.ip_forward: 1$/m);
    expect(stdout).not.toContain("probe-");
    expect(stdout).toContain("far2");
  });

  it("advises to forward when the LAN is steered and the kernel does not", async () => {
    const { status, stdout } = await sluice("doctor --json", good, "sysctl -qw net.ipv4.ip_forward=0");
    const items = JSON.parse(stdout) as { name: string }[];
    expect(status).toBe(0);
    expect(items.find(({ name }) => name === "net.ipv4.ip_forward")).toMatchObject({
      ok: false,
      needed: false,
      fix: expect.stringContaining("sysctl -w net.ipv4.ip_forward=1"),
    });
  });

  it("judges the machine also when the file is broken, and says both", async () => {
    const { status, stdout, stderr } = await sluice("doctor", "uplinks: 3");
    expect(status).toBe(2);
    expect(stdout).toMatch(/^ok {4}ip: /m);
    expect(stderr).toContain("sluice.yaml:1:10: uplinks: is of the wrong kind");
  });
});

describe("up", () => {
  it("without privileges exits 4 and says which, and how to get them", async () => {
    const { status, stderr } = await sluice("setpriv --bounding-set=-all --inh-caps=-all % up", `${good}workers: 2`);
    expect(status).toBe(4);
    expect(stderr).toMatch(/^sluice: privileges: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF missing; run as root, or /m);
  });

  it("without /dev/net/tun exits 4 and says how to get it", async () => {
    const { status, stderr } = await sluice("up", good, "mount -t tmpfs none /dev/net");
    expect([status, stderr]).toEqual([
      4,
      expect.stringMatching(/^sluice: TUN: .*ENOENT.*\(open \/dev\/net\/tun\); modprobe tun/),
    ]);
  });

  it.each(["ip", "nft"])("without %s exits 4 and names the package", async (program) => {
    const hide = `mount --bind /dev/null "$(command -v ${program})"`;
    const { status, stderr } = await sluice("up", good, hide);
    expect(status).toBe(4);
    expect(stderr).toMatch(
      new RegExp(`^sluice: ${program}: the program cannot be run; apt-get install (iproute2|nftables)`, "m"),
    );
  });

  it("with a problem on the machine exits 2 and touches nothing", async () => {
    const { status, stdout, stderr } = await sluice(
      "sh -c '% up \"$@\"; echo $?; ip rule; ip route show table all proto 83; nft list ruleset; ip -brief link' up",
      good.replace("wan0", "wan9"),
    );
    expect([status, stderr]).toEqual([
      0,
      expect.stringMatching(/^sluice.yaml:2:36: uplinks\[0\].interface: there is no such/),
    ]);
    expect(stdout).toMatch(/^2\n0:\tfrom all lookup local\s*\n32766:.*\n32767:.*\nlo /);
    expect(stdout).not.toContain("sluice0");
  });
});
