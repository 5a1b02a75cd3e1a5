/** The tables of rows against Maps, under random operations. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CountedKeys } from "../../../src/tables/counted-keys.ts";
import { FlowTable, flowWord, flowWords } from "../../../src/tables/flow-table.ts";
import { MappingTable } from "../../../src/tables/mapping-table.ts";

interface Tuple {
  inside: number;
  remote: number;
  ports: number;
  mapped: number;
  mappedPort: number;
  protocol: number;
  uplink: number;
}

const capacity = 40;
/** Few values, so that tuples share much; extremes of signed words and of ports among them. */
const address = fc.constantFrom(0xc0a8_0a02 | 0, 0xc0a8_0a03 | 0, -1, 1);
const port = fc.constantFrom(1, 53, 0x8000, 65_535);
const tuple: fc.Arbitrary<Tuple> = fc.record({
  inside: address,
  remote: address,
  ports: fc.tuple(port, port).map(([inside, remote]) => (inside << 16) | remote),
  mapped: fc.constantFrom(0xcb00_7102 | 0, 0x0102_0304),
  mappedPort: port,
  protocol: fc.constantFrom(1, 6, 17, 255),
  uplink: fc.constantFrom(0, 1, 15),
});

const originalKey = ({ inside, remote, ports, protocol }: Tuple) => `o ${inside} ${remote} ${ports} ${protocol}`;
const replyPorts = ({ ports, mappedPort }: Tuple) => (ports << 16) | mappedPort;
const replyKey = (each: Tuple) => `r ${each.remote} ${each.mapped} ${replyPorts(each)} ${each.protocol}`;

function findBoth(table: FlowTable, each: Tuple): [number, number] {
  const { inside, remote, ports, mapped, protocol } = each;
  const find = (source: number, destination: number, pair: number) =>
    table.find(table.hash(source, destination, pair, protocol), source, destination, pair, protocol);
  return [find(inside, remote, ports), find(remote, mapped, replyPorts(each))];
}

