/** Makes the reports of `status` and `flows` out of counters, configuration and what is known of the uplinks. */
import { readFileSync } from "node:fs";
import type { Config } from "../control/config-types.ts";
import type { FlowReport, StatusReport, UplinkReport } from "../control/report.ts";
import type { UplinkSnapshot } from "../control/uplink-snapshot.ts";
import type { ListedFlow } from "../dataplane/flow-list.ts";
import { dropNames } from "../dataplane/verdict.ts";
import { counter, uplinkCounter, uplinkCounterAt } from "../tables/shared-state.ts";
import type { Totals } from "./totals.ts";

const protocolNames: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp" };

export function statusReport(
  config: Config,
  version: string,
  uptimeSeconds: number,
  totals: Totals,
  snapshots: readonly UplinkSnapshot[],
): StatusReport {
  const flows = {
    tcp: totals.sum(counter.flowsTcp),
    udp: totals.sum(counter.flowsUdp),
    icmp: totals.sum(counter.flowsIcmp),
    other: totals.sum(counter.flowsOther),
  };
  return {
    version,
    uptimeSeconds,
    workers: config.workers,
    io: config.io,
    uplinks: snapshots.map((snapshot, index) => uplinkReport(config, snapshot, index, totals)),
    flows: {
      active: flows.tcp + flows.udp + flows.icmp + flows.other,
      ...flows,
      opened: totals.sum(counter.flowsOpened),
    },
    drops: drops(config.tun.name, totals),
  };
}

export function flowReport(flow: ListedFlow, config: Config): FlowReport {
  const { protocol, source, destination, uplink, mappedAddress, ageMs, idleMs, ...rest } = flow;
  return {
    protocol: protocolNames[protocol] ?? String(protocol),
    source,
    sourcePort: rest.sourcePort,
    destination,
    destinationPort: rest.destinationPort,
    uplink: config.uplinks[uplink]!.name,
    mappedAddress,
    mappedPort: rest.mappedPort,
    state: rest.state,
    ageSeconds: ageMs / 1000,
    idleSeconds: idleMs / 1000,
    txBytes: rest.txBytes,
    rxBytes: rest.rxBytes,
    txPackets: rest.txPackets,
    rxPackets: rest.rxPackets,
  };
}

function uplinkReport(config: Config, snapshot: UplinkSnapshot, index: number, totals: Totals): UplinkReport {
  const { name, weight, tier } = config.uplinks[index]!;
  const { ipv6 } = snapshot;
  const count = (which: number) => totals.sum(uplinkCounterAt(index, which));
  return {
    name,
    interface: snapshot.interface,
    address: snapshot.address,
    gateway: snapshot.gateway,
    weight,
    tier,
    state: snapshot.state,
    reason: snapshot.reason,
    ipv6: { address: ipv6.address, gateway: ipv6.gateway, state: ipv6.state, reason: ipv6.reason },
    rttMs: null,
    lossRatio: null,
    flows: count(uplinkCounter.flows),
    txBytes: count(uplinkCounter.txBytes),
    rxBytes: count(uplinkCounter.rxBytes),
    txPackets: count(uplinkCounter.txPackets),
    rxPackets: count(uplinkCounter.rxPackets),
  };
}

function drops(tun: string, totals: Totals): Record<string, number> {
  const named: Record<string, number> = {};
  for (let reason = 1; reason < dropNames.length; reason++)
    named[dropNames[reason]!] = totals.sum(counter.drops + reason);
  named["send-refused"] = totals.sum(counter.sendRefused);
  named["tun-queue-full"] = tunQueueDrops(tun);
  return Object.fromEntries(Object.entries(named).filter(([, count]) => count > 0));
}

/** Packets that the kernel could not put into the TUN's queue: the workers were too slow for a moment. */
function tunQueueDrops(tun: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${tun}/statistics/tx_dropped`, "utf8"));
  } catch {
    // /sys of another network namespace: there is nothing to tell.
    return 0;
  }
}
