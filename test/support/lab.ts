/**
 * The lab (scripts/lab, which draws its topology) for tests and benchmarks.
 *
 *     const lab = await openLab({ name: "udp" });
 *     afterAll(() => lab.close());
 *     const sluice = await lab.sluice(config);
 *     const sniffer = await lab.sniff();
 *     await lab.exec("client1", ["ping", "-c", "1", server]);
 *     expect(await sniffer.stop()).toEqual([]);
 *
 * Everything a lab started ends with it: `close` ends the daemons, sniffers and processes, then takes the
 * namespaces away; if the process exits without that, an exit hook does; if it is killed outright, the next
 * `scripts/lab sweep` does, because the lab knows its owner.
 */

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Running, type RunOptions, type RunResult, runCommand } from "./process.ts";
import { Sluice, type SluiceOptions } from "./sluice.ts";
import { Sniffer, type SniffOptions } from "./sniffer.ts";
import type { Host, Isp } from "./topology.ts";

const labScript = fileURLToPath(new URL("../../scripts/lab", import.meta.url));

export * from "./topology.ts";

export interface LabOptions {
  /** Tells the labs of different test files apart. The process number is added, so that two runs do not meet either. */
  name: string;
  uplinks?: 2 | 3;
  /** IPv6 beside IPv4, everywhere. */
  ipv6?: boolean;
  /** Both directions of a provider's line, as tc writes rates: { isp1: "100mbit" }. */
  rate?: Partial<Record<Isp, string>>;
  /** MTU in bytes of the link between the router and a provider. */
  mtu?: Partial<Record<Isp, number>>;
  /** MTU in bytes of the link behind a provider, which the router cannot see. */
  pathMtu?: Partial<Record<Isp, number>>;
  /** The kernel's own translator on every uplink. */
  masquerade?: boolean;
  /** The kernel's own multipath route, weights by uplink: "3:1". */
  multipath?: string;
}

/** Builds a lab, in about a second. Throws with what `scripts/lab` said when it cannot. */
export async function openLab(options: LabOptions): Promise<Lab> {
  const lab = new Lab(`${options.name}-${process.pid}`, options.uplinks ?? 2);
  try {
    await lab.verb("up", ...upArguments(options));
  } catch (error) {
    // What went wrong first is what the caller shall read.
    await lab.close().catch(() => {});
    throw error;
  }
  return lab;
}

export class Lab {
  readonly name: string;
  readonly isps: readonly Isp[];
  /** For configuration files, sockets, downloads; removed with the lab. */
  readonly directory: string;
  readonly #closers: (() => Promise<unknown>)[] = [];
  readonly #exitHook = () => this.#removeNow();

  constructor(name: string, uplinks: number) {
    this.name = name;
    this.isps = (["isp1", "isp2", "isp3"] as const).slice(0, uplinks);
    this.directory = `/tmp/sluice-lab-${name}`;
    process.on("exit", this.#exitHook);
  }

  /** The name that `ip netns` knows a host by. */
  namespace(host: Host): string {
    return `sluice-lab-${this.name}-${host}`;
  }

  /** Runs a command in a host and returns its output. Throws when it fails, unless `mayFail`, and when it outlives `timeoutMs` (30 s). */
  exec(host: Host, command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runCommand(["ip", "netns", "exec", this.namespace(host), ...command], options);
  }

  /** Starts a command in a host; it ends with the lab at the latest. */
  spawn(host: Host, command: readonly string[], env: Record<string, string> = {}): Running {
    const running = new Running(["ip", "netns", "exec", this.namespace(host), ...command], env);
    this.#closers.push(() => running.stop());
    return running;
  }

  /** Starts `sluice up` in the router and returns when it answers on its own private control socket. */
  async sluice(config: SluiceOptions["config"], options: Omit<SluiceOptions, "config"> = {}): Promise<Sluice> {
    const sluice = new Sluice(this, { config, ...options });
    this.#closers.push(() => sluice.stop());
    await sluice.ready();
    return sluice;
  }

  /** Watches every uplink, in the provider, for what must never leave the router. */
  async sniff(options: SniffOptions = {}): Promise<Sniffer> {
    const sniffer = new Sniffer(this, options);
    this.#closers.push(() => sniffer.stop());
    await sniffer.ready();
    return sniffer;
  }

  /** The provider silently drops every IP packet; ARP and carrier stay. */
  cut(isp: Isp): Promise<unknown> {
    return this.verb("cut", isp);
  }

  restore(isp: Isp): Promise<unknown> {
    return this.verb("restore", isp);
  }

  carrier(isp: Isp, state: "on" | "off"): Promise<unknown> {
    return this.verb("carrier", isp, state);
  }

  rate(isp: Isp, rate: string): Promise<unknown> {
    return this.verb("rate", isp, rate);
  }

  masquerade(state: "on" | "off"): Promise<unknown> {
    return this.verb("masquerade", state);
  }

  /** Weights by uplink as "3:1", or "off". */
  multipath(weights: string): Promise<unknown> {
    return this.verb("multipath", weights);
  }

  /** Transmit checksums, TSO and GSO of every link, or of the ends in `hosts`. */
  offload(state: "on" | "off", ...hosts: Host[]): Promise<unknown> {
    return this.verb("offload", state, ...hosts);
  }

  /** GRO of the router's links, or of the ends in `hosts`. */
  gro(state: "on" | "off", ...hosts: Host[]): Promise<unknown> {
    return this.verb("gro", state, ...hosts);
  }

  /** How many packets each provider dropped because their source was not the subscriber's own: all zero in a healthy lab. */
  async spoofed(): Promise<Record<string, number>> {
    const { stdout } = await this.verb("spoofed");
    const lines = stdout.trim().split("\n");
    return Object.fromEntries(lines.map((line) => line.split(" ")).map(([isp, packets]) => [isp, Number(packets)]));
  }

  /** Any verb of scripts/lab, on this lab. */
  verb(verb: string, ...words: string[]): Promise<RunResult> {
    return runCommand([labScript, verb, "--name", this.name, ...words]);
  }

  /** Ends everything that runs in the lab, last started first, and takes it away. Safe to call twice. */
  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    this.#closers.length = 0;
    process.off("exit", this.#exitHook);
    this.#removeNow();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #removeNow(): void {
    execFileSync(labScript, ["down", "--name", this.name], { stdio: ["ignore", "ignore", "inherit"] });
  }
}

function upArguments(options: LabOptions): string[] {
  const words = ["--owner", String(process.pid), "--uplinks", String(options.uplinks ?? 2)];
  for (const [option, values] of [
    ["--rate", options.rate],
    ["--mtu", options.mtu],
    ["--path-mtu", options.pathMtu],
  ] as const) {
    for (const [isp, value] of Object.entries(values ?? {})) words.push(option, `${isp}=${value}`);
  }
  if (options.ipv6) words.push("--ipv6");
  if (options.masquerade) words.push("--masquerade");
  if (options.multipath) words.push("--multipath", options.multipath);
  return words;
}
