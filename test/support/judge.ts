/**
 * Somebody else's opinion of packets: captures some links of the lab whole, and has tshark check every header and
 * checksum in them, those of quoted headers included.
 *
 * Offloads must be off on both ends of a captured link, or half-made checksums are what the capture shows.
 */

import { join } from "node:path";
import type { Lab } from "./lab.ts";
import type { Running } from "./process.ts";
import { runCommand } from "./process.ts";
import type { Host } from "./topology.ts";

const checked = ["ip", "tcp", "udp"];
const summed = [...checked, "icmp"];
/**
 * "Bad" in tshark's words: Bad 0, Good 1, Unverified 2, Not present 3. It calls a TCP checksum of 0xffff bad without
 * computing it; that is the same number as 0, and what Linux sends for it.
 */
const faults = [
  ...["ip", "udp", "icmp"].map((protocol) => `${protocol}.checksum.status == 0`),
  "tcp.checksum.status == 0 and not tcp.checksum == 0xffff",
  // But for what it takes a payload for, by a translated port that happens to be some application's.
  '_ws.malformed and not frame.protocols matches "(tcp|udp):[a-z]"',
  "ip.bogus_header_length",
];

export interface Judgement {
  packets: number;
  /** Checksums found right, by protocol. */
  right: Record<string, number>;
  /** tshark's lines about packets with something wrong. */
  faults: string[];
}

export class Judge {
  readonly #captures: { where: string; file: string; tcpdump: Running }[];

  /** Begins to capture on these interfaces. */
  constructor(lab: Lab, links: readonly (readonly [Host, string])[]) {
    this.#captures = links.map(([host, link]) => {
      const file = join(lab.directory, `${host}-${link}.pcap`);
      const flags = ["-i", link, "-nn", "--immediate-mode", "-U", "-s", "0", "-B", "16384", "-Z", "root", "-w", file];
      return { where: `${host} ${link}`, file, tcpdump: lab.spawn(host, ["tcpdump", ...flags, "ip"]) };
    });
  }

  async ready(): Promise<void> {
    for (const { tcpdump } of this.#captures) await tcpdump.waitFor(/listening on/);
  }

  /** Ends the captures and judges them, by link as "HOST INTERFACE". */
  async stop(): Promise<Record<string, Judgement>> {
    const judgements: Record<string, Judgement> = {};
    for (const { where, file, tcpdump } of this.#captures) {
      if ((await tcpdump.stop("SIGINT")) !== 0) throw new Error(`tcpdump on ${where} failed:\n${tcpdump.stderr}`);
      judgements[where] = await judge(file);
    }
    return judgements;
  }
}

/** Judges a capture file. Fragments are judged whole by whole datagram, as their receiver would. */
export async function judge(file: string): Promise<Judgement> {
  const read = (filter: string, ...output: string[]) =>
    runCommand(["tshark", "-n", "-r", file, ...checked.flatMap(check), "-Y", filter, ...output], { timeoutMs: 60_000 });
  const fields = summed.flatMap((protocol) => ["-e", `${protocol}.checksum.status`]);
  const [all, bad] = await Promise.all([
    read("ip", "-T", "fields", ...fields),
    read(faults.map((fault) => `(${fault})`).join(" or ")),
  ]);
  const rows = all.stdout.split("\n").slice(0, -1);
  const right: Record<string, number> = {};
  for (const [column, protocol] of summed.entries()) {
    right[protocol] = rows.filter((row) => /(^|,)1(,|$)/.test(row.split("\t")[column]!)).length;
  }
  return { packets: rows.length, right, faults: bad.stdout.split("\n").filter((line) => line !== "") };
}

/** tshark does not check by itself what a network card may have left to itself. */
function check(protocol: string): string[] {
  return ["-o", `${protocol}.check_checksum:TRUE`];
}
