/** Hands the uplinks' state to the workers. */

import { type SharedState, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { parseIpv4 } from "./config-values.ts";
import { needsGatewayMac, type UplinkSnapshot } from "./uplink-snapshot.ts";

const etherTypeIpv4 = [0x08, 0x00];

/** Writes one row per uplink, and nothing when no row changes: a new generation has every worker copy them. */
export function publishUplinks(snapshots: readonly UplinkSnapshot[], shared: SharedState): void {
  const rows = new Int32Array(shared.uplinks.length);
  for (const [index, snapshot] of snapshots.entries()) {
    writeRow(snapshot, rows.subarray(index * uplinkWords, (index + 1) * uplinkWords));
  }
  if (rows.every((word, at) => word === shared.uplinks[at])) return;
  shared.updateUplinks((words) => words.set(rows));
}

/** An uplink that is down keeps what is known of it: its flows live on and may return. */
function writeRow(snapshot: UplinkSnapshot, row: Int32Array): void {
  row[uplinkWord.ready] = snapshot.state === "up" ? 1 : 0;
  row[uplinkWord.address] = snapshot.address === null ? 0 : parseIpv4(snapshot.address)!;
  row[uplinkWord.mtu] = snapshot.mtu;
  if (!needsGatewayMac(snapshot) || snapshot.gatewayMac === null || snapshot.macAddress === null) return;
  const header = [...macBytes(snapshot.gatewayMac), ...macBytes(snapshot.macAddress), ...etherTypeIpv4];
  new Uint8Array(row.buffer, row.byteOffset + uplinkWord.linkHeader * 4, header.length).set(header);
}

function macBytes(mac: string): number[] {
  return mac.split(":").map((byte) => Number.parseInt(byte, 16));
}
