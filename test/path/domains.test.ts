/** Destinations that rules mean by name, known from the DNS answers that pass through: the name is resolved first, then the flow finds its rule. */

import { type Answer, encode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileRules } from "../../src/control/rules.ts";
import { flowPolicy } from "../../src/daemon/policy-settings.ts";
import { addressHash } from "../../src/dataplane/classify.ts";
import { Domains } from "../../src/dataplane/domains.ts";
import { FlowMemory, flowMemoryBytes } from "../../src/dataplane/flow-memory.ts";
import { addressNumber, udp } from "../support/packets.ts";
import { address6Words, udp6 } from "../support/packets6.ts";
import { configWith } from "../support/rules.ts";
import {
  client,
  client6,
  openWorkers,
  type Rig,
  type RigOptions,
  server,
  server6,
  uplinkAddresses,
  uplinkAddresses6,
} from "./rig.ts";

const rules = `rules:
  - { match: { domain: [example.org] }, use: [b] }
  - { match: { domain: [cdn.example.net, com] }, use: [c] }`;
const links = [14, 14, 14];

function open(options: RigOptions = {}): Rig[] {
  const config = configWith(rules);
  const { table } = compileRules(config, () => []);
  const memory = new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(2)), 2);
  const rigs = openWorkers(2, { links, hasIpv6: true, policy: flowPolicy(config, table), memory, ...options });
  const { shared } = rigs[0]!;
  for (const lookups of [shared.lookups, shared.lookups6]) {
    lookups[1]!.fill(1);
    lookups[2]!.fill(2);
  }
  return rigs;
}

type Record = { name: string; to: string; ttl?: number };

/** The answer to a question for `name`: aliases and addresses, in this order. */
function message(name: string, records: readonly Record[]): Uint8Array {
  const typeOf = (to: string) => (/^[0-9.]+$/.test(to) ? "A" : to.includes(":") ? "AAAA" : "CNAME");
  const answers = records.map((each) => ({
    name: each.name,
    type: typeOf(each.to),
    ttl: each.ttl ?? 300,
    data: each.to,
  }));
  return encode({ type: "response", id: 7, questions: [{ name, type: "A" }], answers: answers as Answer[] });
}

let nextPort = 5000;

