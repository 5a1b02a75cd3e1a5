/** Rules, groups, stickiness and nearness: which uplink a new flow gets, in both families and by all workers; and that `explain` says so. */

import { describe, expect, test } from "vitest";
import { compileRules } from "../../src/control/rules.ts";
import { explain } from "../../src/daemon/explain.ts";
import { flowPolicy } from "../../src/daemon/policy-settings.ts";
import { networkHash, networkHash6 } from "../../src/dataplane/classify.ts";
import { findFlow } from "../../src/dataplane/flow-list.ts";
import { FlowMemory, flowMemoryBytes } from "../../src/dataplane/flow-memory.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import { addressNumber, SYN, tcp, udp } from "../support/packets.ts";
import { address6Words, tcp6, udp6 } from "../support/packets6.ts";
import { configWith, networks, words } from "../support/rules.ts";
import {
  client,
  client6,
  openWorkers,
  otherClient,
  otherServer,
  type Rig,
  type RigOptions,
  server,
  server6,
} from "./rig.ts";

const secret = [3, 4] as const;
const links = [14, 14, 14];

/** A rig with uplinks a, b and c; group n's table and mask have the places that `groups` says, group 0 all. */
function open(text: string, groups: readonly (readonly number[])[] = [], more: RigOptions = {}) {
  const config = configWith(text);
  const rules = compileRules(config, (name) => networks[name] ?? []);
  const policy = flowPolicy(config, rules.table);
  const memory = new FlowMemory(new SharedArrayBuffer(flowMemoryBytes(2)), 2);
  const rigs = openWorkers(2, { links, hasIpv6: true, policy, memory, ...more });
  const { shared } = rigs[0]!;
  for (const [group, places] of [[0, 1, 2], ...groups].entries()) {
    const mask = places.reduce((bits, place) => bits | (1 << place), 0);
    for (const masks of [shared.masks, shared.masks6]) masks[group] = mask;
    for (const lookups of [shared.lookups, shared.lookups6])
      lookups[group]!.forEach((_, slot, lookup) => {
        lookup[slot] = places.length === 0 ? noUplink : places[slot % places.length]!;
      });
  }
  const standing = { state: "up", reason: "", degraded: false, weight: 1 } as const;
  const lines = config.uplinks.map((uplink) => ({ config: uplink, standing }));
  const ask = async (source: string, destination: string, protocol: string) => {
    const [from, to] = [source, destination].map(split);
    const query = {
      protocol,
      source: from!.address,
      sourcePort: from!.port,
      destination: to!.address,
      destinationPort: to!.port,
    };
    const nowS = Math.floor(rigs[0]!.nowMs / 1000);
    const find = async () => {
      const tuple = {
        source: words(from!.address),
        destination: words(to!.address),
        ports: (from!.port! << 16) | to!.port!,
        protocol: protocol === "tcp" ? 6 : 17,
      };
      const found = rigs.map((rig) => findFlow(rig.forwarder.conntrack, tuple, rig.nowMs));
      return { flow: null, mappedUplink: Math.max(...found.map(({ mappedUplink }) => mappedUplink)) };
    };
    return explain(query, { config, rules, policy, lines, shared, memory, secret, nowS, find });
  };
  return { rigs, rig: rigs[0]!, shared, memory, ask };
}

function split(endpoint: string): { address: string; port: number | null } {
  const [, address, port] = /^\[?(.*?)\]?(?::([0-9]+))?$/.exec(endpoint)!;
  if (address!.includes(":") && !endpoint.startsWith("[")) return { address: endpoint, port: null };
  return { address: address!, port: port === undefined ? null : Number(port) };
}

/** The uplink that a packet leaves by, or -1. */
function uplinkOf(rig: Rig, packet: Uint8Array): number {
  rig.injectInside(packet);
  rig.run();
  return links.findIndex((_, uplink) => rig.io.takeSent(uplink + 1).length > 0);
}

const question = (port: number, to = `${server}:53`, from = client) =>
  udp({ source: `${from}:${port}`, destination: to });
const question6 = (port: number, to = `[${server6}]:53`) => udp6({ source: `[${client6}]:${port}`, destination: to });

const byProtocol = `rules:
  - { match: { protocol: tcp }, use: [c] }
  - { match: { destination: [${server}, "${server6}"] }, use: [b] }`;

