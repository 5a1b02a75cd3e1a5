/** One line of the checklist: what a document asks of a translator, what Linux's own does, what ours does, and the tests that show ours. */

export interface Requirement {
  /** The document and its requirement or section; several when they ask the same. */
  readonly source: string;
  readonly requirement: string;
  /** What nf_conntrack with masquerade does on Linux 6.18. */
  readonly kernel: string;
  readonly ours: "yes" | "partly" | "no";
  /** What is missing and why, when `ours` is not "yes"; else how it is met, where that is worth a word. */
  readonly note?: string;
  /** "FILE > TITLE": the file below test/ without ".test.ts", the title as the source has it. */
  readonly tests: readonly string[];
}

export interface Section {
  readonly title: string;
  readonly requirements: readonly Requirement[];
}
