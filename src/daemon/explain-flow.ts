/** `explain` with the running daemon's parts. */
import type { Config } from "../control/config-types.ts";
import type { ExplainQuery, ExplainReport } from "../control/report.ts";
import { type CompiledRules, protocolNumbers } from "../control/rules.ts";
import type { DaemonParts } from "./daemon.ts";
import { explain } from "./explain.ts";
import type { Line } from "./line.ts";
import { flowPolicy } from "./policy-settings.ts";
import { flowReport } from "./status.ts";
import { wordsOf } from "./tuple.ts";

export function explainFlow(
  query: ExplainQuery,
  config: Config,
  rules: CompiledRules,
  lines: readonly Line[],
  { shared, memory, pool, balanceSecret }: DaemonParts,
): Promise<ExplainReport> {
  return explain(query, {
    config,
    rules,
    policy: flowPolicy(config, rules.table),
    lines,
    shared,
    memory,
    secret: balanceSecret,
    nowS: Math.floor(performance.now() / 1000),
    find: async ({ source, destination, sourcePort, destinationPort, protocol }) => {
      const { flow, mappedUplink } = await pool.find({
        source: wordsOf(source),
        destination: wordsOf(destination),
        ports: ((sourcePort ?? 0) << 16) | (destinationPort ?? 0),
        protocol: (protocolNumbers as Record<string, number>)[protocol] ?? Number(protocol),
      });
      return { flow: flow === null ? null : flowReport(flow, config), mappedUplink };
    },
  });
}
