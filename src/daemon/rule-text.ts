/** A rule in a line, for people. */
import type { RuleConfig, RuleMatch } from "../control/config-types.ts";

const mostShown = 3;

export function ruleText({ match, use, strict, bypass }: RuleConfig): {
  text: string;
  strict: boolean;
  bypass: boolean;
} {
  const parts = Object.entries(match).flatMap(([key, value]: [string, RuleMatch[keyof RuleMatch]]) => {
    if (value === null || value.length === 0) return [];
    return [`${key} ${typeof value === "string" ? value : listText(value)}`];
  });
  const what = parts.length === 0 ? "everything" : parts.join(", ");
  return { text: `${what} -> ${bypass ? "bypass" : use.join(", ")}`, strict, bypass };
}

function listText(values: Exclude<RuleMatch[keyof RuleMatch], string | null>): string {
  const shown = values.slice(0, mostShown).map((value) => {
    if (typeof value !== "object") return String(value);
    return value.first === value.last ? String(value.first) : `${value.first}-${value.last}`;
  });
  return values.length > mostShown ? `${shown.join(" ")} and ${values.length - mostShown} more` : shown.join(" ");
}
