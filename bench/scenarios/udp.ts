/** Small UDP packets, counted where they arrive (bench/tools/udp-rate.c says why the sender has a brake). */
import { join } from "node:path";
import { server } from "../../test/support/lab.ts";
import type { Running } from "../../test/support/process.ts";
import type { Outcome, RunContext } from "../types.ts";

const payloadBytes = 64;
const flowsPerClient = 32;
const firstPort = 5301;

interface SenderReport {
  sent: number;
  received: number;
  seconds: number;
  waitedSeconds: number;
}

/** Every client sends to a receiver of its own. `window`: packets that a flow has under way at most; 0 for no limit. */
export async function runUdp(context: RunContext, window: number): Promise<Outcome> {
  const { lab, clients, tools, warmUpMs, runMs } = context;
  const run = `udp-${process.hrtime.bigint()}`;
  const receivers: Running[] = [];
  try {
    const senders = clients.map(async (client, index) => {
      const shared = join(lab.directory, `${run}-${client}`);
      const port = String(firstPort + index);
      const receiver = lab.spawn("server", [tools["udp-rate"]!, "receive", shared, port]);
      receivers.push(receiver);
      await receiver.waitFor(/receiving/);
      const numbers = [flowsPerClient, payloadBytes, window, warmUpMs, runMs].map(String);
      const command = [tools["udp-rate"]!, "send", shared, server, port, ...numbers];
      return JSON.parse(
        (await lab.exec(client, command, { timeoutMs: warmUpMs + runMs + 20_000 })).stdout,
      ) as SenderReport;
    });
    return outcomeOf(await Promise.all(senders));
  } finally {
    for (const receiver of receivers) await receiver.stop();
  }
}

function outcomeOf(reports: readonly SenderReport[]): Outcome {
  const total = (key: keyof SenderReport) => reports.reduce((sum, report) => sum + report[key], 0);
  return {
    value: reports.reduce((sum, { received, seconds }) => sum + received / seconds, 0),
    work: total("received") / 1e6,
    notes: {
      /** Sent and received are read a moment apart. */
      lossRatio: Math.max(0, 1 - total("received") / total("sent")),
      /** Of the senders' time: how long the path kept them waiting. 0 when it was the senders that were slow, or had no brake. */
      waitRatio: total("waitedSeconds") / total("seconds"),
    },
  };
}
