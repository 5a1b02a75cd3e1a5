import { expect, test } from "vitest";
import { openBenchPath } from "../../../bench/micro/path.ts";
import { counter, maxDropReasons, uplinkCounter, uplinkCounterAt } from "../../../src/tables/shared-state.ts";

test("every packet of the micro-benchmark is forwarded", () => {
  const flows = 50_000;
  const path = openBenchPath(flows);
  path.openAll();
  path.run(64_000, true);
  const counters = path.shared.counters(0);
  expect(counters.slice(counter.drops, counter.drops + maxDropReasons).every((dropped) => dropped === 0)).toBe(true);
  expect(counters[uplinkCounterAt(0, uplinkCounter.txPackets)]).toBe(flows + 32_000);
  expect(counters[uplinkCounterAt(0, uplinkCounter.rxPackets)]).toBe(flows + 32_000);
});
