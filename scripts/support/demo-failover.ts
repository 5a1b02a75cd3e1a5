/** A provider fails and comes back, under connections that stay open and new ones that keep coming. */
import { setTimeout as sleep } from "node:timers/promises";
import { requestJson } from "../../src/control/client.ts";
import type { StatusReport } from "../../src/control/report.ts";
import { impair } from "../../test/support/impairment.ts";
import { type Lab, server, uplinkAddress } from "../../test/support/lab.ts";
import type { Running } from "../../test/support/process.ts";
import type { Sluice } from "../../test/support/sluice.ts";
import { checks, heading, say } from "./demo-print.ts";
import { type Held, type Probe, trafficCommand } from "./demo-traffic.ts";

const heldConnections = 40;
const probeIntervalMs = 5;
const outageMs = 4000;
/** What was begun last has time to succeed. */
const settleMs = 2500;
/** A held connection that has heard nothing for so long waits. */
const silentMs = 700;
const longestWaitMs = 15_000;

export async function showFailover(lab: Lab, sluice: Sluice, port: number): Promise<void> {
  heading("A provider fails in silence, and comes back");
  say(`  ${heldConnections} connections stay open, and another is opened every ${probeIntervalMs} ms.`);
  say();
  const holder = lab.spawn("client1", trafficCommand("hold", server, port, heldConnections, 100));
  const prober = lab.spawn("client2", trafficCommand("probe", server, port, probeIntervalMs));
  await holder.waitFor(/\n/);
  await sleep(500);
  const before = held(holder);
  const [onIsp1, onIsp2] = (["isp1", "isp2"] as const).map((isp) =>
    before.flatMap(({ address }, index) => (address === uplinkAddress[isp] ? [index] : [])),
  ) as [number[], number[]];

  const cutMs = now();
  await impair(lab, "isp1", { drop: "all" });
  tell(cutMs, cutMs, "isp1 drops every packet; its cable is good, and its link is up");
  const down = await waitForState(sluice, "down");
  tell(cutMs, down.atMs, `sluice status: isp1 is down, ${down.reason}`);
  const isMoved = ({ resetMs, address }: Held) => resetMs !== null && address === uplinkAddress.isp2;
  await waitFor(() => onIsp1.every((index) => isMoved(held(holder)[index]!)));
  const states = held(holder);
  const resets = onIsp1.flatMap((index) => (isMoved(states[index]!) ? [states[index]!.resetMs!] : []));
  if (resets.length > 0)
    tell(
      cutMs,
      Math.max(...resets),
      `${resets.length} of ${onIsp1.length} open ones by isp1 are reset, and open again by isp2`,
    );
  await sleep(Math.max(0, cutMs + outageMs - now()));
  const undisturbed = onIsp2.filter((index) => isGoingOn(held(holder)[index]!)).length;
  tell(cutMs, now(), `${undisturbed} of ${onIsp2.length} by isp2 never noticed`);

  const backMs = now();
  await impair(lab, "isp1", {});
  tell(cutMs, backMs, "isp1 works again");
  const up = await waitForState(sluice, "up");
  tell(cutMs, up.atMs, "sluice status: isp1 is up, after its hold-down");
  await sleep(settleMs);
  const first = probes(prober).find(({ startedMs, address }) => startedMs > backMs && address === uplinkAddress.isp1);
  if (first) tell(cutMs, first.startedMs, "new connections take isp1 again; what is open stays where it is");
  const opened = probes(prober).filter(({ startedMs }) => startedMs >= cutMs);
  const failed = opened.filter(({ address }) => address === null).length;
  const slowestMs = Math.max(...opened.map(({ tookMs }) => tookMs));
  await prober.stop();
  await holder.stop();

  say();
  say(
    `  The failover took ${seconds(down.atMs - cutMs)}. ${opened.length} connections were begun since the cut, ${failed} failed;`,
  );
  say(`  the slowest took ${seconds(slowestMs)}: nobody answered its first packet, and sluice moved it to`);
  say("  the other provider when its sender repeated that.");
  checks.add(`no new connection failed (of ${opened.length})`, failed === 0 && opened.length > 0);
  checks.add("the provider that went silent was noticed", down.reason !== "");
  checks.add(
    "every open connection of the dead provider was reset",
    resets.length === onIsp1.length && resets.length > 0,
  );
  checks.add(
    "no open connection of the other provider was disturbed",
    undisturbed === onIsp2.length && undisturbed > 0,
  );
  checks.add("the provider that came back is used again", first !== undefined);
}

/** Waits until isp1 is in that state, and says when and why. */
async function waitForState(sluice: Sluice, state: string): Promise<{ atMs: number; reason: string }> {
  let reason = "";
  await waitFor(async () => {
    const isp1 = (await requestJson<StatusReport>(sluice.socket, "/status")).uplinks[0]!;
    reason = isp1.reason;
    return isp1.state === state;
  });
  return { atMs: now(), reason };
}

async function waitFor(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = now() + longestWaitMs;
  while (!(await holds()) && now() < deadline) await sleep(20);
}

function isGoingOn({ resetMs, silentMs: silence }: Held): boolean {
  return resetMs === null && silence <= silentMs;
}

/** In the order in which they began. */
function probes(prober: Running): Probe[] {
  return wholeLines(prober.stdout)
    .map((line) => JSON.parse(line) as Probe)
    .sort((a, b) => a.startedMs - b.startedMs);
}

/** The latest state of the open connections. */
function held(holder: Running): Held[] {
  return JSON.parse(wholeLines(holder.stdout).at(-1)!) as Held[];
}

/** Without the one that is still being written. */
function wholeLines(text: string): string[] {
  return text.split("\n").slice(0, -1);
}

function tell(cutMs: number, atMs: number, what: string): void {
  say(`  ${((atMs - cutMs) / 1000).toFixed(2).padStart(6)} s  ${what}`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function now(): number {
  return performance.timeOrigin + performance.now();
}