describe("a rule", () => {
  test("sends the flows that match it to its group, of both families", () => {
    const { rig } = open(byProtocol, [[2], [1]]);
    for (let port = 5000; port < 5020; port++) {
      expect(uplinkOf(rig, tcp({ source: `${client}:${port}`, destination: `${server}:80`, flags: SYN }))).toBe(2);
      expect(uplinkOf(rig, tcp6({ source: `[${client6}]:${port}`, destination: `[${server6}]:80`, flags: SYN }))).toBe(
        2,
      );
      expect(uplinkOf(rig, question(port))).toBe(1);
      expect(uplinkOf(rig, question6(port))).toBe(1);
    }
    const others = new Set(
      Array.from({ length: 40 }, (_, i) => uplinkOf(rig, question(6000 + i, `${otherServer}:53`))),
    );
    expect([...others].sort()).toEqual([0, 1, 2]);
  });

  test("sees the DSCP of a flow's first packet", () => {
    const { rig } = open("rules: [{ match: { dscp: [46] }, use: [c] }, { match: {}, use: [a] }]", [[2], [0]]);
    const marked = question(5000);
    marked[1] = 46 << 2;
    const header = new DataView(marked.buffer, marked.byteOffset);
    header.setUint16(10, header.getUint16(10) - (46 << 2));
    expect(uplinkOf(rig, marked)).toBe(2);
    expect(uplinkOf(rig, question(5001))).toBe(0);
    const marked6 = question6(5000);
    new DataView(marked6.buffer, marked6.byteOffset).setUint16(0, 0x6000 | (46 << 6));
    expect(uplinkOf(rig, marked6)).toBe(2);
    expect(uplinkOf(rig, question6(5001))).toBe(0);
  });

  test("that is strict fails when its uplink is away, and says so", () => {
    const { rig } = open(byProtocol.replace("use: [b]", "use: [b], strict: true"), [[2], []]);
    expect(uplinkOf(rig, question(5000))).toBe(-1);
    const [error] = rig.left(-1);
    expect([error!.protocol, error!.bytes[20], error!.bytes[21]], "destination unreachable: network").toEqual([
      1, 3, 0,
    ]);
    expect(uplinkOf(rig, question6(5000))).toBe(-1);
    expect(rig.left6(-1)[0]!.protocol).toBe(58);
    expect(rig.drops).toEqual({ "no-uplink": 2 });
  });

  test("wins over the uplink that an endpoint has already", () => {
    const { rig } = open(`rules: [{ match: { destinationPort: [53] }, use: [b] }]`, [[1]]);
    rig.shared.lookups[0]!.fill(0);
    expect(uplinkOf(rig, question(5000, `${server}:123`))).toBe(0);
    expect(uplinkOf(rig, question(5000, `${server}:53`))).toBe(1);
    // The endpoint's own, where nothing speaks against it.
    rig.shared.lookups[0]!.fill(2);
    expect(uplinkOf(rig, question(5000, `${otherServer}:124`))).toBe(1);
  });

  test("holds for new flows from the moment that the policy changes", () => {
    const { rig } = open("rules: []");
    rig.steerTo(0);
    expect(uplinkOf(rig, question(5000))).toBe(0);
    const { rules, policy } = rulesOnly("rules: [{ match: {}, use: [c] }]");
    rig.shared.lookups[1]!.fill(2);
    rig.forwarder.followPolicy({ ...policy, rules });
    expect(uplinkOf(rig, question(5000))).toBe(0);
    expect(uplinkOf(rig, question(5001))).toBe(2);
  });
});

function rulesOnly(text: string) {
  const config = configWith(text);
  const { table } = compileRules(config, () => []);
  return { rules: table, policy: flowPolicy(config, table) };
}

describe("an uplink that can't send", () => {
  test("is passed over until the table follows", () => {
    const { rig } = open("rules: []");
    rig.setUplink(1, { ready: 0, ready6: 0 });
    const places = new Set<number>();
    for (let port = 5000; port < 5100; port++) {
      places.add(uplinkOf(rig, question(port)));
      places.add(uplinkOf(rig, question6(port)));
    }
    expect([...places].sort()).toEqual([0, 2]);
  });

  test("gives no flow to those that its group's mask does not have", () => {
    const { rig } = open(byProtocol, [[2], [1]]);
    rig.setUplink(1, { ready: 0, ready6: 0 });
    for (let port = 5000; port < 5020; port++) {
      expect(uplinkOf(rig, question(port))).toBe(-1);
      expect(uplinkOf(rig, question6(port))).toBe(-1);
    }
    expect(rig.drops).toEqual({ "uplink-not-ready": 40 });
  });
});

