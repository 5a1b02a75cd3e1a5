/**
 * A start that is interrupted at any moment, by kill -9 or by SIGTERM, leaves nothing that the next start
 * cannot undo. The moments are drawn from a seed, which is printed. The topology is the lab's (scripts/lab).
 */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lab, openLab } from "../../support/lab.ts";
import { randomFrom } from "../../support/packets.ts";
import { Sluice } from "../../support/sluice.ts";
import { smallConfig, startSluice } from "./daemon.ts";
import { connectTimes, kinds, serve } from "./load.ts";
import { leftOver, type Machine, readMachine, settledMachine } from "./machine.ts";

/** Killed starts, and after how many of them a start is let through. */
const kills = 30;
const killsInARow = 3;
const terminations = 8;

const seed = Date.now() % 1_000_000;
const random = randomFrom(seed);

let lab: Lab;
let before: Machine;
let startMs: number;

beforeAll(async () => {
  lab = await openLab({ name: "startup", masquerade: true });
  await serve(lab);
  before = await readMachine(lab);
  const from = performance.now();
  await (await startSluice(lab, config())).stop();
  startMs = Math.round(performance.now() - from);
});
afterAll(() => lab.close());

const socket = () => `${lab.directory}/control.sock`;
const config = (n = 0) => smallConfig(lab, { workers: 1 + (n % 2), control: { socket: socket() } });
const begin = (n: number) => new Sluice(lab, { config: config(n), args: ["--socket", socket()] });

describe(`a start (moments from seed ${seed})`, () => {
  it(`that follows killed ones works, and leaves nothing of theirs (${kills} kills)`, async () => {
    for (let n = 0; n < kills; n++) {
      const killed = begin(n);
      const afterMs = Math.floor(random() * startMs);
      await sleep(afterMs);
      await killed.kill9();
      if ((n + 1) % killsInARow !== 0) continue;
      const next = await startSluice(lab, config(n), { args: ["--socket", socket()] });
      expect(kinds(await connectTimes(lab, 20)), `after a kill at ${afterMs} ms`).toEqual(["isp1", "isp2"]);
      expect(await next.stop()).toBe(0);
      expect(leftOver(before, await settledMachine(lab)), `after a kill at ${afterMs} ms`).toEqual({});
    }
    expect(await readMachine(lab)).toEqual(before);
  }, 150_000);

  it(`that is ended by SIGTERM before it is through undoes what it has done (${terminations} times)`, async () => {
    for (let n = 0; n < terminations; n++) {
      const ended = begin(n);
      const afterMs = Math.floor(random() * startMs);
      await sleep(afterMs);
      // 143: before there was anything to undo.
      expect([0, 143], `after ${afterMs} ms:\n${ended.output}`).toContain(await ended.stop());
      expect(await readMachine(lab), `after ${afterMs} ms`).toEqual(before);
    }
  });
});
