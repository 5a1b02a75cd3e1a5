/** Makes the reports of `status` and `flows` out of counters, configuration and what is known of the uplinks. */
import { readFileSync } from "node:fs";
import type { Config } from "../control/config-types.ts";
import type { FlowReport, StatusReport, UplinkReport } from "../control/report.ts";
import type { ListedFlow } from "../dataplane/flow-list.ts";
import { dropNames } from "../dataplane/verdict.ts";
import { counter } from "../tables/shared-state.ts";
import type { Line } from "./line.ts";
import type { Totals } from "./totals.ts";

const protocolNames: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp" };

export function statusReport(
  config: Config,
  version: string,
  uptimeSeconds: number,
  totals: Totals,
  lines: readonly Line[],
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
    uplinks: lines.flatMap((line, place) => (line.isVacant ? [] : [uplinkReport(line, place, totals)])),
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

export function uplinkReport(line: Line, place: number, totals: Totals): UplinkReport {
  const { name, weight, tier } = line.config;
  const { snapshot, standing, health, orders } = line;
  const { ipv6 } = snapshot;
  const { flows, over, txBytes, rxBytes, txPackets, rxPackets } = totals.uplink(place);
  return {
    name,
    interface: snapshot.interface,
    address: snapshot.address,
    gateway: snapshot.gateway,
    weight: orders.weight ?? weight,
    tier,
    state: standing.state,
    reason: standing.reason,
    degraded: standing.degraded,
    targetRatio: line.targetRatio,
    ipv6: { address: ipv6.address, gateway: ipv6.gateway, state: ipv6.state, reason: ipv6.reason },
    rttMs: health.rttMs,
    lossRatio: health.lossRatio,
    jitterMs: health.jitterMs,
    flows,
    openFlows: flows - over,
    txBytes,
    rxBytes,
    txPackets,
    rxPackets,
  };
}

function drops(tun: string, totals: Totals): Record<string, number> {
  const named: Record<string, number> = {};
  for (let reason = 1; reason < dropNames.length; reason++) named[dropNames[reason]!] = totals.dropped(reason);
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