describe("the flow table", () => {
  test("finds every open flow by both tuples, and no other, after any openings and closings", () => {
    const operations = fc.array(fc.tuple(fc.nat(2), tuple), { maxLength: 200 });
    fc.assert(
      fc.property(operations, fc.nat(), (all, key) => {
        const table = new FlowTable(capacity, key, ~key);
        const byKey = new Map<string, number>();
        const open = new Map<number, Tuple>();
        for (const [what, each] of all) {
          const [asked, answered] = [byKey.get(originalKey(each)), byKey.get(replyKey(each))];
          if (what === 0 && asked !== undefined) {
            const closed = open.get(asked)!;
            table.close(asked);
            open.delete(asked);
            byKey.delete(originalKey(closed));
            byKey.delete(replyKey(closed));
          } else if (asked === undefined && answered === undefined && originalKey(each) !== replyKey(each)) {
            expect(table.full).toBe(open.size === capacity);
            if (table.full) continue;
            const { inside, remote, ports, mapped, mappedPort, protocol, uplink } = each;
            const flow = table.insert(inside, remote, ports, mapped, mappedPort, protocol, uplink);
            expect(flow >= 1 && flow <= capacity && !open.has(flow)).toBe(true);
            open.set(flow, each);
            byKey.set(originalKey(each), flow);
            byKey.set(replyKey(each), flow);
          }
          expect(table.open).toBe(open.size);
        }
        for (const [, each] of all) {
          const [asked, answered] = [byKey.get(originalKey(each)), byKey.get(replyKey(each))];
          const isOwn = asked !== undefined && replyKey(open.get(asked)!) === replyKey(each);
          const found = findBoth(table, each);
          expect(found[0]).toBe(asked === undefined ? 0 : asked << 1);
          if (isOwn || answered === undefined) expect(found[1]).toBe(answered === undefined ? 0 : (answered << 1) | 1);
        }
        for (let flow = 1; flow < table.end; flow++) expect(table.isOpen(flow)).toBe(open.has(flow));
      }),
      { numRuns: 300 },
    );
  });

  test("holds as many flows as it says, with the last row as whole as the first", () => {
    const table = new FlowTable(1000, 1, 2);
    const nth = (i: number) => ({ inside: i, remote: ~i, ports: i, mapped: 7, mappedPort: i, protocol: 6, uplink: 3 });
    for (let i = 1; i <= 1000; i++) {
      expect(table.full).toBe(false);
      table.insert(i, ~i, i, 7, i, 6, 3);
    }
    expect([table.full, table.open, table.end]).toEqual([true, 1000, 1001]);
    for (let i = 1; i <= 1000; i++) expect(findBoth(table, nth(i))).toEqual([i << 1, (i << 1) | 1]);
    table.close(500);
    expect([table.full, table.open]).toEqual([false, 999]);
  });

  test("hands out a row that is clean, even when it was used before", () => {
    const table = new FlowTable(2, 1, 2);
    const first = table.insert(1, 2, 3, 4, 5, 6, 7);
    table.words.fill(-1, first * flowWords + flowWord.state, first * flowWords + flowWords);
    table.close(first);
    const again = table.insert(11, 12, 13, 14, 15, 16, 0);
    expect(again).toBe(first);
    const row = [...table.words.subarray(again * flowWords, again * flowWords + flowWords)];
    expect(row).toEqual([11, 12, 13, 14, (15 << 16) | (16 << 8), ...new Array(11).fill(0)]);
  });

  test("has its byte counters in the same memory, as doubles that hold more than 32 bits", () => {
    const table = new FlowTable(2, 1, 2);
    const flow = table.insert(1, 2, 3, 4, 5, 6, 7);
    const at = (word: number) => (flow * flowWords + word) / 2;
    table.doubles[at(flowWord.txBytes)]! += 2 ** 40;
    table.doubles[at(flowWord.rxBytes)]! += 2 ** 41;
    expect([flowWord.txBytes % 2, flowWord.rxBytes % 2]).toEqual([0, 0]);
    expect(table.doubles[at(flowWord.txBytes)]).toBe(2 ** 40);
    expect(
      findBoth(table, { inside: 1, remote: 2, ports: 3, mapped: 4, mappedPort: 5, protocol: 6, uplink: 7 }),
    ).toEqual([flow << 1, (flow << 1) | 1]);
  });

  test("costs at most 128 bytes a flow, index included", () => {
    for (const flows of [65_536, 262_144, 1_048_576])
      expect(new FlowTable(flows, 1, 2).bytes / flows).toBeLessThan(128);
  });

  test("may be asked before it holds anything", () => {
    const table = new FlowTable(4, 1, 2);
    expect(table.find(table.hash(1, 2, 3, 4), 1, 2, 3, 4)).toBe(0);
    expect([table.open, table.full, table.end]).toEqual([0, false, 1]);
    expect(typeof (table.touchIndex(5) ^ table.touchRow(5))).toBe("number");
  });
});

