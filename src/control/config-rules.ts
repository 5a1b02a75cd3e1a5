/** The rules and groups of a file that has been checked, with their notations read. */

import type { RawConfig } from "./config-schema.ts";
import type { GroupConfig, RuleConfig } from "./config-types.ts";
import { parsePortRange } from "./config-values.ts";

type RawRule = RawConfig["rules"][number];

export function toGroup({ name, uplinks }: RawConfig["groups"][number]): GroupConfig {
  return { name, uplinks: Object.entries(uplinks).map(([uplink, weight]) => ({ name: uplink, weight })) };
}

export function toRule({ match, use = [], strict, bypass }: RawRule): RuleConfig {
  const { source = [], destination = [], domain = [], protocol = null, dscp = [] } = match;
  return {
    match: {
      source,
      destination,
      domain: domain.map((name) => name.toLowerCase()),
      protocol,
      sourcePort: toPorts(match.sourcePort),
      destinationPort: toPorts(match.destinationPort),
      interface: match.interface ?? [],
      dscp,
    },
    use,
    strict,
    bypass,
  };
}

function toPorts(ports: readonly (string | number)[] = []) {
  return ports.map((port) => parsePortRange(port)!);
}
