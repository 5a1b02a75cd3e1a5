/**
 * The demo, told from top to bottom: the split, the throughput beside the kernel's, a provider that fails
 * and comes back. Everything happens in a lab (scripts/lab draws it) that goes away with this process,
 * however it ends. Exit status 0 only if every check held.
 */
import { runTcp } from "../../bench/scenarios/tcp.ts";
import { formatCount, formatPercent, formatTable, paint } from "../../src/cli/format.ts";
import { type Isp, type Lab, openLab, server, uplinkAddress } from "../../test/support/lab.ts";
import { labConfig, type Sluice } from "../../test/support/sluice.ts";
import { snapshot } from "../../test/support/snapshot.ts";
import { showFailover } from "./demo-failover.ts";
import { checks, heading, say, waiting } from "./demo-print.ts";
import { trafficCommand } from "./demo-traffic.ts";

const lines: readonly { name: Isp; mbit: number; weight: number }[] = [
  { name: "isp1", mbit: 300, weight: 3 },
  { name: "isp2", mbit: 100, weight: 1 },
];
const connections = 3000;
/** Four standard deviations of that many throws of a 3:1 coin. */
const splitTolerance = 0.032;
const port = 7000;
const downloads = 24;

// A lab goes away when the process exits, and a signal alone would not let it.
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));
process.once("SIGHUP", () => process.exit(129));

try {
  await demo();
} catch (error) {
  checks.fail((error as Error).message);
}
process.exitCode = checks.print() ? 0 : 1;

async function demo(): Promise<void> {
  introduce();
  await using lab = await waiting("building the network", openLab({ name: "demo", rate: rates() }));
  const serving = lab.spawn("server", trafficCommand("serve", port));
  await serving.waitFor(/serving/);

  const kernel = await waiting("measuring the kernel's own multipath route and masquerade first", measureKernel(lab));
  const before = await snapshot(lab, "router");
  const sluice = await waiting("sluice up", startSluice(lab));
  await showSplit(lab);
  await showThroughput(lab, kernel);
  await showFailover(lab, sluice, port);
  await showEnd(lab, sluice, before);
}

function introduce(): void {
  say(paint("bold", "sluice: every connection takes one of two providers, and keeps it"));
  say();
  say("  client1 ──┐                    ┌── isp1  300 Mbit/s  weight 3 ──┐");
  say("            ├── router: sluice ──┤                                ├── server");
  say("  client2 ──┘                    └── isp2  100 Mbit/s  weight 1 ──┘");
  say();
  say("All of them are network namespaces of this machine, and go when the demo ends.");
  say();
}

function startSluice(lab: Lab): Promise<Sluice> {
  const probe = { targets: [server], interval: "200ms", timeout: "400ms" };
  const uplinks = lines.map(({ name, weight }, index) => ({ name, interface: `wan${index}`, weight, probe }));
  return lab.sluice(labConfig(lab, { uplinks }));
}

// ── The split ───────────────────────────────────────────────────────────────────────────────────────────

async function showSplit(lab: Lab): Promise<void> {
  heading("The split of new connections over the providers, by weight");
  const { stdout } = await lab.exec("client1", trafficCommand("connect", server, port, connections, 32));
  const counts = JSON.parse(stdout) as Record<string, number>;
  const weights = lines.reduce((sum, { weight }) => sum + weight, 0);
  const rows = lines.map(({ name, weight }) => {
    const count = counts[uplinkAddress[name]] ?? 0;
    return { name, weight, count, share: count / connections, expected: weight / weights };
  });
  const columns = [
    { title: "provider", text: (row: (typeof rows)[0]) => row.name },
    { title: "weight", align: "right" as const, text: (row: (typeof rows)[0]) => String(row.weight) },
    { title: "connections", align: "right" as const, text: (row: (typeof rows)[0]) => formatCount(row.count) },
    { title: "share", align: "right" as const, text: (row: (typeof rows)[0]) => formatPercent(row.share) },
    { title: "by weight", align: "right" as const, text: (row: (typeof rows)[0]) => formatPercent(row.expected) },
  ];
  for (const line of formatTable(rows, columns, 76)) say(`  ${line}`);
  say();
  say(`  ${formatCount(connections)} connections between the same two hosts, as the server counted them`);
  say("  by the address they came from.");
  const worst = Math.max(...rows.map(({ share, expected }) => Math.abs(share - expected)));
  checks.add("the split follows the weights", worst <= splitTolerance && counts.failed === undefined);
}

