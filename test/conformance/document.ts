/** docs/conformance.md as text, made of the checklist and nothing else: `scripts/conformance` writes it, a test holds that it is what is committed. */

import { type Allowed, allowList } from "../netns/kernel/allow-list.ts";
import { mutations } from "../netns/kernel/mutations.ts";
import type { Requirement, Section } from "./requirement.ts";
import { faults, translator } from "./requirements.ts";
import { differences as tcpDifferences } from "./tcp-differences.ts";
import { observed } from "./tcp-kernel.ts";
import { walks } from "./tcp-walk.ts";

export const documentFile = "docs/conformance.md";

export function renderDocument(): string {
  const all = [...translator, ...faults].flatMap(({ requirements }) => requirements);
  const count = (ours: Requirement["ours"]) => all.filter((each) => each.ours === ours).length;
  return `# Conformance

<!-- Made by scripts/conformance from test/conformance; edit that. -->

What a translator must do and what it must withstand, line by line: the document that asks for it, what Linux's own
masquerade does (nf_conntrack of Linux 6.18 with \`masquerade\`, measured in network namespaces or documented), what sluice does, and the tests
that show it. Of ${all.length} lines sluice meets ${count("yes")}, ${count("partly")} in part, ${count("no")} not; each that it does not meet says why.

Tests are named by their file below \`test/\` and their title; \`%s\` and \`%i\` in a title stand for the cases that it runs over.

## What the translator does

${translator.map(renderSection).join("\n")}
## Faults and attacks

${faults.map(renderSection).join("\n")}
## TCP states, against nf_conntrack

What nf_conntrack makes of every event in every state, as the running kernel answered (Linux 6.18, a connection that the
inside begins and closes first, numbers in order). "!" marks a packet that counts as invalid, which a careful rule drops.

\`\`\`${observed}\`\`\`

sluice has one state for "FIN sent" and "FIN acknowledged" and tells by which side sent it. It goes where the kernel goes, but for these
${tcpDifferences.flatMap(({ cases }) => cases).length} of ${walks().length} cases (kernel -> sluice):

| cases | why |
|---|---|
${tcpDifferences.map(({ cases, reason }) => `| ${cases.map(cell).join("<br>")} | ${cell(reason)} |`).join("\n")}

Shown by [conformance/tcp-states](../test/conformance/tcp-states.test.ts), and for the kernel by
[netns/kernel/tcp-states](../test/netns/kernel/tcp-states.test.ts).

## The same packets through the kernel and through sluice

A capture of what common tools send and get (ping, dig, curl, iperf3, traceroute, tracepath, hping3, nmap), as it is and with ${Object.keys(mutations).length} kinds of
mutation in the middle of its conversations, some 13,000 packets, through the kernel's masquerade (dropping \`ct state invalid\`) and through
sluice. Both let the same packets pass, but for these differences; and nothing of sluice's leaves but from the uplink's own address.

| the kernel | sluice | why |
|---|---|---|
${allowList.map(renderAllowed).join("\n")}

Shown by [netns/kernel/verdicts](../test/netns/kernel/verdicts.test.ts), which fails at any other difference.
`;
}

function renderSection({ title, requirements }: Section): string {
  return `### ${title}

| source | requirement | kernel | sluice | shown by |
|---|---|---|---|---|
${requirements.map(renderRow).join("\n")}
`;
}

function renderRow({ source, requirement, kernel, ours, note, tests }: Requirement): string {
  const answer = note === undefined ? `**${ours}**` : `**${ours}**. ${note}`;
  return `| ${[source, requirement, kernel, answer, tests.map(renderTest).join("<br>")].map(cell).join(" | ")} |`;
}

function renderAllowed({ kernel, reason }: Allowed): string {
  return `| ${kernel} | ${kernel === "passes" ? "drops" : "passes"} | ${cell(reason)} |`;
}

function renderTest(test: string): string {
  const { file, title } = splitTest(test);
  return `[${file.replace(/^test\/|\.test\.ts$/g, "")}](../${file}): ${title}`;
}

/** "path/mapping > gives ..." is the test "gives ..." of test/path/mapping.test.ts. */
export function splitTest(test: string): { file: string; title: string } {
  const at = test.indexOf(" > ");
  return { file: `test/${test.slice(0, at)}.test.ts`, title: test.slice(at + 3) };
}

/** What a cell of a Markdown table cannot hold as it is. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
