/**
 * Keeps the router's own stack from answering for the translator's ports.
 *
 * Packets for a translated port are addressed to this machine, so the kernel would take them for its
 * own and answer with RST or port unreachable. An nft chain at each uplink's ingress drops TCP and UDP
 * for those ports of the uplink's address; sluice's packet sockets still see them, since ETH_P_ALL
 * taps run before that hook.
 *
 * The table has the `owner` flag: it belongs to the process that made it and vanishes with it. That
 * process is an interactive `nft` at the end of a pipe of ours, which ends when the pipe does. So the
 * drop lives exactly as long as sluice, also through `kill -9`.
 *
 * Later fragments carry no port, and the kernel would collect those of every translated datagram
 * until they time out (30 s), in the same 4 MB that its own services' fragments need. A first fragment
 * that is dropped is therefore remembered (source, id, protocol; the set is bounded and forgets) and
 * its later fragments are dropped as well. Those that overtake their first, or find the set full, are
 * left to the kernel's queue, which is bounded: harmless.
 *
 * Of IPv6 the same: for the uplink's address the ports, fragments remembered by source and identification. The
 * whole of an uplink's prefix is dropped: the kernel would forward it to whoever has such an address inside.
 *
 * ICMP is left alone. Echo replies that match no socket are dropped by the kernel without an answer.
 * For errors about translated flows it finds no socket either and only counts them; a frag-needed
 * makes a path MTU exception only by way of the socket it concerns (held by a test).
 */

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { CommandError, commandEnvironment, run, startFailure } from "./command.ts";
import type { Config } from "./config-types.ts";
import { formatPrefix6, isIpv6 } from "./config-values.ts";
import type { UplinkSnapshot } from "./uplink-snapshot.ts";

export interface Firewall {
  readonly table: string;
  /**
   * Follows interfaces that came, went or were made again, and their addresses; does nothing when none
   * changed. Call it before the workers learn a new address. Throws when nft refuses.
   */
  refresh(config: Config, uplinks: readonly UplinkSnapshot[]): Promise<void>;
  close(): Promise<void>;
}

/** Before other ingress chains, so that nothing is spent on packets that are not the kernel's. */
const hookPriority = -500;
const fragmentSetSize = 65_535;
const answerMs = 5000;
const pollMs = 20;

/**
 * Drops the ports on every uplink that has an address. Throws with what nft said when it refuses.
 * `onLost`: the drop is gone before `close`, because nft ended. sluice must not go on like that.
 */
export async function openFirewall(
  config: Config,
  onLost: (reason: string) => void,
  uplinks: readonly UplinkSnapshot[],
): Promise<Firewall> {
  const table = tableName(config.tun.name);
  const nft = new InteractiveNft(onLost);
  let generation = 0;
  let shown = "";
  const refresh = async (config: Config, current: readonly UplinkSnapshot[]) => {
    const doors = current.filter(({ present, address, ipv6 }) => present && (address ?? ipv6.address) !== null);
    const wanted = JSON.stringify([
      doors.map(({ interface: device, ifindex, address, ipv6 }) => [
        device,
        ifindex,
        address,
        ipv6.address,
        ipv6.prefix,
      ]),
      config.forwards,
    ]);
    if (generation > 0 && wanted === shown) return;
    generation++;
    const chains = doors.map((door, index) => ({
      // New names with every generation: seeing them tells that the table is the new one.
      name: `uplink_${index}_${generation}`,
      device: door.interface,
      ...(door.address !== null && { ipv4: guardOf(config, door.name, door.address) }),
      ...(door.ipv6.address !== null && { ipv6: guardOf(config, door.name, door.ipv6.address) }),
      ...(door.ipv6.prefix !== null && { prefix6: formatPrefix6(door.ipv6.prefix) }),
    }));
    // What a host inside sends there is turned back by sluice, not answered here.
    const lanChains = config.steer.interfaces.map((device, index) => ({ name: `lan_${index}_${generation}`, device }));
    const replace = generation > 1 ? `delete table netdev ${table}; ` : "";
    nft.send(`${replace}${tableText(table, chains, lanChains)}`);
    await nft.untilThere(table, [
      ...chains.flatMap(({ name }) => [name, egressName(name)]),
      ...lanChains.map(({ name }) => name),
    ]);
    shown = wanted;
  };
  let last: Promise<void> = Promise.resolve();
  const firewall: Firewall = {
    table,
    refresh: (wanted, current) => {
      last = last.catch(() => {}).then(() => refresh(wanted, current));
      return last;
    },
    close: () => nft.close(),
  };
  try {
    await firewall.refresh(config, uplinks);
  } catch (error) {
    await nft.close();
    throw error;
  }
  return firewall;
}

