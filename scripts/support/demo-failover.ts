/** A provider fails and comes back, under connections that stay open and new ones that keep coming. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Lab, server, uplinkAddress } from "../../test/support/lab.ts";
import type { Running } from "../../test/support/process.ts";
import type { Sluice } from "../../test/support/sluice.ts";
import { checks, heading, say } from "./demo-print.ts";
import { type Held, type Probe, trafficCommand } from "./demo-traffic.ts";

const heldConnections = 40;
const probeIntervalMs = 5;
const outageMs = 3000;
/** Longer than a connection waits before it counts as failed. */
const settleMs = 1500;
/** A held connection that has heard nothing for so long waits. */
const silentMs = 700;
/** Senders wait twice as long after every try: the longest pause after an outage of this length. */
const resumeMs = 10_000;

export async function showFailover(lab: Lab, sluice: Sluice, port: number): Promise<void> {
  heading("A provider fails, and comes back");
  say(`  ${heldConnections} connections stay open, and another is opened every ${probeIntervalMs} ms.`);
  say();
  const holder = lab.spawn("client1", trafficCommand("hold", server, port, heldConnections, 100));
  const prober = lab.spawn("client2", trafficCommand("probe", server, port, probeIntervalMs));
  await holder.waitFor(/\n/);
  await sleep(500);

  const cutMs = now();
  await lab.carrier("isp1", "off");
  tell(cutMs, cutMs, "the cable to isp1 is pulled");
  await sleep(outageMs);
  const outage = readOutage(prober, cutMs);
  tell(cutMs, outage.overMs, `every new connection succeeds again, by isp2; ${outage.failed} had failed`);
  const { uplinks } = await sluice.status();
  const [isp1] = uplinks;
  tell(cutMs, now(), `sluice status: isp1 is ${isp1!.state}, ${isp1!.reason}`);
  const [onIsp1, onIsp2] = (["isp1", "isp2"] as const).map((isp) =>
    held(holder).filter(({ address }) => address === uplinkAddress[isp]),
  );
  const waitingOn = onIsp1!.filter((one) => one.silentMs > silentMs).length;
  const goingOn = onIsp2!.filter((one) => one.silentMs <= silentMs).length;
  tell(
    cutMs,
    now(),
    `of the open ones, ${goingOn} of ${onIsp2!.length} by isp2 went on; ${waitingOn} of ${onIsp1!.length} by isp1 wait`,
  );

  const backMs = now();
  await lab.carrier("isp1", "on");
  tell(cutMs, backMs, "the cable is plugged in again");
  await sleep(settleMs);
  const first = probes(prober).find(({ startedMs, address }) => startedMs > backMs && address === uplinkAddress.isp1);
  if (first) tell(cutMs, first.startedMs, "new connections take isp1 again");
  const failedAfter = probes(prober).filter(({ startedMs, address }) => startedMs > backMs && address === null).length;
  const resumed = await waitForAll(holder);
  tell(cutMs, now(), `${resumed} of the ${heldConnections} open connections go on`);
  await prober.stop();
  await holder.stop();

  say();
  say(`  The failover took ${seconds(outage.overMs - cutMs)}: from the cut to the first new connection after`);
  say("  which none failed. What is open keeps its provider, whose address it has: it");
  say("  waits until that is back.");
  say();
  say("  sluice saw that the cable was gone. It does not notice yet when a provider");
  say("  fails behind a cable that is still good: probes for that are not built.");
  checks.add(
    `new connections failed over (${outage.succeeded} succeeded by isp2)`,
    outage.succeeded > 0 && isp1!.state === "down",
  );
  checks.add("no open connection of the other provider was disturbed", goingOn === onIsp2!.length && goingOn > 0);
  checks.add("the provider that came back is used again", first !== undefined && failedAfter === 0);
  checks.add("every connection that stayed open went on", resumed === heldConnections);
}

/** When the last failing connection was behind: the start of the next one, and how many failed until then. */
function readOutage(prober: Running, cutMs: number): { overMs: number; failed: number; succeeded: number } {
  const since = probes(prober).filter(({ startedMs }) => startedMs >= cutMs);
  const failed = since.filter(({ address }) => address === null);
  const lastFailedMs = failed.at(-1)?.startedMs ?? cutMs;
  const after = since.filter(({ startedMs, address }) => startedMs > lastFailedMs && address !== null);
  return { overMs: after[0]?.startedMs ?? Number.NaN, failed: failed.length, succeeded: after.length };
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

/** Waits until every open connection has been heard of lately; returns how many have. */
async function waitForAll(holder: Running): Promise<number> {
  const deadline = now() + resumeMs;
  for (;;) {
    const alive = held(holder).filter((one) => one.silentMs <= silentMs).length;
    if (alive === heldConnections || now() > deadline) return alive;
    await sleep(50);
  }
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
