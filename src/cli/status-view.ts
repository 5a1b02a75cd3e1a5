/** What `sluice status` shows of a StatusReport. Pure: a report in, lines out. */

import type { StatusReport, UplinkReport } from "../control/report.ts";
import {
  type Column,
  formatAge,
  formatBitRate,
  formatBytes,
  formatCount,
  formatPercent,
  formatTable,
  paint,
} from "./format.ts";
import { shownState, styleOfState } from "./uplink-words.ts";

interface Row extends UplinkReport {
  /** Of the live connections. */
  share: number;
  txBitsPerSecond: number;
  rxBitsPerSecond: number;
}

/** `earlier`: the report of `elapsedSeconds` ago; with it, rates are shown in place of totals. */
export function showStatus(
  report: StatusReport,
  width: number,
  earlier?: { report: StatusReport; elapsedSeconds: number },
): string[] {
  const head = `sluice ${report.version}, up ${formatAge(report.uptimeSeconds)}, ${report.workers} worker${report.workers === 1 ? "" : "s"}, io ${report.io}`;
  const table = formatTable(toRows(report, earlier), chooseColumns(report, earlier !== undefined), width);
  const reasons = report.uplinks
    .filter(({ reason }) => reason !== "")
    .map((uplink) => `${uplink.name} is ${shownState(uplink)}: ${uplink.reason}`);
  const reasons6 = report.uplinks
    .filter(({ state, ipv6 }) => state === "up" && ipv6.address !== null && ipv6.state === "down")
    .map(({ name, ipv6 }) => `IPv6 on ${name} is down: ${ipv6.reason}`);
  return [head, "", ...table, ...reasons, ...reasons6, "", ...showFlows(report), ...showDrops(report)];
}

function toRows(report: StatusReport, earlier: { report: StatusReport; elapsedSeconds: number } | undefined): Row[] {
  const flows = sum(report.uplinks.map((uplink) => uplink.flows));
  return report.uplinks.map((uplink) => {
    const before = earlier?.report.uplinks.find((other) => other.name === uplink.name);
    const rate = (key: "txBytes" | "rxBytes") =>
      before === undefined ? 0 : (Math.max(0, uplink[key] - before[key]) * 8) / earlier!.elapsedSeconds;
    return {
      ...uplink,
      share: flows === 0 ? 0 : uplink.flows / flows,
      txBitsPerSecond: rate("txBytes"),
      rxBitsPerSecond: rate("rxBytes"),
    };
  });
}

function chooseColumns(report: StatusReport, withRates: boolean): Column<Row>[] {
  const { uplinks } = report;
  const columns: Column<Row>[] = [
    { title: "UPLINK", text: (row) => row.name, style: () => "bold" },
    { title: "STATE", text: shownState, style: styleOfState },
    { title: "INTERFACE", text: (row) => row.interface, dispensable: 4 },
    { title: "ADDRESS", text: (row) => row.address ?? "-", dispensable: 5 },
    { title: "GATEWAY", text: (row) => row.gateway ?? "-", dispensable: 6 },
  ];
  const optional: Column<Row>[] = [
    { title: "IPV6", text: ({ ipv6 }) => (ipv6.state === "up" ? ipv6.address! : "-"), dispensable: 6 },
    { title: "TIER", align: "right", text: (row) => String(row.tier), dispensable: 3 },
    {
      title: "RTT",
      align: "right",
      text: (row) => (row.rttMs === null ? "-" : `${row.rttMs.toFixed(row.rttMs < 99.95 ? 1 : 0)} ms`),
      dispensable: 1,
    },
    {
      title: "LOSS",
      align: "right",
      text: (row) => (row.lossRatio === null ? "-" : formatPercent(row.lossRatio)),
      dispensable: 2,
    },
  ];
  // A column that says the same for everyone says nothing.
  const shown = [
    uplinks.some(({ ipv6 }) => ipv6.address !== null),
    uplinks.some((uplink) => uplink.tier !== uplinks[0]!.tier),
    uplinks.some((uplink) => uplink.rttMs !== null),
    uplinks.some((uplink) => uplink.lossRatio !== null),
  ];
  columns.push(...optional.filter((_, index) => shown[index]));
  columns.push(
    { title: "WEIGHT", align: "right", text: (row) => String(row.weight), dispensable: 3 },
    { title: "TARGET", align: "right", text: (row) => (row.targetRatio === 0 ? "-" : formatPercent(row.targetRatio)) },
    { title: "SHARE", align: "right", text: (row) => formatPercent(row.share) },
    { title: "FLOWS", align: "right", text: (row) => formatCount(row.flows) },
  );
  if (withRates) {
    columns.push(
      { title: "OUT", align: "right", text: (row) => formatBitRate(row.txBitsPerSecond) },
      { title: "IN", align: "right", text: (row) => formatBitRate(row.rxBitsPerSecond) },
    );
  } else {
    columns.push(
      { title: "SENT", align: "right", text: (row) => formatBytes(row.txBytes) },
      { title: "RECEIVED", align: "right", text: (row) => formatBytes(row.rxBytes) },
    );
  }
  return columns;
}

function showFlows({ flows }: StatusReport): string[] {
  const kinds = (["tcp", "udp", "icmp", "other"] as const)
    .filter((kind) => flows[kind] > 0)
    .map((kind) => `${formatCount(flows[kind])} ${kind}`);
  const split = kinds.length > 0 ? ` (${kinds.join(", ")})` : "";
  return [`Flows: ${formatCount(flows.active)} active${split}, ${formatCount(flows.opened)} opened since the start`];
}

function showDrops({ drops }: StatusReport): string[] {
  const rows = Object.entries(drops).sort(([, a], [, b]) => b - a);
  if (rows.length === 0) return ["Drops: none"];
  const width = Math.max(...rows.map(([, count]) => formatCount(count).length));
  return [
    `Drops: ${formatCount(sum(rows.map(([, count]) => count)))} packets`,
    ...rows.map(([reason, count]) => paint("yellow", `  ${formatCount(count).padStart(width)}  ${reason}`)),
  ];
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
