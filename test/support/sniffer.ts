/**
 * Watches every uplink for what must never leave the router.
 *
 * A violation is an IPv4 packet whose source is not that uplink's own address, or a TCP RST or an ICMP
 * destination-unreachable about a port of the translator's range that the router's own stack said. What
 * sluice forwards has been through a hop and leaves with a TTL below 64, while the stack starts its own
 * answers at 64: that tells a client's RST, which is legitimate, from the stack's.
 *
 * The kernel filters, so nothing is recorded but violations and a gigabyte costs no disk. It watches from
 * inside the provider: what is seen there has left the router, whichever way it was sent.
 */

import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { type Isp, uplinkAddress } from "./topology.ts";

export interface SniffOptions {
  /** The translator's ports; default 16384 to 32767, as in the configuration. */
  firstPort?: number;
  lastPort?: number;
}

const stackTtl = 64;
/** Enough to see what goes wrong. */
const maxViolations = 100;

export class Sniffer {
  readonly #captures: { isp: Isp; tcpdump: Running }[];

  constructor(lab: Lab, options: SniffOptions) {
    this.#captures = lab.isps.map((isp) => {
      const filter = violationFilter(uplinkAddress[isp], options.firstPort ?? 16_384, options.lastPort ?? 32_767);
      const flags = ["-i", "subscriber", "-nn", "-v", "-l", "--immediate-mode", "-c", String(maxViolations)];
      return { isp, tcpdump: lab.spawn(isp, ["tcpdump", ...flags, filter]) };
    });
  }

  /** Returns when every capture runs. */
  async ready(): Promise<void> {
    for (const { tcpdump } of this.#captures) await tcpdump.waitFor(/listening on/);
  }

  /** Ends the captures and returns the violations, one line each, as tcpdump prints them. A packet that the capture itself lost is a violation too: it may have been one. */
  async stop(): Promise<string[]> {
    const violations: string[] = [];
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