/** One per TUN name. nft's names have letters, digits and underscores; anything else is spelled as its code. */
export function tableName(tun: string): string {
  return `sluice_${tun.replace(/[^A-Za-z0-9]/g, (character) => `_${character.codePointAt(0)!.toString(16)}_`)}`;
}

interface Chain {
  readonly name: string;
  readonly device: string;
  readonly ipv4?: Guard;
  readonly ipv6?: Guard;
  readonly prefix6?: string;
}

/** What the kernel's stack is kept from at one address. */
interface Guard {
  readonly address: string;
  /** As nft writes sets: "16384-32767, 8080". */
  readonly tcpPorts: string;
  readonly udpPorts: string;
}

interface LanChain {
  readonly name: string;
  readonly device: string;
}

function guardOf(config: Config, uplink: string, address: string): Guard {
  const portsOf = (protocol: "tcp" | "udp") => translatedPorts(config, uplink, protocol, isIpv6(address));
  return { address, tcpPorts: portsOf("tcp"), udpPorts: portsOf("udp") };
}

/** The NAT range, and what is forwarded on this uplink. */
function translatedPorts({ nat, forwards }: Config, uplink: string, protocol: "tcp" | "udp", ipv6: boolean): string {
  const forwarded = forwards.filter(
    ({ uplinks, protocols, to }) => uplinks.includes(uplink) && protocols.includes(protocol) && isIpv6(to) === ipv6,
  );
  return [nat, ...forwarded].map(({ firstPort, lastPort }) => `${firstPort}-${lastPort}`).join(", ");
}

/** The whole table on one line, which nft applies in one transaction. */
export function tableText(table: string, chains: readonly Chain[], lanChains: readonly LanChain[]): string {
  const sets = [
    ["fragments", fragmentKey],
    ["fragments6", fragmentKey6],
  ].map(
    ([name, key]) => `set ${name} { typeof ${key}; flags dynamic,timeout; timeout 30s; size ${fragmentSetSize}; }; `,
  );
  return `table netdev ${table} { flags owner; ${sets.join("")}${[...chains.map(chainText), ...lanChains.map((lan) => lanText(lan, chains))].join("")}}`;
}

const fragmentKey = "ip saddr . ip id . ip protocol";
const fragmentKey6 = "ip6 saddr . frag id";
/** Before any rule about ports, or nft takes the payload of later fragments for ports (seen on Linux 6.18). */
const acceptLaterFragments = "ip frag-off & 0x1fff != 0 accept";
const acceptLaterFragments6 = "frag frag-off != 0 accept";

