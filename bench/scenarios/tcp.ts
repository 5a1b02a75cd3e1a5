/** TCP throughput by iperf3, as its receivers count it. */
import { server as serverAddress } from "../../test/support/lab.ts";
import type { Outcome, RunContext } from "../types.ts";

export type Direction = "up" | "down" | "both";

const directionFlags: Record<Direction, string[]> = { up: [], down: ["--reverse"], both: ["--bidir"] };

interface Iperf3Sum {
  bits_per_second: number;
  bytes: number;
  retransmits?: number;
}

interface Iperf3Report {
  error?: string;
  end: Partial<
    Record<"sum_sent" | "sum_received" | "sum_sent_bidir_reverse" | "sum_received_bidir_reverse", Iperf3Sum>
  >;
}

/** Streams from the first client to the server (`up`), back (`down`), or both at once, with this many streams each way. */
export async function runTcp(
  { lab, clients, warmUpMs, runMs }: RunContext,
  streams: number,
  direction: Direction,
): Promise<Outcome> {
  const server = lab.spawn("server", ["iperf3", "--server", "--one-off", "--forceflush"]);
  try {
    await server.waitFor(/Server listening/);
    const command = [
      "iperf3",
      "--client",
      serverAddress,
      "--json",
      "--parallel",
      String(streams),
      "--omit",
      seconds(warmUpMs),
      "--time",
      seconds(runMs),
    ];
    const { stdout } = await lab.exec(clients[0]!, [...command, ...directionFlags[direction]], {
      mayFail: true,
      timeoutMs: warmUpMs + runMs + 20_000,
    });
    return outcomeOf(JSON.parse(stdout) as Iperf3Report);
  } finally {
    await server.stop("SIGKILL");
  }
}

function outcomeOf({ error, end }: Iperf3Report): Outcome {
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  const received = [end.sum_received, end.sum_received_bidir_reverse].filter((sum) => sum !== undefined);
  const sent = [end.sum_sent, end.sum_sent_bidir_reverse].filter((sum) => sum !== undefined);
  const total = (values: Iperf3Sum[], key: "bits_per_second" | "bytes" | "retransmits") =>
    values.reduce((sum, value) => sum + (value[key] ?? 0), 0);
  const notes: Record<string, number> = { retransmissions: total(sent, "retransmits") };
  if (received.length === 2) {
    notes.upGbit = received[0]!.bits_per_second / 1e9;
    notes.downGbit = received[1]!.bits_per_second / 1e9;
  }
  return { value: total(received, "bits_per_second") / 1e9, work: total(received, "bytes") / 1e9, notes };
}

/** iperf3 takes whole seconds. */
function seconds(ms: number): string {
  return String(Math.max(1, Math.round(ms / 1000)));
}
