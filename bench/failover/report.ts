/** The results for the terminal, and as docs/benchmarks/failover.md. */

import { type Column, formatTable } from "../../src/cli/format.ts";
import { markdownTable } from "../markdown.ts";
import { contenders } from "./contenders.ts";
import type { Results, RunResults, ScenarioResults } from "./results.ts";
import type { Figure, Row } from "./types.ts";

type Line = readonly string[];

/** A scenario as a table for the terminal. */
export function renderScenario(scenario: ScenarioResults): string {
  const { head, lines } = tableOf(scenario);
  const columns: Column<Line>[] = head.map((title, index) => ({
    title,
    text: (line) => line[index]!,
    ...(index > 0 && index < head.length - 1 ? { align: "right" } : {}),
  }));
  return [scenario.title, ...formatTable(lines, columns, Number.POSITIVE_INFINITY), ...failuresOf(scenario)].join("\n");
}

/** `pictures`: file names by scenario. */
export function renderReport(results: Results, pictures: Readonly<Record<string, string>>): string {
  const { machine, startedAt, command } = results;
  const sections = results.scenarios.flatMap((scenario) => sectionOf(scenario, pictures[scenario.name]));
  return `${[
    "# Failover: sluice beside the kernel and a script",
    `Written by \`${command}\`, ${startedAt.slice(0, 10)}: ${machine.processor}, ${machine.processors} processors, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node}, commit ${machine.commit}; ${machine.busyBefore.toFixed(2)} cores busy with other things before. Series and figures: [failover.json](failover.json).`,
    method,
    markdownTable(
      ["contender", "what it is"],
      contenders.map(({ title, about }) => [title, about]),
    ),
    "## Promises that were not kept",
    brokenPromises(results),
    ...sections,
  ].join("\n\n")}\n`;
}

const method =
  "Every run has a lab of its own (`scripts/lab`: two clients, router, two providers, server, each a network namespace, joined by veth pairs without rate limits unless the scenario sets them). One client opens connections at a rate, each with a small request and its answer; the other downloads at 2 Mbit/s by each of its transfers, which stay away when they end until they are told to reconnect. Connections are given nine seconds. Times are from the moment that the change to the lab was ordered. One run each: a figure is one observation.";

function sectionOf(scenario: ScenarioResults, picture: string | undefined): string[] {
  const { head, lines } = tableOf(scenario);
  return [
    `## ${scenario.title}`,
    `\`--scenario ${scenario.name}\`. ${scenario.about[0]!.toUpperCase()}${scenario.about.slice(1)}.`,
    markdownTable(head, lines),
    ...failuresOf(scenario).map((failure) => `\`\`\`\n${failure}\n\`\`\``),
    ...(picture === undefined ? [] : [`![throughput of the transfers by line, for each contender](${picture})`]),
  ];
}

function tableOf({ rows, runs }: ScenarioResults): { head: string[]; lines: string[][] } {
  return {
    head: ["", ...runs.map(({ title }) => title), "promised of sluice"],
    lines: rows.map((row) => [
      row.unit === "" ? row.title : `${row.title}, ${row.unit}`,
      ...runs.map((run) => cell(row, run)),
      row.target,
    ]),
  };
}

function cell(row: Omit<Row, "keeps">, { failure, figures, broken }: RunResults): string {
  if (failure !== null) return "failed";
  return formatFigure(figures[row.name] ?? null, row) + (broken.includes(row.name) ? " (!)" : "");
}

function formatFigure(figure: Figure, { unit }: Pick<Row, "unit">): string {
  if (figure === null) return "-";
  if (typeof figure === "string") return figure;
  switch (unit) {
    case "s":
      return figure.toFixed(2);
    case "%":
      return figure.toFixed(1);
    default:
      return String(Math.round(figure));
  }
}

function failuresOf({ runs }: ScenarioResults): string[] {
  return runs.flatMap(({ title, failure }) => (failure === null ? [] : [`${title}: ${failure}`]));
}

function brokenPromises({ scenarios }: Results): string {
  const lines = scenarios.flatMap(({ title, rows, runs }) =>
    runs.flatMap((run) => [
      ...(run.failure === null ? [] : [`- ${title}, ${run.title}: the run failed`]),
      ...rows
        .filter(({ name }) => run.broken.includes(name))
        .map(
          (row) =>
            `- ${title}, ${run.title}: ${row.title}: ${formatFigure(run.figures[row.name] ?? null, row)}, promised ${row.target}`,
        ),
    ]),
  );
  return lines.length === 0 ? "None." : lines.join("\n");
}
