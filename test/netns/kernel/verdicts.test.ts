/**
 * The same packets through the kernel's masquerade and through sluice: what common tools sent and got (captures/tools.pcap,
 * made by record.ts), as it is and with every mutation in the middle of its conversations. Verdicts are compared packet by packet.
 */

import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { labConfig } from "../../support/sluice.ts";
import { allowList } from "./allow-list.ts";
import { readCapture } from "./capture.ts";
import { type Crossing, openCrossing } from "./crossing.ts";
import type { Replayed } from "./plan.ts";
import { buildScenes, type Scene } from "./scenario.ts";

const seed = Number(process.env.SLUICE_SEED ?? 1);
const capture = fileURLToPath(new URL("captures/tools.pcap", import.meta.url));
/** Fewer than the capture's and its mutations' would say that some are missing. */
const fewestScenes = 3000;

/** Three labs, 12 s where nothing else runs. */
const patienceMs = 180_000;

const scenes = buildScenes(readCapture(capture), seed);

describe(`${scenes.length} packets and mutants (seed ${seed})`, () => {
  let plain: Replayed;
  let kernel: Replayed;
  let ours: Replayed;

  beforeAll(async () => {
    plain = await replayed((crossing) => crossing.useKernel(false));
    kernel = await replayed((crossing) => crossing.useKernel(true));
    ours = await replayed(useSluice);
  }, patienceMs);

  it("of ours, nothing leaves but from the uplink's own address", async ({ annotate }) => {
    await annotate(`sluice: ${leaks(ours)}`);
    await annotate(`the kernel, dropping what is invalid: ${leaks(kernel)}`);
    await annotate(`the kernel as it is: ${leaks(plain)}`);
    expect(scenes.length).toBeGreaterThan(fewestScenes);
    expect(ours.left).toBeGreaterThan(fewestScenes);
    expect([ours.foreign, ours.private]).toEqual([0, 0]);
    expect(plain.private, "the measure sees a leak").toBeGreaterThan(0);
  });

  it("pass or do not pass alike, but for the differences on the list", () => {
    const unlisted = differences(kernel, ours).filter(({ entry }) => entry < 0);
    expect(unlisted.map(({ text }) => text)).toEqual([]);
  });

  it("need every entry of the list", () => {
    const used = new Set(differences(kernel, ours).map(({ entry }) => entry));
    expect(allowList.filter((_, i) => !used.has(i)).map(({ reason }) => reason)).toEqual([]);
  });
});

async function replayed(prepare: (crossing: Crossing) => Promise<void>): Promise<Replayed> {
  const crossing = await openCrossing("verdicts");
  try {
    await prepare(crossing);
    return await crossing.replay(scenes);
  } finally {
    await crossing.lab.close();
  }
}

async function useSluice({ lab }: Crossing): Promise<void> {
  // One worker keeps the order of packets, which the replay's fences rely on.
  const sluice = await lab.sluice(labConfig(lab, { workers: 1, limits: { flows: 65_536 } }));
  await sluice.waitFor(/sluice is forwarding/);
}

/** The packets that one lets through and the other does not, each with the first entry of the list that fits; -1: none does. */
function differences(kernel: Replayed, ours: Replayed): { entry: number; text: string }[] {
  return scenes.flatMap((scene, i) => {
    const passes = kernel.outcomes[i]!.passed > 0;
    if (passes === ours.outcomes[i]!.passed > 0) return [];
    const entry = allowList.findIndex(({ kernel, fits }) => (kernel === "passes") === passes && fits(scene));
    return [{ entry, text: `${i}: ${describeScene(scene)}: the kernel ${passes ? "passes" : "drops"} it` }];
  });
}

function describeScene({ what, protocol, side, packets }: Scene): string {
  return `${what}, ${protocol} from ${side}, ${packets.map((packet) => packet.slice(0, 96)).join(" ")}`;
}

function leaks({ left, foreign, private: fromPrivate }: Replayed): string {
  return `${left} packets left, ${foreign} not from the uplink's own address, ${fromPrivate} from a private one`;
}
