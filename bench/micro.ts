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

/** What bin/sluice gives V8: without them another program would be measured. */
const inlining = ["--max-inlined-bytecode-size-cumulative=4000", "--max-inlined-bytecode-size=1500"];

/** With `quick`, only the sizes that have a target. */
export async function runMicro(quick: boolean): Promise<MicroRow[]> {
  const program = fileURLToPath(new URL("micro/forwarder.ts", import.meta.url));
  const sizes = Object.keys(microTargets).flatMap((flows) => ["--flows", flows]);
  const { stdout } = await runCommand(
    [process.execPath, ...inlining, "--expose-gc", program, "--json", ...(quick ? sizes : [])],
    {
      timeoutMs: 120_000,
    },
  );
  return JSON.parse(stdout) as MicroRow[];
}
