/** What is measured against what. The kernel comes first: everything is compared with it. */
import type { Lab } from "../test/support/lab.ts";
import { labConfig } from "../test/support/sluice.ts";
import { compileTool } from "./tools.ts";
import type { Contender, RunningContender } from "./types.ts";

export const baseline = "kernel";

export const contenders: readonly Contender[] = [
  {
    name: baseline,
    title: "kernel",
    about: "the kernel's own multipath route (weights 1:1, hash of addresses and ports) and nft masquerade",
    start: startKernel,
  },
  sluice(1),
  sluice(2),
];

async function startKernel(lab: Lab): Promise<RunningContender> {
  await lab.masquerade("on");
  await lab.multipath("1:1");
  return {
    drops: async () => ({}),
    stop: async () => {
      await lab.multipath("off");
      await lab.masquerade("off");
      await lab.exec("router", [await compileTool("flush-conntrack")]);
    },
  };
}

function sluice(workers: number): Contender {
  return {
    name: `sluice-${workers}`,
    title: `sluice, ${workers === 1 ? "1 worker" : `${workers} workers`}`,
    about: `sluice with its default configuration and ${workers === 1 ? "one worker" : `${workers} workers`}, weights 1:1`,
    start: async (lab) => {
      const daemon = await lab.sluice(labConfig(lab, { workers }));
      return {
        drops: async () => (await daemon.status()).drops,
        stop: async () => {
          const status = await daemon.stop();
          if (status !== 0) throw new Error(`sluice up ended with status ${status}:\n${daemon.output}`);
        },
      };
    },
  };
}
