/** What threads share: the uplink rows under their sequence lock, the counters, the mailboxes; and the layout of packet memory. */
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { insideNetworkWords } from "../../../src/tables/inside-networks.ts";
import { Mailbox, mailboxBytes } from "../../../src/tables/mailbox.ts";
import {
  DeviceQueues,
  ethernetBytes,
  ipOffset,
  layoutMemory,
  scratchSlotAt,
  slotBytes,
  vnetBytes,
} from "../../../src/tables/packet-memory.ts";
import {
  counter,
  maxUplinks,
  maxWorkers,
  SharedState,
  uplinkCounter,
  uplinkCounterAt,
  uplinkWord,
  uplinkWords,
} from "../../../src/tables/shared-state.ts";
import { pattern } from "../../support/packets.ts";

describe("the shared state", () => {
  const inside = new Int32Array(insideNetworkWords);

  test("gives a reader the rows as they were written, over its own view of the memory", () => {
    const writer = new SharedState();
    const reader = new SharedState(writer.buffer);
    writer.updateUplinks((words, bytes) => {
      words[uplinkWords + uplinkWord.address] = -5;
      bytes[(uplinkWords + uplinkWord.linkHeader) * 4] = 0xab;
    });
    const copy = new Int32Array(maxUplinks * uplinkWords);
    expect(reader.readUplinks(copy, inside)).toBe(reader.generation);
    expect(copy[uplinkWords + uplinkWord.address]).toBe(-5);
    expect(copy[uplinkWords + uplinkWord.linkHeader]! & 0xff).toBe(0xab);
  });

  test("changes its generation with every update, and says to wait while one is under way", () => {
    const state = new SharedState();
    const copy = new Int32Array(maxUplinks * uplinkWords);
    const before = state.generation;
    state.updateUplinks(() => expect(new SharedState(state.buffer).readUplinks(copy, inside)).toBe(-1));
    expect(state.generation).not.toBe(before);
    expect(state.readUplinks(copy, inside)).toBe(state.generation);
  });

  test("can be read again after an update that failed", () => {
    const state = new SharedState();
    const fail = () => {
      throw new Error("no such interface");
    };
    expect(() => state.updateUplinks(fail)).toThrow("no such interface");
    expect(state.readUplinks(new Int32Array(maxUplinks * uplinkWords), inside)).toBe(state.generation);
  });

  test("never shows half a change to another thread", async () => {
    const state = new SharedState();
    const changesSeen = new Int32Array(new SharedArrayBuffer(4));
    // All words are written with one number; the reader looks for two.
    const reader = new Worker(
      `const { workerData, parentPort } = require("node:worker_threads");
       (async () => {
         const { SharedState, maxUplinks, uplinkWords } = await import(workerData.module);
         const state = new SharedState(workerData.buffer);
         const copy = new Int32Array(maxUplinks * uplinkWords);
         const inside = new Int32Array(state.inside.length);
         let torn = 0, last = 0;
         while (copy[0] !== -1) {
           // Also a read that came in between leaves the copy whole: the old one.
           state.readUplinks(copy, inside);
           if (copy[0] !== last) Atomics.add(workerData.changesSeen, 0, 1);
           last = copy[0];
           if (copy.some((word) => word !== last)) torn++;
         }
         parentPort.postMessage(torn);
       })();`,
      {
        eval: true,
        workerData: {
          buffer: state.buffer,
          changesSeen,
          module: new URL("../../../src/tables/shared-state.ts", import.meta.url).href,
        },
      },
    );
    const result = new Promise((resolve, reject) => {
      reader.once("message", resolve);
      reader.once("error", reject);
    });
    // Until the reader has seen a thousand changes, however the machine shares out its processors.
    let change = 0;
    while (Atomics.load(changesSeen, 0) < 1000) {
      for (let i = 1; i <= 100; i++) state.updateUplinks((words) => words.fill(++change));
      await new Promise((resolve) => setImmediate(resolve));
    }
    state.updateUplinks((words) => words.fill(-1));
    expect(await result).toBe(0);
    await reader.terminate();
  });

  test("gives every worker counters of its own, and every counter a place of its own", () => {
    const state = new SharedState();
    const blocks = Array.from({ length: maxWorkers }, (_, worker) => state.counters(worker));
    for (const [worker, block] of blocks.entries()) block.fill(worker + 1);
    for (const [worker, block] of blocks.entries()) expect(new Set(block)).toEqual(new Set([worker + 1]));
    expect([state.generation, ...state.uplinks.subarray(0, 4), state.lookups[0]![65_535]]).toEqual([0, 0, 0, 0, 0, 0]);
    const places = Array.from({ length: maxUplinks }, (_, uplink) =>
      Object.values(uplinkCounter).map((which) => uplinkCounterAt(uplink, which)),
    ).flat();
    expect(new Set(places).size).toBe(places.length);
    expect(Math.min(...places)).toBeGreaterThanOrEqual(counter.uplinks);
    expect(Math.max(...places)).toBeLessThan(blocks[0]!.length);
  });
});