/** Has a host inside ask, and the server answer; the answer must go on as it is. */
function resolve(rig: Rig, name: string, records: readonly Record[], data = message(name, records)): void {
  const port = nextPort++;
  const asked = rig.outOne(udp({ source: `${client}:${port}`, destination: `${server}:53` }));
  const answered = rig.inOne(
    udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:${asked.sourcePort}`, data }),
  );
  expect(answered.bytes.subarray(28)).toEqual(Uint8Array.from(data));
}

function uplinkOf(rig: Rig, destination: string): number {
  const port = nextPort++;
  const packet = destination.includes(":")
    ? udp6({ source: `[${client6}]:${port}`, destination: `[${destination}]:443` })
    : udp({ source: `${client}:${port}`, destination: `${destination}:443` });
  rig.injectInside(packet);
  rig.run();
  return links.findIndex((_, uplink) => rig.io.takeSent(uplink + 1).length > 0);
}

describe("a rule by domain", () => {
  test("is known from the answer on, to all workers, for both families, and for that long", () => {
    const rigs = open();
    const [first, second] = rigs as [Rig, Rig];
    expect(uplinkOf(first, "198.51.100.7")).toBe(0);
    resolve(first, "www.Example.ORG", [
      { name: "www.example.org", to: "198.51.100.7", ttl: 600 },
      { name: "www.example.org", to: "2001:db8:7::7", ttl: 600 },
      { name: "www.example.org", to: "198.51.100.8", ttl: 1 },
    ]);
    expect([first, second].map((rig) => uplinkOf(rig, "198.51.100.7"))).toEqual([1, 1]);
    expect(uplinkOf(second, "2001:db8:7::7")).toBe(1);
    expect([uplinkOf(first, "198.51.100.9"), uplinkOf(first, "2001:db8:7::8")]).toEqual([0, 0]);
    for (const rig of rigs) rig.nowMs += 59_000;
    expect(uplinkOf(first, "198.51.100.8"), "kept for a minute at least").toBe(1);
    for (const rig of rigs) rig.nowMs += 500_000;
    expect([uplinkOf(first, "198.51.100.8"), uplinkOf(second, "198.51.100.7")]).toEqual([0, 1]);
    for (const rig of rigs) rig.nowMs += 50_000;
    expect(uplinkOf(second, "198.51.100.7")).toBe(0);
  });

  test("is for the name that was asked for, or else for the first alias that a rule has", () => {
    const [rig] = open() as [Rig];
    const chain = [
      { name: "www.example.edu", to: "edge.example.edu" },
      { name: "edge.example.edu", to: "a.cdn.example.net" },
    ];
    resolve(rig, "www.example.edu", [...chain, { name: "a.cdn.example.net", to: "198.51.100.7" }]);
    expect(uplinkOf(rig, "198.51.100.7")).toBe(2);
    resolve(rig, "example.org", [
      { name: "example.org", to: "a.cdn.example.net" },
      { name: "a.cdn.example.net", to: "198.51.100.7" },
    ]);
    expect(uplinkOf(rig, "198.51.100.7"), "the last that was asked for").toBe(1);
    resolve(rig, "www.example.edu", [{ name: "www.example.edu", to: "198.51.100.9" }]);
    expect(uplinkOf(rig, "198.51.100.9")).toBe(0);
  });

  test("is known from an answer over IPv6 too", () => {
    const [rig] = open() as [Rig];
    const data = message("example.com", [{ name: "example.com", to: "198.51.100.7" }]);
    const asked = rig.outOne6(udp6({ source: `[${client6}]:5000`, destination: `[${server6}]:53` }));
    rig.inOne6(udp6({ source: `[${server6}]:53`, destination: `[${uplinkAddresses6[0]}]:${asked.sourcePort}`, data }));
    expect(uplinkOf(rig, "198.51.100.7")).toBe(2);
  });

  test("hears nobody who was not asked, and no other port", () => {
    const [rig] = open() as [Rig];
    const data = message("example.org", [{ name: "example.org", to: "198.51.100.7" }]);
    rig.in(udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:16400`, data }));
    const asked = rig.outOne(udp({ source: `${client}:5000`, destination: `${server}:5353` }));
    rig.inOne(udp({ source: `${server}:5353`, destination: `${uplinkAddresses[0]}:${asked.sourcePort}`, data }));
    expect(uplinkOf(rig, "198.51.100.7")).toBe(0);
  });

  test("hears nobody to whom a port is forwarded, over either family", () => {
    const forward = { uplinks: 1, protocol: 17, firstPort: 16_390, lastPort: 16_390, toPort: 53 };
    const forwards = [
      { ...forward, to: addressNumber(client) },
      { ...forward, to: 0, to6: address6Words(client6) },
    ];
    const [rig] = open({ forwards }) as [Rig];
    const data = message("example.org", [{ name: "example.org", to: "198.51.100.7" }]);
    rig.inOne(udp({ source: `${server}:53`, destination: `${uplinkAddresses[0]}:16390`, data }));
    rig.inOne6(udp6({ source: `[${server6}]:53`, destination: `[${uplinkAddresses6[0]}]:16390`, data }));
    expect(uplinkOf(rig, "198.51.100.7")).toBe(0);
  });

  test("is not fooled by questions, failures or other classes", () => {
    const [rig] = open() as [Rig];
    const good = message("example.org", [{ name: "example.org", to: "198.51.100.7" }]);
    const changed = (at: number, value: number) => Uint8Array.from(good, (byte, i) => (i === at ? value : byte));
    const classAt = good.length - 4 - 2 - 4 - 1;
    for (const data of [changed(2, 0x00), changed(3, 0x03), changed(2, 0x90), changed(5, 2), changed(classAt, 3)])
      resolve(rig, "example.org", [], data);
    expect(uplinkOf(rig, "198.51.100.7")).toBe(0);
    resolve(rig, "example.org", [], good);
    expect(uplinkOf(rig, "198.51.100.7")).toBe(1);
  });
});

describe("the reader of answers", () => {
  const config = configWith(rules);
  const policy = flowPolicy(config, compileRules(config, () => []).table);
  const memory = new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(1)), 1);
  const domains = new Domains({ memory, policy, balanceKey0: 3, balanceKey1: 4 });
  const learn = (data: Uint8Array) => {
    const bytes = Uint8Array.from(data);
    domains.learn(new DataView(bytes.buffer), 0, bytes.length, 100);
  };

  test("comes to an end with whatever it gets, and looks at nothing behind it", () => {
    const good = message("a.example.edu", [
      { name: "a.example.edu", to: "b.example.org" },
      { name: "b.example.org", to: "198.51.100.7" },
      { name: "b.example.org", to: "2001:db8::7" },
    ]);
    for (let length = 0; length <= good.length; length++) learn(good.subarray(0, length));
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 });
    fc.assert(
      fc.property(damage, (changes) => {
        const bad = Uint8Array.from(good);
        for (const [at, value] of changes) bad[at] = value;
        learn(bad);
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => learn(noise)),
      { numRuns: 1000 },
    );
  });

  test.each([
    ["to itself", [0xc0, 12]],
    ["forwards", [0xc0, 40]],
    ["into the header", [0xc0, 2]],
  ])("follows no pointer that leads %s", (_, name) => {
    memory.domains.clear();
    const header = [0, 7, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    learn(Uint8Array.from([...header, ...name, 0, 1, 0, 1, ...name, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 198, 51, 100, 77]));
    expect(memory.domains.get(addressHash(3, 4, addressNumber("198.51.100.77")), 100)).toBe(-1);
  });
});