describe("the mapping table", () => {
  test("holds as many mappings as it says, with the last row as whole as the first", () => {
    const table = new MappingTable(1000, 1, 2);
    for (let i = 1; i <= 1000; i++) {
      expect(table.full).toBe(false);
      table.use(table.insert(~i, i, 17, 5, -i, i + 1, true));
    }
    expect([table.full, table.open]).toEqual([true, 1000]);
    for (let i = 1; i <= 1000; i++) {
      expect(table.find(~i, i, 17)).toBe(i);
      expect([table.address(i), table.port(i), table.uplink(i), table.uses(i)]).toEqual([-i, i + 1, 5, 1]);
    }
    expect(table.release(1000)).toBe(true);
    expect([table.full, table.open]).toEqual([false, 999]);
  });

  interface Mapping {
    inside: number;
    port: number;
    protocol: number;
    uplink: number;
    mapped: number;
    mappedPort: number;
    findable: boolean;
    uses: number;
  }

  const operation = fc.record({
    what: fc.constantFrom("insert", "insert", "use", "release", "release", "hide"),
    inside: address,
    port: fc.constantFrom(0, 1, 0x8000, 65_535),
    protocol: fc.constantFrom(1, 6, 17),
    uplink: fc.constantFrom(0, 15),
    mappedPort: port,
    findable: fc.boolean(),
    choice: fc.nat(),
  });

  test("finds exactly the findable mapping of an endpoint, any by its port, and closes with its last use", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const table = new MappingTable(capacity, 5, 6);
        const model = new Map<number, Mapping>();
        const found = (each: Pick<Mapping, "inside" | "port" | "protocol">) =>
          [...model].find(
            ([, other]) =>
              other.findable &&
              other.inside === each.inside &&
              other.port === each.port &&
              other.protocol === each.protocol,
          )?.[0] ?? 0;
        for (const { what, choice, ...each } of operations) {
          const chosen = [...model.keys()][choice % Math.max(1, model.size)];
          if (what === "insert") {
            expect(table.full).toBe(model.size === capacity);
            if (table.full) continue;
            const findable = each.findable && found(each) === 0;
            const { inside, port, protocol, uplink, mappedPort } = each;
            const mapping = table.insert(inside, port, protocol, uplink, 99, mappedPort, findable);
            expect(mapping >= 1 && !model.has(mapping)).toBe(true);
            model.set(mapping, { ...each, mapped: 99, findable, uses: 0 });
          } else if (chosen === undefined) continue;
          else if (what === "hide") {
            table.hide(chosen);
            model.get(chosen)!.findable = false;
          } else if (what === "use") {
            table.use(chosen);
            model.get(chosen)!.uses++;
          } else {
            const left = --model.get(chosen)!.uses;
            expect(table.release(chosen)).toBe(left <= 0);
            if (left <= 0) model.delete(chosen);
          }
          expect(table.open).toBe(model.size);
        }
        for (const each of operations) expect(table.find(each.inside, each.port, each.protocol)).toBe(found(each));
        for (const { mappedPort, protocol } of operations) {
          const holders = [...model].filter(([, each]) => each.mappedPort === mappedPort && each.protocol === protocol);
          const byPort = table.findByPort(99, mappedPort, protocol);
          // Here, not in the data plane, several may hold one port.
          expect(holders.length === 0 ? [0] : holders.map(([mapping]) => mapping)).toContain(byPort);
          expect(table.findByPort(98, mappedPort, protocol)).toBe(0);
        }
        for (const [mapping, each] of model) {
          expect(table.insidePort(mapping)).toBe(each.port);
          expect([table.inside(mapping), table.uplink(mapping), table.protocol(mapping)]).toEqual([
            each.inside,
            each.uplink,
            each.protocol,
          ]);
          expect([table.address(mapping), table.port(mapping), table.uses(mapping)]).toEqual([
            99,
            each.mappedPort,
            each.uses,
          ]);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("counted keys", () => {
  const key = fc.tuple(fc.integer({ min: -4, max: 3 }), fc.constantFrom(0, 1, -1));
  const operation = fc.tuple(fc.constantFrom("add", "add", "release"), key);

  test("count each key by itself, and have room again when the last of a key is gone", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
        const table = new CountedKeys(6, 7, 8);
        const model = new Map<string, { key: readonly [number, number]; count: number }>();
        for (const [what, each] of operations) {
          const known = model.get(each.join());
          if (what === "add") {
            const entry = table.add(...each);
            expect(entry === 0).toBe(known === undefined && model.size === 6);
            if (entry === 0) continue;
            model.set(each.join(), { key: each, count: (known?.count ?? 0) + 1 });
          } else if (known !== undefined) {
            table.release(table.find(...each));
            if (--known.count === 0) model.delete(each.join());
          } else expect(table.find(...each)).toBe(0);
          for (const { key, count } of model.values()) expect(table.count(table.find(...key))).toBe(count);
        }
      }),
    );
  });

  test("have room for none where none are needed", () => {
    const table = new CountedKeys(0, 7, 8);
    expect([table.add(1, 2), table.find(1, 2)]).toEqual([0, 0]);
  });
});
