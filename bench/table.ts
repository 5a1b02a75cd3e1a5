/** The results as a table for the terminal: a line for every contender beside the kernel. */
import { type Column, formatTable } from "../src/cli/format.ts";
import { baseline } from "./contenders.ts";
import { formatRatio, formatValue } from "./format.ts";
import { bytesPerFlowTarget, microTargets } from "./micro.ts";
import type { Results, ScenarioResult } from "./results.ts";

type Row = readonly string[];

const columns: readonly Column<Row>[] = [
  column(0, "scenario"),
  column(1, "unit"),
  { ...column(2, "kernel"), align: "right" },
  { ...column(3, "sluice"), align: "right" },
  column(4, "contender"),
  column(5, "ratio (range)"),
  { ...column(6, "target"), align: "right" },
  { ...column(7, ""), style: ([, , , , , , , mark]) => (mark === "" ? undefined : "yellow") },
];

export function renderTable(results: Results): string {
  const lines = formatTable(results.scenarios.flatMap(rowsOf), columns, Number.POSITIVE_INFINITY);
  return [...lines, "", ...microLines(results.micro), ...noiseLines(results)].join("\n");
}

function column(index: number, title: string): Column<Row> {
  return { title, text: (row) => row[index]! };
}

function rowsOf({ name, unit, target, summaries, failures }: ScenarioResult): string[][] {
  const kernel = summaries.find(({ contender }) => contender === baseline);
  const rows = summaries
    .filter((summary) => summary !== kernel)
    .map(({ contender, value, ratio, reached }) => [
      name,
      unit,
      kernel ? formatValue(kernel.value.median, unit) : "-",
      formatValue(value.median, unit),
      contender,
      formatRatio(ratio),
      target?.toString() ?? "",
      reached === false ? "short" : "",
    ]);
  for (const { contender, round, message } of failures) {
    rows.push([
      name,
      unit,
      "",
      "failed",
      contender,
      `round ${round + 1}: ${message.replaceAll(/\s+/g, " ").slice(0, 80)}`,
      "",
      "failed",
    ]);
  }
  // The name once is enough.
  return rows.map((row, index) => (index === 0 ? row : ["", "", ...row.slice(2)]));
}

function microLines(micro: Results["micro"]): string[] {
  if (micro === null) return [];
  if ("failed" in micro) return [`JavaScript alone: failed: ${micro.failed}`];
  return micro.map(({ flows, nsPerPacket, bytesPerFlow, heapGrowthBytes }) => {
    const target = microTargets[flows];
    return `JavaScript alone, ${flows.toLocaleString("en")} flows: ${nsPerPacket} ns a packet${target ? ` (target ${target})` : ""}, ${bytesPerFlow} bytes a flow (target ${bytesPerFlowTarget}), heap growth ${heapGrowthBytes} bytes`;
  });
}

function noiseLines({ scenarios }: Results): string[] {
  const noises = scenarios.flatMap(({ noise }) => (noise === null ? [] : [noise]));
  if (noises.length === 0) return [];
  const lowest = Math.min(...noises.map((noise) => noise.lowest));
  const highest = Math.max(...noises.map((noise) => noise.highest));
  return [`The kernel against itself, round to round: ${lowest.toFixed(2)}-${highest.toFixed(2)} over all scenarios.`];
}
