/** Rules and configurations for tests, as short as what they are about. */
import { parseConfig } from "../../src/control/config.ts";
import type { Config } from "../../src/control/config-types.ts";
import { type CompiledRules, compileRules } from "../../src/control/rules.ts";
import { addressNumber } from "./packets.ts";
import { address6Words } from "./packets6.ts";

/** Three uplinks a, b and c, and what `text` adds: rules, groups. */
export function configWith(text: string): Config {
  const uplinks = ["a", "b", "c"].map((name, i) => `  - { name: ${name}, interface: wan${i}, weight: ${i + 1} }`);
  const file = `tun: { name: tun0, address: 10.255.255.1/30 }
steer: { interfaces: [lan0, lan1], local: true }
uplinks:
${uplinks.join("\n")}
${text}`;
  return parseConfig(file, "test.yaml").config;
}

/** What is behind the steered interfaces, and `lo`. */
export const networks: Readonly<Record<string, readonly string[]>> = {
  lan0: ["192.168.10.0/24", "fd00:10::/64"],
  lan1: ["192.168.20.0/24", "192.168.30.0/24"],
  lo: ["192.168.10.1", "10.255.255.1"],
};

export function compile(text: string, before?: CompiledRules): CompiledRules {
  return compileRules(configWith(text), (name) => networks[name] ?? [], before);
}

/** An address of either family as the data plane has it. */
export function words(address: string): number[] {
  return address.includes(":") ? [...address6Words(address)] : [addressNumber(address)];
}
