/** The one measured table of the project's README, between two marks there. */
import { readFileSync, writeFileSync } from "node:fs";
import { baseline } from "./contenders.ts";
import { formatRatio, formatValue } from "./format.ts";
import { markdownTable } from "./markdown.ts";
import type { Results } from "./results.ts";

const marks = { begin: "<!-- bench:begin -->", end: "<!-- bench:end -->" };

/** Puts the table into a file that has the marks. Throws when it has not. */
export function updateReadme(file: string, results: Results): void {
  writeFileSync(file, replaceBetweenMarks(readFileSync(file, "utf8"), renderSummary(results)));
}

export function replaceBetweenMarks(text: string, content: string): string {
  const begin = text.indexOf(marks.begin);
  const end = text.indexOf(marks.end);
  if (begin < 0 || end < begin) throw new Error(`the README has no ${marks.begin} before ${marks.end}`);
  return `${text.slice(0, begin + marks.begin.length)}\n${content}\n${text.slice(end)}`;
}

/** A line a scenario, sluice as it has most workers. */
export function renderSummary({ machine, rounds, scenarios }: Results): string {
  const rows = scenarios.flatMap(({ title, unit, summaries, failures }) => {
    const kernel = summaries.find(({ contender }) => contender === baseline);
    const sluice = summaries.findLast(({ contender }) => contender !== baseline);
    if (!kernel || !sluice) return [];
    const values = [kernel, sluice].map(({ contender, value }) => {
      const broken = failures.filter((failure) => failure.contender === contender).length;
      return `${formatValue(value.median, unit)} ${unit}${broken === 0 ? "" : `, ${broken} of ${rounds} runs broke`}`;
    });
    return [[title, ...values, formatRatio(sluice.ratio)]];
  });
  const about = `Clients, providers, server and router share the ${machine.processors} processors of one machine; medians of ${rounds} interleaved rounds, the ratio within a round. [docs/benchmarks](docs/benchmarks) has the rest, and what falls short.`;
  return `${markdownTable(["", "kernel multipath + masquerade", "sluice", "ratio (range)"], rows)}\n\n${about}`;
}
