import { expect, test } from "vitest";
import { fanoutProgram } from "../../../src/io/fanout-program.ts";
import { receiveFilter } from "../../../src/io/receive-filter.ts";
import { TCP, UDP } from "../../support/packets.ts";

/** BPF_MAXINSNS. */
const mostInstructions = 4096;

test("as many forwards as a configuration may have fit into what the kernel takes, and into its jumps", () => {
  const forwards = Array.from({ length: 64 }, (_, i) =>
    [TCP, UDP].map((protocol) => ({
      uplinks: 1,
      protocol,
      firstPort: 100 + i,
      lastPort: 100 + i,
      to: -1 - i,
      toPort: 65_535 - i,
    })),
  ).flat();
  const filter = receiveFilter({ ipAt: 14, firstPort: 16_384, lastPort: 32_767, forwards, destinations: null });
  expect(filter.length / 8).toBeLessThan(mostInstructions);
  const toOurs = receiveFilter({
    ipAt: 14,
    firstPort: 16_384,
    lastPort: 32_767,
    forwards,
    destinations: Array.from({ length: 16 }, (_, i) => i),
  });
  expect(toOurs.length / 8).toBeLessThan(mostInstructions);
  expect(fanoutProgram(16, forwards).length / 8).toBeLessThan(mostInstructions);
});
