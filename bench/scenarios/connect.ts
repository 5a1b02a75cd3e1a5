/** Connections opened and closed a second (bench/tools/connect-rate.c). */
import type { Lab } from "../../test/support/lab.ts";
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

/** Room for as many closed connections as a run makes: without it the server would answer their last packets by a reset. */
export async function prepareConnect(lab: Lab): Promise<void> {
  await lab.exec("server", ["sysctl", "-qw", "net.ipv4.tcp_max_tw_buckets=1000000"]);
}

/** Ends the server's closed connections, which would wait for a minute. */
export async function settleConnect(lab: Lab): Promise<void> {
  await lab.exec("server", ["ss", "--kill", "--tcp", "--numeric", "state", "time-wait"]);
}
