/** The JavaScript part alone: bench/micro/forwarder.ts in a process of its own. */
import { fileURLToPath } from "node:url";
import { runCommand } from "../test/support/process.ts";

export interface MicroRow {
  flows: number;
  nsPerPacket: number;
  nsPerNewFlow: number;
  heapGrowthBytes: number;
  bytesPerFlow: number;
}

/** Most nanoseconds a packet that the project allows itself, by flows. */
export const microTargets: Readonly<Record<number, number>> = { 1000: 60, 1000000: 350 };
export const bytesPerFlowTarget = 128;

export async function runMicro(): Promise<MicroRow[]> {
  const program = fileURLToPath(new URL("micro/forwarder.ts", import.meta.url));
  const { stdout } = await runCommand([process.execPath, "--expose-gc", program, "--json"], { timeoutMs: 120_000 });
  return JSON.parse(stdout) as MicroRow[];
}
