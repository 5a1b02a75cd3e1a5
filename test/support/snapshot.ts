/** What a host's kernel is set to, as text: rules, every route table, nft, links, sysctls. For "the same before and after". */

import type { Lab } from "./lab.ts";
import type { Host } from "./topology.ts";

/** Sysctls that count or measure instead of being set. */
const volatile = /nf_conntrack_count|\.base_reachable|tcp_fastopen_key|stable_secret|\.random\./;

export interface Snapshot {
  rules: string;
  routes: string;
  nft: string;
  links: string;
  sysctls: string;
}

export async function snapshot(lab: Lab, host: Host): Promise<Snapshot> {
  const text = async (...command: string[]) => (await lab.exec(host, command)).stdout;
  const sysctls = await lab.exec(host, ["sysctl", "-a", "--pattern", "^net\\."], { mayFail: true });
  return {
    rules: (await text("ip", "rule")) + (await text("ip", "-6", "rule")),
    routes: sortLines(
      (await text("ip", "-4", "route", "show", "table", "all")) +
        (await text("ip", "-6", "route", "show", "table", "all")),
    ),
    // Stateless: without counters.
    nft: await text("nft", "-s", "list", "ruleset"),
    links: await text("ip", "address"),
    sysctls: sysctls.stdout
      .split("\n")
      .filter((line) => !volatile.test(line))
      .join("\n"),
  };
}

function sortLines(text: string): string {
  return text.split("\n").sort().join("\n");
}
