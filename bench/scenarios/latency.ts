/** Round-trip times by ping, on an otherwise idle path. */
import { server } from "../../test/support/lab.ts";
import { quantile } from "../statistics.ts";
import type { Outcome, RunContext } from "../types.ts";

/** Longer than anything keeps spinning, so that every packet finds the path asleep. */
const intervalMs = 5;

export async function runPing({ lab, clients, warmUpMs, runMs }: RunContext): Promise<Outcome> {
  const skipped = warmUpMs / intervalMs;
  const count = Math.round(skipped + runMs / intervalMs);
  const command = ["ping", "-n", "-i", String(intervalMs / 1000), "-c", String(count), server];
  const { stdout } = await lab.exec(clients[0]!, command, { timeoutMs: warmUpMs + runMs + 20_000 });
  const times = [...stdout.matchAll(/icmp_seq=(\d+) .*time=([\d.]+) ms/g)]
    .filter(([, sequence]) => Number(sequence) > skipped)
    .map(([, , ms]) => Number(ms) * 1000)
    .sort((a, b) => a - b);
  if (times.length === 0) throw new Error(`no answer to ping:\n${stdout}`);
  return {
    value: quantile(times, 0.5),
    work: times.length,
    notes: { p99Us: quantile(times, 0.99), lossRatio: 1 - times.length / (count - skipped) },
  };
}
