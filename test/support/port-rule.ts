/** A table of one rule, for a test that is about what a rule's group means and not about rules. */
import { writeRuleTable } from "../../src/tables/rule-table-writer.ts";

/** Sends what goes to this port to the group, of both families. */
export function portRule(port: number, group: number): SharedArrayBuffer {
  const any = { source: null, destination: null, domains: null, protocol: null, sourcePort: null, dscp: null };
  return writeRuleTable([{ ...any, destinationPort: [{ first: BigInt(port), last: BigInt(port) }], group }], []);
}