describe("a sticky source", () => {
  const sticky = (by: string) => `balance: { sticky: { by: ${by}, timeout: 60s } }`;

  test("keeps its uplink while its flows follow each other, in all workers and both families", () => {
    const { rigs, shared } = open(sticky("source"));
    const [first, second] = rigs as [Rig, Rig];
    const place = uplinkOf(first, question(5000));
    const place6 = uplinkOf(first, question6(5000));
    for (let i = 1; i < 30; i++) {
      for (const rig of rigs) rig.nowMs += 50_000;
      expect(uplinkOf(i % 2 === 0 ? first : second, question(5000 + i, `${otherServer}:${i}`))).toBe(place);
      expect(uplinkOf(i % 2 === 0 ? first : second, question6(5000 + i))).toBe(place6);
    }
    for (const rig of rigs) rig.nowMs += 61_000;
    const next = (place + 1) % 3;
    shared.lookups[0]!.fill(next);
    expect(uplinkOf(second, question(6000))).toBe(next);
  });

  test("is another one than its neighbour, and by destination another for each", () => {
    const { rig } = open(sticky("source-destination"));
    const places = new Map<string, Set<number>>();
    for (const from of [client, otherClient])
      for (let port = 0; port < 20; port++)
        for (let host = 1; host < 9; host++) {
          const key = `${from} ${host}`;
          const place = uplinkOf(rig, question(5000 + port * 10 + host, `192.0.2.${host}:53`, from));
          places.set(key, (places.get(key) ?? new Set()).add(place));
        }
    for (const [key, used] of places) expect(used.size, key).toBe(1);
    expect(new Set([...places.values()].flatMap((used) => [...used])).size).toBeGreaterThan(1);
  });

  test("moves when its uplink can't be had", () => {
    const { rig } = open(sticky("source"));
    const place = uplinkOf(rig, question(5000));
    rig.setUplink(place, { ready: 0 });
    const other = uplinkOf(rig, question(5001));
    expect(other).not.toBe(place);
    rig.setUplink(place, { ready: 1 });
    for (let port = 5002; port < 5020; port++) expect(uplinkOf(rig, question(port))).toBe(other);
  });
});

describe("the nearest uplink", () => {
  const nearest = (explore: number) => `balance: { policy: lowest-latency, explore: ${explore} }`;

  test("gets the flows to a network, of both families, but for those that explore", () => {
    const { rig, memory } = open(nearest(0.2), [], { flows: 8192, flowsPerHost: 8192, lastPort: 32_767 });
    memory.nearest.set(networkHash(...secret, addressNumber(server)), 1, 1_000_000);
    const [word0, word1] = address6Words(server6);
    memory.nearest.set(networkHash6(...secret, word0!, word1!), 2, 1_000_000);
    const counts = [0, 0, 0];
    const counts6 = [0, 0, 0];
    for (let port = 1000; port < 2000; port++) {
      counts[uplinkOf(rig, question(port))]!++;
      counts6[uplinkOf(rig, question6(port))]!++;
    }
    // A third of a fifth explores by the same uplink.
    expect(Math.abs(counts[1]! / 1000 - 0.867)).toBeLessThan(0.05);
    expect(Math.abs(counts6[2]! / 1000 - 0.867)).toBeLessThan(0.05);
    const neighbour = uplinkOf(rig, question(3000, "192.0.3.10:53"));
    expect([0, 1, 2]).toContain(neighbour);
  });

  test("is not asked for by rules, nor taken when it is away", () => {
    const { rig, memory } = open(`${nearest(0)}\nrules: [{ match: { destinationPort: [80] }, use: [a] }]`, [[0]]);
    memory.nearest.set(networkHash(...secret, addressNumber(server)), 1, 1_000_000);
    expect(uplinkOf(rig, question(5000, `${server}:80`))).toBe(0);
    expect(uplinkOf(rig, question(5001))).toBe(1);
    rig.setUplink(1, { ready: 0 });
    expect(uplinkOf(rig, question(5002))).not.toBe(1);
  });
});

