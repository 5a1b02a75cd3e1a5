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
  const prefix6 = { words: [0x20010db8, 0x01010000, 0, 0], length: 48 };
  const toOurs = receiveFilter({
    ipAt: 14,
    firstPort: 16_384,
    lastPort: 32_767,
    forwards,
    destinations: Array.from({ length: 16 }, (_, i) => i),
    destinations6: Array.from({ length: 16 }, (_, i) => [0x20010db8, i, 0, 1]),
    prefix6,
  });
  expect(toOurs.length / 8).toBeLessThan(mostInstructions);
  expect(fanoutProgram(16, forwards).length / 8).toBeLessThan(mostInstructions);
  const forwards6 = forwards.map((forward) => ({ ...forward, to: 0, to6: [0xfd000010, 0, 0, 2] }));
  expect(fanoutProgram(16, forwards6, prefix6).length / 8).toBeLessThan(mostInstructions);
});
