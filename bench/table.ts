/** The results as a table for the terminal: a line for every contender beside the kernel. */
import { baseline } from "./contenders.ts";
import { formatRatio, formatValue } from "./format.ts";
import { bytesPerFlowTarget, microTargets } from "./micro.ts";
import type { Results, ScenarioResult } from "./results.ts";

const header = ["scenario", "unit", "kernel", "sluice", "contender", "ratio (range)", "target", ""];
/** Columns of numbers are flush right. */
const isRight = [false, false, true, true, false, false, true, false];

export function renderTable(results: Results): string {
  const rows = [header, ...results.scenarios.flatMap(rowsOf)];
  const widths = header.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (isRight[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(
    1,
    0,
    widths
      .map((width) => "─".repeat(width))
      .join("  ")
      .trimEnd(),
  );
  return [...lines, "", ...microLines(results.micro), ...noiseLines(results)].join("\n");
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