describe("explain", () => {
  const all = `balance: { policy: lowest-latency, explore: 0.2, sticky: { by: source-destination, timeout: 60s } }
groups: [{ name: far, uplinks: { b: 5, c: 1 } }]
rules:
  - { match: { protocol: tcp, destinationPort: [25] }, use: [a] }
  - { match: { source: [${otherClient}] }, use: [far], strict: true }`;

  test("says what becomes of a flow, by whatever decides", async () => {
    const { rig, memory, ask } = open(all, [[0], [1, 2]], { flows: 4096, lastPort: 32_767 });
    memory.nearest.set(networkHash(...secret, addressNumber(server)), 1, 1_000_000);
    const decided = new Set<string>();
    for (let port = 1000; port < 1300; port++) {
      const from = port % 3 === 0 ? otherClient : client;
      const to = `192.0.${port % 4}.${port % 50 === 0 ? 10 : port % 200}:${port % 7 === 0 ? 25 : 443}`;
      const report = await ask(`${from}:${port}`, to, "tcp");
      const place = uplinkOf(rig, tcp({ source: `${from}:${port}`, destination: to, flags: SYN }));
      expect(report.uplink, JSON.stringify(report)).toBe(["a", "b", "c"][place]);
      decided.add(report.decidedBy);
      const report6 = await ask(`[${client6}]:${port}`, "[2001:db8:ff::10]:53", "udp");
      expect(report6.uplink).toBe(["a", "b", "c"][uplinkOf(rig, question6(port, "[2001:db8:ff::10]:53"))]);
      decided.add(report6.decidedBy);
    }
    expect([...decided].sort()).toEqual(["nearest", "sticky", "table"]);
    const mapped = await ask(`${client}:1000`, "192.0.2.77:53", "tcp");
    expect([mapped.decidedBy, mapped.why]).toEqual(["mapping", "other flows of its source's port are there"]);
    expect(rig.openFlows).toBeGreaterThan(500);
  });

  test("names rule, group, shares, and what depends on what was not given", async () => {
    const { ask } = open(all, [[0], [1, 2]]);
    const report = await ask(otherClient, server, "tcp");
    expect(report).toMatchObject({
      rule: { number: 1, text: `source ${otherClient} -> far`, strict: true, bypass: false },
      group: { number: 2, name: "far" },
      hash: null,
      decidedBy: "table",
      uplink: null,
      why: "its hash chooses, and depends on ports that were not given",
      notes: ["By its ports, which were not given, it may match rules[0] instead."],
    });
    expect(
      report.candidates.map(({ name, weight, shareRatio, mayKeep }) => [name, weight, shareRatio, mayKeep]),
    ).toEqual([
      ["a", 0, 0, false],
      ["b", 5, 0.5, true],
      ["c", 1, 0.5, true],
    ]);
  });

  test("says that there is no uplink, and that a rule leaves a flow to the kernel", async () => {
    const { ask } = open(`rules: [{ match: { protocol: tcp }, use: [a], strict: true }, { match: {}, bypass: true }]`, [
      [],
    ]);
    expect(await ask(`${client}:1`, `${server}:2`, "tcp")).toMatchObject({
      decidedBy: "none",
      uplink: null,
      why: "the rule is strict, and none of its uplinks is there",
    });
    expect(await ask(`${client}:1`, `${server}:2`, "udp")).toMatchObject({ decidedBy: "bypass", uplink: null });
  });
});

test("a flow is found by its tuple, by its worker alone, with the uplink of its endpoint", () => {
  const { rigs, rig } = open("rules: []");
  rig.steerTo(1);
  uplinkOf(rig, question(5000));
  uplinkOf(rig, question6(5000));
  const find = (worker: number, source: string, destination: string, port: number) => {
    const tuple = { source: words(source), destination: words(destination), ports: (5000 << 16) | port, protocol: 17 };
    const { flow, mappedUplink } = findFlow(rigs[worker]!.forwarder.conntrack, tuple, rig.nowMs);
    return [flow?.source, flow?.destination, flow?.uplink, mappedUplink];
  };
  expect(find(0, client, server, 53)).toEqual([client, server, 1, 1]);
  expect(find(0, client6, server6, 53)).toEqual([client6, server6, 1, 1]);
  expect(find(0, client, server, 54)).toEqual([undefined, undefined, undefined, 1]);
  expect(find(0, client6, "2001:db8::77", 53)).toEqual([undefined, undefined, undefined, 1]);
  expect(find(1, client, server, 53)).toEqual([undefined, undefined, undefined, -1]);
  expect(find(1, client6, server6, 53)).toEqual([undefined, undefined, undefined, -1]);
});
