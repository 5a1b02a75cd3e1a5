/**
 * Watches every uplink for what must never leave the router.
 *
 * A violation is an IP packet whose source is not that uplink's own address (of IPv6, link-local ones are for the
 * provider alone, and the uplink's prefix is its own where `prefixes` says so), or a TCP RST or an ICMP
 * destination-unreachable about a port of the translator's range that the router's own stack said. What
 * sluice forwards has been through a hop and leaves with a TTL below 64, while the stack starts its own
 * answers at 64: that tells a client's RST, which is legitimate, from the stack's.
 *
 * The kernel filters, so nothing is recorded but violations and a gigabyte costs no disk. It watches from
 * inside the provider: what is seen there has left the router, whichever way it was sent.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { delegatedPrefix, type Isp, uplinkAddress, uplinkAddress6 } from "./topology.ts";
import { until } from "./until.ts";

export interface SniffOptions {
  /** The translator's ports; default 16384 to 32767, as in the configuration. */
  firstPort?: number;
  lastPort?: number;
  /** Prefix translation: hosts have addresses of the uplink's prefix. */
  prefixes?: boolean;
}

const stackTtl = 64;
/** Enough to see what goes wrong. */
const maxViolations = 100;
/** What tcpdump may need for what it has not read yet. */
const patienceMs = 5000;

export class Sniffer {
  readonly #captures: { isp: Isp; tcpdump: Running }[];
  /** Packets that came before the filter and are never printed, by capture. */
  #unfiltered: number[] = [];

  constructor(lab: Lab, options: SniffOptions) {
    this.#captures = lab.isps.map((isp) => {
      const [firstPort, lastPort] = [options.firstPort ?? 16_384, options.lastPort ?? 32_767];
      const ipv4 = violationFilter(uplinkAddress[isp], firstPort, lastPort);
      const ipv6 = violationFilter6(isp, firstPort, lastPort, options.prefixes ?? false);
      const filter = `(${ipv4}) or (${ipv6})`;
      const flags = ["-i", "subscriber", "-nn", "-v", "-l", "--immediate-mode", "-c", String(maxViolations)];
      return { isp, tcpdump: lab.spawn(isp, ["tcpdump", ...flags, filter]) };
    });
  }

  /** Returns when every capture runs. */
  async ready(): Promise<void> {
    for (const { tcpdump } of this.#captures) await tcpdump.waitFor(/listening on/);
    this.#unfiltered = await Promise.all(this.#captures.map(({ tcpdump }) => unread(tcpdump)));
  }

  /** Ends the captures and returns the violations, one line each, as tcpdump prints them. A packet that the capture itself lost is a violation too: it may have been one. */
  async stop(): Promise<string[]> {
    const violations: string[] = [];
    // It forgets at its end what it has not read by then.
    const end = Date.now() + patienceMs;
    for (const [i, { tcpdump }] of this.#captures.entries()) {
      while (!tcpdump.ended && Date.now() < end && (await unread(tcpdump)) > this.#unfiltered[i]!) await sleep(10);
    }
    for (const { isp, tcpdump } of this.#captures) {
      const status = await tcpdump.stop("SIGINT");
      if (status !== 0) throw new Error(`tcpdump on ${isp} failed:\n${tcpdump.stderr}`);
      // With -v a packet is a line and indented lines after it.
      const packets = tcpdump.stdout.split(/\n(?!\s)/).filter((text) => text !== "");
      for (const text of packets) violations.push(`${isp}: ${text.replace(/\s+/g, " ")}`);
      const lost = Number(/(\d+) packets? dropped by kernel/.exec(tcpdump.stderr)?.[1] ?? 0);
      if (lost > 0) violations.push(`${isp}: the capture lost ${lost} packets`);
    }
    return violations;
  }
}

/** How many packets have come that tcpdump has not printed, by its own count, which it says at SIGUSR1. */
async function unread(tcpdump: Running): Promise<number> {
  const counts = () =>
    Array.from(
      tcpdump.stderr.matchAll(/(\d+) packets? captured, (\d+) packets? received by filter/g),
      (match) => match,
    );
  const said = counts().length;
  tcpdump.signal("SIGUSR1");
  await until("tcpdump's counts", () => tcpdump.ended || counts().length > said);
  const [, captured, received] = counts().at(-1) ?? [];
  return Number(received ?? 0) - Number(captured ?? 0);
}

/**
 * A pcap filter. It leaves out what the provider sends to the subscriber by its destination: tcpdump's -Q
 * sorts in user space, so that a download fills the buffer and a violation is lost, and "inbound" loses
 * the first packets with libpcap 1.10. The offsets into an ICMP error assume quoted headers without
 * options, as the stack quotes them.
 */
function violationFilter(address: string, firstPort: number, lastPort: number): string {
  const foreign = `not src host ${address}`;
  const fromStack = `ip[8] = ${stackTtl}`;
  const reset = `tcp[tcpflags] & tcp-rst != 0 and src portrange ${firstPort}-${lastPort}`;
  const quotedPort = "icmp[30:2]";
  const unreachable = `icmp[icmptype] = icmp-unreach and ${quotedPort} >= ${firstPort} and ${quotedPort} <= ${lastPort}`;
  return `ip and not dst host ${address} and (${foreign} or (${fromStack} and ((${reset}) or (${unreachable}))))`;
}

/** The same for IPv6, in which pcap knows no names for layer 4: offsets from the fixed header, without extension headers. */
function violationFilter6(isp: Isp, firstPort: number, lastPort: number, prefixes: boolean): string {
  const address = uplinkAddress6[isp];
  const prefix = delegatedPrefix[isp];
  const own = `src host ${address} or src net fe80::/10 or src host ::${prefixes ? ` or src net ${prefix}` : ""}`;
  const fromStack = `ip6[7] = ${stackTtl}`;
  const reset = `ip6[6] = 6 and ip6[53] & 4 != 0 and ip6[40:2] >= ${firstPort} and ip6[40:2] <= ${lastPort}`;
  const unreachable = `ip6[6] = 58 and ip6[40] = 1 and ip6[90:2] >= ${firstPort} and ip6[90:2] <= ${lastPort}`;
  const fromProvider = `dst host ${address} or dst net ${prefix} or src host ${address.replace(/2$/, "1")}`;
  return `ip6 and not (${fromProvider}) and (not (${own}) or (${fromStack} and ((${reset}) or (${unreachable}))))`;
}
