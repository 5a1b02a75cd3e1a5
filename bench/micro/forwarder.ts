/**
 * What the JavaScript part costs, without a kernel: packets through the whole forwarder, from decode
 * to send queue, over in-memory slots that are filled once. Half of the packets go out, half come back.
 *
 *     node bench/micro/forwarder.ts [--json]
 *
 * Expected before the run: decode 10 ns, hash 11, find and track 10, rewrite 10, queue 5: under 50 ns
 * in cache; three cache misses more a packet at a million flows, overlapped by the touch pass.
 */
import { parseArgs } from "node:util";
import { verdict } from "../../src/dataplane/verdict.ts";
import { counter } from "../../src/tables/shared-state.ts";
import { type BenchPath, openBenchPath } from "./path.ts";

/** Short rounds, many of them, and the best counts: on a shared machine a long one is never undisturbed. */
const packetsPerRound = 64_000;
const rounds = 400;

interface Row {
  flows: number;
  nsPerPacket: number;
  nsPerNewFlow: number;
  heapGrowthBytes: number;
  bytesPerFlow: number;
}

const { values } = parseArgs({ options: { json: { type: "boolean" }, flows: { type: "string", multiple: true } } });
const rows = (values.flows ?? ["1000", "10000", "100000", "1000000"]).map((flows) => measure(Number(flows)));
if (values.json) console.log(JSON.stringify(rows, null, 2));
else console.table(rows);

function measure(flows: number): Row {
  const path = openBenchPath(flows);
  const opening = time(() => path.openAll());
  path.run(2_000_000, true);
  const heapBefore = heapUsed();
  let best = Number.POSITIVE_INFINITY;
  let bestRig = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    bestRig = Math.min(
      bestRig,
      time(() => path.run(packetsPerRound, false)),
    );
    best = Math.min(
      best,
      time(() => path.run(packetsPerRound, true)),
    );
  }
  const heapGrowthBytes = heapUsed() - heapBefore;
  checkNothingDropped(path);
  return {
    flows,
    nsPerPacket: round1((best - bestRig) / packetsPerRound),
    nsPerNewFlow: round1(opening / flows),
    heapGrowthBytes,
    bytesPerFlow: round1(path.forwarder.conntrack.bytes / flows),
  };
}

function checkNothingDropped(path: BenchPath): void {
  const counters = path.shared.counters(0);
  for (let reason = 1; reason < Object.keys(verdict).length; reason++) {
    const dropped = counters[counter.drops + reason]!;
    if (dropped !== 0) throw new Error(`${dropped} packets dropped: ${Object.keys(verdict)[reason]}`);
  }
}

/** Nanoseconds. */
function time(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
