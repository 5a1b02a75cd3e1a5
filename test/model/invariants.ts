/** What the headers of conntrack.ts, flow-table.ts and mapping-table.ts promise at any moment, checked by walking everything. */
import assert from "node:assert/strict";
import type { Conntrack } from "../../src/dataplane/conntrack.ts";
import { isOver } from "../../src/dataplane/tcp-state.ts";
import { isName } from "../../src/tables/address-book.ts";
import { flowWord, flowWords } from "../../src/tables/flow-table.ts";
import { counter, uplinkCounter, uplinkCounterAt } from "../../src/tables/shared-state.ts";

export interface OpenFlow {
  flow: number;
  inside: number;
  remote: number;
  insidePort: number;
  remotePort: number;
  mapped: number;
  mappedPort: number;
  protocol: number;
  uplink: number;
  mapping: number;
  isOver: boolean;
}

export function openFlows(conntrack: Conntrack): OpenFlow[] {
  const { flows } = conntrack;
  const open: OpenFlow[] = [];
  for (let flow = 1; flow < flows.end; flow++) {
    if (!flows.isOpen(flow)) continue;
    const word = (which: number) => flows.words[flow * flowWords + which]!;
    open.push({
      flow,
      inside: word(flowWord.inside),
      remote: word(flowWord.remote),
      insidePort: word(flowWord.ports) >>> 16,
      remotePort: word(flowWord.ports) & 0xffff,
      mapped: word(flowWord.mapped),
      mappedPort: word(flowWord.outside) >>> 16,
      protocol: (word(flowWord.outside) >>> 8) & 0xff,
      uplink: word(flowWord.outside) & 0xff,
      mapping: word(flowWord.mapping),
      isOver: isOver(conntrack.state(flow)),
    });
  }
  return open;
}

export function checkInvariants(conntrack: Conntrack, counters: Float64Array): void {
  const { flows, mappings } = conntrack;
  const open = openFlows(conntrack);
  assert.equal(flows.open, open.length, "rows in use");
  const tuples = new Set<string>();
  const ports = new Map<string, number>();
  const uses = new Map<number, number>();
  const findable = new Map<string, number>();

  for (const each of open) {
    const { flow, inside, remote, insidePort, remotePort, mapped, mappedPort, protocol, uplink, mapping } = each;
    const asked = find(conntrack, inside, remote, insidePort, remotePort, protocol);
    const answered = find(conntrack, remote, mapped, remotePort, mappedPort, protocol);
    if (asked !== flow << 1) throw new Error(`flow ${flow} is not found by its original tuple`);
    if (answered !== ((flow << 1) | 1)) throw new Error(`flow ${flow} is not found by its reply tuple`);
    for (const tuple of [
      `original ${inside} ${insidePort} ${remote} ${remotePort} ${protocol}`,
      `reply ${remote} ${remotePort} ${mapped} ${mappedPort} ${protocol}`,
    ]) {
      if (tuples.has(tuple)) throw new Error(`two flows have one tuple: ${tuple}`);
      tuples.add(tuple);
    }
    if (mapping === 0) continue;
    uses.set(mapping, (uses.get(mapping) ?? 0) + 1);
    if (mappings.inside(mapping) !== inside || mappings.protocol(mapping) !== protocol)
      throw new Error(`flow ${flow} uses the mapping of another endpoint`);
    if (
      mappings.uplink(mapping) !== uplink ||
      mappings.address(mapping) !== mapped ||
      mappings.port(mapping) !== mappedPort
    )
      throw new Error(`flow ${flow} has another outside endpoint than its mapping`);
    // Where prefixes are translated the port is the inside one, and of no pool.
    const pool =
      isName(mapped) && mappedPort === insidePort
        ? `${mapped} ${protocol} ${mappedPort}`
        : `${uplink} ${protocol} ${mappedPort}`;
    if ((ports.get(pool) ?? mapping) !== mapping) throw new Error(`two mappings hold one port: ${pool}`);
    ports.set(pool, mapping);
    if (mappings.findByPort(mapped, mappedPort, protocol) !== mapping)
      throw new Error(`mapping ${mapping} is not found by its port`);
    const found = mappings.find(inside, insidePort, protocol);
    if (found !== 0) findable.set(`${inside} ${insidePort} ${protocol}`, found);
  }

  assert.equal(mappings.open, uses.size, "mappings in use");
  for (const [mapping, count] of uses) assert.equal(mappings.uses(mapping), count, `uses of mapping ${mapping}`);
  for (const found of findable.values()) assert.ok(uses.has(found), "a findable mapping is in use");
  checkGauges(open, mappings.open, counters);
}

function find(
  { flows }: Conntrack,
  from: number,
  to: number,
  fromPort: number,
  toPort: number,
  protocol: number,
): number {
  const ports = (fromPort << 16) | toPort;
  return flows.find(flows.hash(from, to, ports, protocol), from, to, ports, protocol);
}

function checkGauges(open: readonly OpenFlow[], mappings: number, counters: Float64Array): void {
  const count = (wanted: (flow: OpenFlow) => boolean) => open.filter(wanted).length;
  const uplinks = Array.from({ length: 3 }, (_, uplink) => uplink);
  const shown = {
    tcp: counters[counter.flowsTcp],
    udp: counters[counter.flowsUdp],
    icmp: counters[counter.flowsIcmp],
    other: counters[counter.flowsOther],
    mappings: counters[counter.mappings],
    uplinks: uplinks.map((uplink) => counters[uplinkCounterAt(uplink, uplinkCounter.flows)]),
    over: uplinks.map((uplink) => counters[uplinkCounterAt(uplink, uplinkCounter.over)]),
  };
  assert.deepEqual(shown, {
    tcp: count(({ protocol }) => protocol === 6),
    udp: count(({ protocol }) => protocol === 17),
    icmp: count(({ protocol }) => protocol === 1),
    other: count(({ protocol }) => protocol !== 6 && protocol !== 17 && protocol !== 1),
    mappings,
    uplinks: uplinks.map((uplink) => count((flow) => flow.uplink === uplink)),
    over: uplinks.map((uplink) => count((flow) => flow.uplink === uplink && flow.isOver)),
  });
}