// ── The throughput ──────────────────────────────────────────────────────────────────────────────────────

interface Throughput {
  /** In Gbit/s. */
  limited: number;
  unlimited: number;
}

async function measureKernel(lab: Lab): Promise<Throughput> {
  await lab.masquerade("on");
  await lab.multipath(lines.map(({ weight }) => weight).join(":"));
  const result = await measureThroughput(lab);
  await lab.multipath("off");
  await lab.masquerade("off");
  return result;
}

async function showThroughput(lab: Lab, kernel: Throughput): Promise<void> {
  heading("The throughput beside the kernel's own multipath route and masquerade");
  const sluice = await waiting(`${downloads} downloads at once`, measureThroughput(lab));
  const rows = [
    { what: "lines of 300 and 100 Mbit/s", kernel: kernel.limited, sluice: sluice.limited },
    { what: "lines without a limit", kernel: kernel.unlimited, sluice: sluice.unlimited },
  ];
  const columns = [
    { title: `${downloads} downloads at once`, text: (row: (typeof rows)[0]) => row.what },
    { title: "kernel", align: "right" as const, text: (row: (typeof rows)[0]) => bitRate(row.kernel) },
    { title: "sluice", align: "right" as const, text: (row: (typeof rows)[0]) => bitRate(row.sluice) },
    { title: "ratio", align: "right" as const, text: (row: (typeof rows)[0]) => (row.sluice / row.kernel).toFixed(2) },
  ];
  for (const line of formatTable(rows, columns, 76)) say(`  ${line}`);
  say();
  say("  Three seconds each, once: `npm run bench` measures it with care.");
  checks.add("downloads ran faster than over any one of the lines", sluice.limited > lines[0]!.mbit / 1000);
}

async function measureThroughput(lab: Lab): Promise<Throughput> {
  const context = { lab, warmUpMs: 1000, runMs: 3000, tools: {}, clients: ["client1" as const] };
  const limited = await runTcp(context, downloads, "down");
  for (const { name } of lines) await lab.rate(name, "none");
  const unlimited = await runTcp(context, downloads, "down");
  for (const [name, rate] of Object.entries(rates())) await lab.rate(name as Isp, rate);
  return { limited: limited.value, unlimited: unlimited.value };
}

function rates(): Partial<Record<Isp, string>> {
  return Object.fromEntries(lines.map(({ name, mbit }) => [name, `${mbit}mbit`]));
}

function bitRate(gbit: number): string {
  return gbit >= 1 ? `${gbit.toFixed(1)} Gbit/s` : `${(gbit * 1000).toFixed(0)} Mbit/s`;
}

// ── The end ─────────────────────────────────────────────────────────────────────────────────────────────

async function showEnd(lab: Lab, sluice: Sluice, before: Awaited<ReturnType<typeof snapshot>>): Promise<void> {
  heading("What is left");
  const foreign = Object.values(await lab.spoofed()).reduce((sum, packets) => sum + packets, 0);
  say(`  Packets that left by a provider with a source not its own: ${foreign}.`);
  checks.add("no packet left with a foreign source", foreign === 0);

  const status = await sluice.stop();
  const after = await snapshot(lab, "router");
  const changed = (Object.keys(before) as (keyof typeof before)[]).filter((part) => before[part] !== after[part]);
  say(`  sluice ended with status ${status}; the router's rules, routes, nft, links and`);
  say(
    `  sysctls are ${changed.length === 0 ? "the same as before." : `not the same as before: ${changed.join(", ")}.`}`,
  );
  checks.add("sluice left nothing behind", status === 0 && changed.length === 0);
}
