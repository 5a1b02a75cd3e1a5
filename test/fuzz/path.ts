/** Millions of packets through the whole path, with the figures that say whether anything grew: `scripts/fuzz path`. */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { Mayhem } from "./mayhem.ts";

export interface PathOptions {
  seed: number;
  /** In all. */
  packets: number;
  /** 0: a share of the packets with one and with two, under every filtering. */
  workers: number;
}

/** Turns between two looks at all tables. */
const checkEvery = 200;
/** What the heap may differ by between a fifth of the way and the end. */
const mostGrowthBytes = 2_000_000;

/** Throws, naming seed and turn, when anything that must hold does not. */
export function runPath({ seed, packets, workers }: PathOptions): void {
  const modes = (workers === 0 ? [1, 2] : [workers]).flatMap((count) =>
    Object.entries(filtering).map(([name, mode]) => ({ count, name, mode })),
  );
  for (const { count, name, mode } of modes) {
    const began = performance.now();
    const mayhem = new Mayhem({ seed, workers: count, filtering: mode });
    const grown = sendPackets(mayhem, seed, Math.ceil(packets / modes.length));
    const seconds = (performance.now() - began) / 1000;
    console.log(
      `path: ${mayhem.made} packets, ${mayhem.left} left again (${mayhem.left6} of IPv6 by an uplink), ${mayhem.mails} times mail, ${Object.keys(mayhem.drops).length} kinds of drop, ` +
        `heap ${grown >= 0 ? "+" : ""}${grown} bytes, ${seconds.toFixed(0)} s; workers ${count}, filtering ${name}, seed ${seed}`,
    );
  }
}

/** Returns by how many bytes the heap has grown since the first fifth. */
export function sendPackets(mayhem: Mayhem, seed: number, packets: number): number {
  let fifth = 0;
  for (let turn = 0; mayhem.made < packets; turn++) {
    try {
      mayhem.turn();
      if (turn % checkEvery === 0) mayhem.check();
    } catch (error) {
      throw new Error(`seed ${seed}, workers ${mayhem.rigs.length}, turn ${turn}`, { cause: error });
    }
    if (fifth === 0 && mayhem.made >= packets / 5) fifth = usedHeapBytes();
  }
  const grown = usedHeapBytes() - fifth;
  assert.ok(grown < mostGrowthBytes, `the heap grew by ${grown} bytes`);
  mayhem.check();
  mayhem.finish();
  return grown;
}

function usedHeapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}