function hookText(hook: "ingress" | "egress", device: string): string {
  if (!/^[^\s"\\*/]{1,15}$/.test(device)) throw new Error(`nft cannot be given the interface name ${device}`);
  return `type filter hook ${hook} device "${device}" priority ${hookPriority}; policy accept`;
}

function chainText({ name, device, ipv4, ipv6, prefix6 }: Chain): string {
  const rules = [
    hookText("ingress", device),
    ...(ipv4 === undefined ? [] : guardRules(ipv4)),
    ...(prefix6 === undefined ? [] : [`ip6 daddr ${prefix6} drop`]),
    ...(ipv6 === undefined ? [] : guardRules6(ipv6)),
  ];
  return `chain ${name} { ${rules.join("; ")}; }; ${egressText(name, device)}`;
}

function guardRules({ address, tcpPorts, udpPorts }: Guard): string[] {
  const translated = [`ip protocol tcp th dport { ${tcpPorts} }`, `ip protocol udp th dport { ${udpPorts} }`];
  return [
    `ip daddr != ${address} accept`,
    // Nearly every packet ends here: whole, and for a translated port.
    ...translated.map((ports) => `ip frag-off & 0x3fff == 0 ${ports} drop`),
    // 0x1fff: the offset, not 0 in later fragments. 0x2000: more fragments follow.
    `ip frag-off & 0x1fff != 0 ${fragmentKey} @fragments drop`,
    acceptLaterFragments,
    // A full set ends a rule without its verdict, so the drop is a rule of its own.
    ...translated.map((ports) => `ip frag-off & 0x2000 != 0 ${ports} update @fragments { ${fragmentKey} }`),
    ...translated.map((ports) => `ip frag-off & 0x2000 != 0 ${ports} drop`),
  ];
}

/** `meta l4proto` and `th` look behind extension headers. */
function guardRules6({ address, tcpPorts, udpPorts }: Guard): string[] {
  const translated = [`meta l4proto tcp th dport { ${tcpPorts} }`, `meta l4proto udp th dport { ${udpPorts} }`];
  return [
    `ip6 daddr != ${address} accept`,
    `frag frag-off != 0 ${fragmentKey6} @fragments6 drop`,
    acceptLaterFragments6,
    ...translated.map((ports) => `frag more-fragments 1 ${ports} update @fragments6 { ${fragmentKey6} }`),
    ...translated.map((ports) => `meta protocol ip6 ${ports} drop`),
  ];
}

function lanText({ name, device }: LanChain, uplinks: readonly Chain[]): string {
  const rules = uplinks.flatMap(({ ipv4, ipv6 }) => [
    ...(ipv4 === undefined ? [] : lanRules("ip", "ip protocol", ipv4)),
    ...(ipv6 === undefined ? [] : lanRules("ip6", "meta l4proto", ipv6)),
  ]);
  const first = [hookText("ingress", device), acceptLaterFragments, acceptLaterFragments6];
  return `chain ${name} { ${[...first, ...rules].join("; ")}; }; `;
}

function lanRules(family: string, protocol: string, { address, tcpPorts, udpPorts }: Guard): string[] {
  return [
    `${family} daddr ${address} ${protocol} tcp th dport { ${tcpPorts} } drop`,
    `${family} daddr ${address} ${protocol} udp th dport { ${udpPorts} } drop`,
  ];
}

/** Nobody here says "protocol unreachable" to GRE, ESP or SCTP that is for a host inside. */
function egressText(name: string, device: string): string {
  return `chain ${egressName(name)} { ${hookText("egress", device)}; icmp type destination-unreachable icmp code prot-unreachable drop; icmpv6 type parameter-problem icmpv6 code 1 drop; }; `;
}

function egressName(name: string): string {
  return `${name}_out`;
}

/** An `nft -i` that lives as long as this process, in a session of its own so that Ctrl-C does not reach it. */
class InteractiveNft {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<void>;
  /** What nft said since the last command. */
  #complaint = "";
  #end: string | null = null;
  #closing = false;

  constructor(onLost: (reason: string) => void) {
    this.#child = spawn("nft", ["-i"], { stdio: ["pipe", "pipe", "pipe"], detached: true, env: commandEnvironment });
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.#complaint = (this.#complaint + chunk.toString()).slice(0, 2000);
    });
    this.#child.stdout.resume();
    // Writing to an nft that is gone: its end says more than EPIPE.
    this.#child.stdin.on("error", () => {});
    this.#child.on("error", (error) => {
      this.#complaint = startFailure("nft", error);
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => {
        this.#end = this.#complaint.trim() || (signal === null ? `exit code ${code}` : `ended by ${signal}`);
        if (!this.#closing) onLost(`nft, which holds the drop of the translator's ports, ended: ${this.#end}`);
        resolve();
      });
    });
  }

  send(line: string): void {
    this.#complaint = "";
    this.#child.stdin.write(`${line}\n`);
  }

  /** Waits until the table has exactly these chains; throws when nft complains, ends, or does not get there. */
  async untilThere(table: string, chains: readonly string[]): Promise<void> {
    const wanted = [...chains].sort().join(" ");
    const deadline = performance.now() + answerMs;
    while (performance.now() < deadline) {
      if (this.#end !== null) throw new Error(`nft -i: ${this.#end}`);
      if (this.#complaint !== "") throw new Error(`nft -i: ${this.#complaint.trim()}`);
      if ((await chainsOf(table)) === wanted) return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`nft -i: the table ${table} did not appear within ${answerMs} ms`);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), answerMs);
    await this.#ended;
    clearTimeout(timer);
  }
}

/**
 * The table's chains; null while there is no such table. Read from the text: nft 1.0.6 has no word for
 * the owner flag in JSON and prints stray memory in its place.
 */
async function chainsOf(table: string): Promise<string | null> {
  try {
    const text = await run("nft", ["--terse", "list", "table", "netdev", table]);
    const names = Array.from(text.matchAll(/^\s*chain (\S+) \{$/gm), ([, name]) => name);
    return names.sort().join(" ");
  } catch (error) {
    if (error instanceof CommandError && error.stderr.includes("No such file or directory")) return null;
    throw error;
  }
}
