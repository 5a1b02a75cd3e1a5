/**
 * Another site on the lab's internet, with a router and a sluice of its own, for two hosts that are both
 * behind one:
 *
 *   client1 .2 ─ router (sluice) ─ isp1 | isp2 ─ server ─ 192.0.2.130/25 router (sluice) ─ 192.168.10.77 host
 *
 * The lab's server passes packets on between the providers and this site. Both LANs have the same network, as
 * homes do. The namespaces are called sluice-site-OWNER-HOST, where OWNER is the process that made them.
 */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { Lab } from "./lab.ts";
import { Running } from "./process.ts";

const sluiceCommand = fileURLToPath(new URL("../../bin/sluice", import.meta.url));

/** What the second site's router has on its uplink. */
export const siteAddress = "192.0.2.130";
const siteGateway = "192.0.2.129";
const siteRouterLan = "192.168.10.1";
export const siteHost = "192.168.10.77";

export class SecondSite {
  readonly #lab: Lab;
  readonly #processes: Running[] = [];
  readonly #exitHook = () => removeNamespaces(String(process.pid));

  private constructor(lab: Lab) {
    this.#lab = lab;
    process.on("exit", this.#exitHook);
  }

  /** Builds the site, whose router does not forward before `sluice`. One at a time in a process. */
  static async open(lab: Lab): Promise<SecondSite> {
    sweep();
    const site = new SecondSite(lab);
    try {
      await site.#build();
    } catch (error) {
      await site.close();
      throw error;
    }
    return site;
  }

  /** Starts `sluice up` with these keys beside the uplink and returns when it forwards; with what must never leave it being watched for. */
  async sluice(config: object): Promise<void> {
    const file = join(this.#lab.directory, "site.yaml");
    const uplinks = [{ name: "only", interface: "wan0" }];
    writeFileSync(file, stringify({ steer: { interfaces: ["lan0"], local: true }, uplinks, ...config }));
    const socket = join(this.#lab.directory, "site.sock");
    await this.#spawn("router", [sluiceCommand, "up", "-c", file, "--socket", socket]).waitFor(/is forwarding/, 30_000);
  }

  /** Starts a command in the site's host; it ends with the site. */
  spawn(command: readonly string[]): Running {
    return this.#spawn("host", command);
  }

  /** Watches the uplink; call the result to end that and get the packets that left it with another source than its own, one line each. */
  async sniff(): Promise<() => Promise<string>> {
    const filter = `ip and not src host ${siteAddress} and not dst host ${siteAddress}`;
    const tcpdump = this.#lab.spawn("server", ["tcpdump", "-i", "site", "-nn", "-l", "--immediate-mode", filter]);
    await tcpdump.waitFor(/listening on/);
    return async () => {
      if ((await tcpdump.stop("SIGINT")) !== 0) throw new Error(`tcpdump failed:\n${tcpdump.stderr}`);
      return tcpdump.stdout.trim();
    };
  }

  /** Ends what runs in the site and takes it away. */
  async close(): Promise<void> {
    for (const running of this.#processes.reverse()) await running.stop();
    process.off("exit", this.#exitHook);
    // A namespace's devices go after it, some time; the next site's shall not find this one's wire.
    await this.#lab.exec("server", ["ip", "link", "delete", "site"], { mayFail: true });
    removeNamespaces(String(process.pid));
  }

  #spawn(host: "router" | "host", command: readonly string[]): Running {
    const running = new Running(["ip", "netns", "exec", namespace(host), ...command]);
    this.#processes.push(running);
    return running;
  }

  async #build(): Promise<void> {
    const lab = this.#lab;
    const [router, host, server] = [namespace("router"), namespace("host"), lab.namespace("server")];
    for (const each of [router, host]) {
      ip(`netns add ${each}`);
      ip(`netns exec ${each} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1`);
      ip(`-n ${each} link set lo up`);
    }
    ip(`netns exec ${router} sysctl -qw net.ipv4.ip_forward=1`);
    ip(`link add site netns ${server} type veth peer name wan0 netns ${router}`);
    ip(`link add lan0 netns ${router} type veth peer name lan netns ${host}`);
    ip(`-n ${server} address add ${siteGateway}/25 dev site`);
    ip(`-n ${server} link set site up`);
    ip(`-n ${router} address add ${siteAddress}/25 dev wan0`);
    ip(`-n ${router} address add ${siteRouterLan}/24 dev lan0`);
    ip(`-n ${router} link set wan0 up`);
    ip(`-n ${router} link set lan0 up`);
    ip(`-n ${router} route add default via ${siteGateway}`);
    ip(`-n ${host} address add ${siteHost}/24 dev lan`);
    ip(`-n ${host} link set lan up`);
    ip(`-n ${host} route add default via ${siteRouterLan}`);
    await lab.exec("server", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    for (const [isp, via] of [
      ["isp1", "192.0.2.66"],
      ["isp2", "192.0.2.70"],
    ] as const) {
      ip(`-n ${lab.namespace(isp)} route replace 192.0.2.128/25 via ${via}`);
    }
  }
}

function namespace(host: "router" | "host"): string {
  return `sluice-site-${process.pid}-${host}`;
}

/** Takes away what a run left that was killed outright. */
function sweep(): void {
  const owners = namespaces().map((name) => name.split("-")[2]!);
  for (const owner of new Set(owners)) if (!isAlive(owner)) removeNamespaces(owner);
}

function isAlive(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8") !== "";
  } catch {
    return false;
  }
}

function removeNamespaces(owner: string): void {
  for (const name of namespaces()) {
    if (!name.startsWith(`sluice-site-${owner}-`)) continue;
    for (const pid of ip(`netns pids ${name}`).split("\n")) if (pid !== "") process.kill(Number(pid), "SIGKILL");
    ip(`netns delete ${name}`);
  }
}

function namespaces(): string[] {
  return readdirSync("/run/netns").filter((name) => /^sluice-site-\d+-(router|host)$/.test(name));
}

function ip(words: string): string {
  return execFileSync("ip", words.split(" "), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
