/**
 * Packets of all sorts, whole and broken, from all sides, while uplinks come and go, with one worker and with two: nothing
 * throws, nothing leaves untranslated, nothing grows. A failure names its seed; SLUICE_SEED runs one again. Ten million of them
 * are `scripts/fuzz path`.
 */
import { expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { Mayhem } from "../fuzz/mayhem.ts";
import { sendPackets } from "../fuzz/path.ts";

const packets = 50_000;
const seed = Number(process.env.SLUICE_SEED ?? 20_260_728);
const boxes = [1, 2].flatMap((workers) => Object.entries(filtering).map(([name, mode]) => ({ workers, name, mode })));

test.each(boxes)(
  `${packets} packets, workers $workers, filtering $name, seed ${seed}`,
  { timeout: 120_000 },
  ({ workers, mode }) => {
    const mayhem = new Mayhem({ seed, workers, filtering: mode });
    sendPackets(mayhem, seed, packets);
    // The mixture is worth something only where much of it gets through, and all of the rest is dropped by name.
    expect(mayhem.left).toBeGreaterThan(packets / 8);
    expect(mayhem.left6).toBeGreaterThan(packets / 500);
    expect(mayhem.mails > packets / 500).toBe(workers > 1);
    expect(Object.keys(mayhem.drops).length).toBeGreaterThan(25);
  },
);