describe("a mailbox", () => {
  const open = (workers = 2) => {
    const buffer = new SharedArrayBuffer(workers * workers * mailboxBytes);
    return { box: (from: number, to: number) => new Mailbox(buffer, from, to, workers) };
  };

  /** Room for one packet more than any test posts. */
  const place = () => new Uint8Array(70_000);

  test("hands over packets of any length in order, whole, each with its note, to the reader's own place", () => {
    const { box } = open();
    const memory = pattern(70_000);
    const [out, inbox] = [box(0, 1), box(0, 1)];
    const lengths = [1, 7, 8, 9, 20, 1500, 65_545];
    for (const length of lengths) expect(out.post(memory, 100, length, length * 3)).toBe(true);
    for (const length of lengths) {
      const to = place();
      expect(inbox.waiting).toBe(true);
      expect(inbox.note).toBe(length * 3);
      expect(inbox.collect(to, 50)).toBe(length);
      expect(Buffer.compare(to.subarray(50, 50 + length), memory.subarray(100, 100 + length))).toBe(0);
      expect([to[49], to[50 + length]]).toEqual([0, 0]);
    }
    expect(inbox.waiting).toBe(false);
  });

  test("refuses what comes while it is full, and takes as much again as was collected", () => {
    const { box } = open();
    const memory = pattern(70_000);
    const [out, inbox] = [box(0, 1), box(0, 1)];
    let posted = 0;
    while (out.post(memory, 0, 1500, posted)) posted++;
    expect(posted).toBeGreaterThan(300);
    expect(out.post(memory, 0, 1500, 0)).toBe(false);
    expect([inbox.note, inbox.collect(place(), 0)]).toEqual([0, 1500]);
    expect(out.post(memory, 0, 1500, posted)).toBe(true);
    expect(out.post(memory, 0, 1500, 0)).toBe(false);
    for (let i = 1; i <= posted; i++) expect([inbox.note, inbox.collect(place(), 0)]).toEqual([i, 1500]);
    expect(inbox.waiting).toBe(false);
  });

  test("loses nothing and mixes nothing up however long packets are and whoever is ahead", () => {
    const step = fc.oneof(fc.integer({ min: 1, max: 65_545 }), fc.integer({ min: 1, max: 2000 }), fc.constant(0));
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 300 }), fc.nat(200), (steps, rounds) => {
        const { box } = open();
        const memory = pattern(70_000);
        const [out, inbox] = [box(1, 0), box(1, 0)];
        const to = place();
        for (let i = 0; i < rounds; i++) {
          out.post(memory, 0, 5000, 0);
          inbox.collect(to, 0);
        }
        const waiting: { length: number; note: number }[] = [];
        for (const [note, length] of steps.entries()) {
          if (length > 0 && out.post(memory, note, length, note)) waiting.push({ length, note });
          else if (length === 0) {
            const oldest = waiting.shift();
            expect(inbox.waiting).toBe(oldest !== undefined);
            if (oldest === undefined) continue;
            expect(inbox.note).toBe(oldest.note);
            expect(inbox.collect(to, 0)).toBe(oldest.length);
            expect(
              Buffer.compare(to.subarray(0, oldest.length), memory.subarray(oldest.note, oldest.note + oldest.length)),
            ).toBe(0);
          }
        }
        for (const { length, note } of waiting) expect([inbox.note, inbox.collect(to, 0)]).toEqual([note, length]);
        expect(inbox.waiting).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("is one for every ordered pair of workers", () => {
    const { box } = open(3);
    const memory = pattern(100);
    for (let from = 0; from < 3; from++) {
      for (let to = 0; to < 3; to++) expect(box(from, to).post(memory, 0, 1 + from * 3 + to, 0)).toBe(true);
    }
    for (let from = 0; from < 3; from++) {
      for (let to = 0; to < 3; to++) {
        expect(box(from, to).collect(new Uint8Array(20), 0)).toBe(1 + from * 3 + to);
        expect(box(from, to).waiting).toBe(false);
      }
    }
  });
});

describe("packet memory", () => {
  test.each([
    [2, 1, 0],
    [2, 32, 8],
    [3, 64, 64],
    [17, 5, 3],
  ])(
    "of %i devices with %i receive and %i scratch slots: nothing overlaps, and everything is inside",
    (devices, receiveSlots, scratchSlots) => {
      const layout = layoutMemory(devices, receiveSlots, scratchSlots);
      const memory = new ArrayBuffer(layout.totalBytes);
      const queues = Array.from({ length: devices }, (_, device) => new DeviceQueues(memory, layout, device, 14));
      const areas: [number, number][] = [];
      for (const { counts, receiveLength, sendStart, sendLength, firstSlotAt } of queues) {
        for (const column of [counts, receiveLength, sendStart, sendLength]) {
          areas.push([column.byteOffset, column.byteOffset + column.byteLength]);
        }
        expect([receiveLength.length, sendStart.length, sendLength.length]).toEqual([
          receiveSlots,
          layout.sendCapacity,
          layout.sendCapacity,
        ]);
        for (let slot = 0; slot < receiveSlots; slot++) {
          areas.push([firstSlotAt + slot * slotBytes, firstSlotAt + (slot + 1) * slotBytes]);
        }
      }
      for (let slot = 0; slot < scratchSlots; slot++) {
        areas.push([scratchSlotAt(layout, slot), scratchSlotAt(layout, slot) + slotBytes]);
      }
      areas.sort((a, b) => a[0] - b[0]);
      for (let i = 1; i < areas.length; i++) expect(areas[i]![0]).toBeGreaterThanOrEqual(areas[i - 1]![1]);
      expect(areas.at(-1)![1]).toBeLessThanOrEqual(layout.totalBytes);
      expect(layout.sendCapacity).toBe(devices * receiveSlots + scratchSlots);
    },
  );

  test("aligns the IP header of every slot to 4 bytes, behind the headers of either link", () => {
    const layout = layoutMemory(2, 4, 2);
    const queues = new DeviceQueues(new ArrayBuffer(layout.totalBytes), layout, 1, ethernetBytes);
    expect([(queues.firstSlotAt + ipOffset) % 4, slotBytes % 4, (scratchSlotAt(layout, 1) + ipOffset) % 4]).toEqual([
      0, 0, 0,
    ]);
    expect(ipOffset).toBe(vnetBytes + ethernetBytes);
    expect(slotBytes - ipOffset).toBeGreaterThanOrEqual(65_535);
  });

  test("queues as many packets as there are slots, and refuses one more", () => {
    const layout = layoutMemory(2, 2, 1);
    const queues = new DeviceQueues(new ArrayBuffer(layout.totalBytes), layout, 0, 0);
    for (let i = 0; i < 5; i++) expect(queues.send(1000 + i, 60 + i)).toBe(true);
    expect(queues.send(1, 1)).toBe(false);
    expect([...queues.sendStart]).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect([...queues.sendLength]).toEqual([60, 61, 62, 63, 64]);
    expect([...queues.counts]).toEqual([0, 5, 0, 0]);
  });
});
