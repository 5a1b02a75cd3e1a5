/** Connections opened and closed a second (bench/tools/connect-rate.c). */
import type { Outcome, RunContext } from "../types.ts";

const processes = 2;
/** Connections that each process has under way. */
const waiting = 64;
/** All that the server has, less the last, which would be a broadcast address elsewhere. */
const firstAddress = "192.0.2.1";
const addresses = 62;
const port = "5401";

interface ConnectReport {
  succeeded: number;
  failed: number;
  stalled: number;
  seconds: number;
}

export async function runConnect({ lab, clients, tools, warmUpMs, runMs }: RunContext): Promise<Outcome> {
  const program = tools["connect-rate"]!;
  const server = lab.spawn("server", [program, "serve", port, String(processes)]);
  try {
    await server.waitFor(/serving/);
    const numbers = [processes, waiting, warmUpMs, runMs].map(String);
    const command = [program, "connect", firstAddress, String(addresses), port, ...numbers];
    const { stdout } = await lab.exec(clients[0]!, command, { timeoutMs: warmUpMs + runMs + 20_000 });
    const { succeeded, failed, stalled, seconds } = JSON.parse(stdout) as ConnectReport;
    return { value: succeeded / seconds, work: succeeded / 1000, notes: { failed, stalled } };
  } finally {
    await server.stop();
  }
}
