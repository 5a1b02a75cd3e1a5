/** Hands the uplinks' state to the workers. */

import { type SharedState, uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import { parseIpv4 } from "./config-values.ts";
import { needsGatewayMac, type UplinkSnapshot } from "./uplink-snapshot.ts";

const etherTypeIpv4 = [0x08, 0x00];
const etherTypeIpv6 = [0x86, 0xdd];

/** What the workers are told about an uplink besides its link. */
export interface UplinkOrders {
  /** It gets flows only because better ones are away. */
  readonly standsIn: boolean;
  /** Count up to have all its flows cut off, or those that it got standing in. */
  readonly cutAll: number;
  readonly cutDisplaced: number;
}

/** Writes one row per uplink, and nothing when no row changes: a new generation has every worker copy them. */
export function publishUplinks(
  snapshots: readonly UplinkSnapshot[],
  orders: readonly UplinkOrders[],
  shared: SharedState,
): void {
  const rows = new Int32Array(shared.uplinks.length);
  for (const [index, snapshot] of snapshots.entries()) {
    const row = rows.subarray(index * uplinkWords, (index + 1) * uplinkWords);
    writeRow(snapshot, row);
    row[uplinkWord.standsIn] = orders[index]!.standsIn ? 1 : 0;
    row[uplinkWord.cutAll] = orders[index]!.cutAll;
    row[uplinkWord.cutDisplaced] = orders[index]!.cutDisplaced;
  }
  if (rows.every((word, at) => word === shared.uplinks[at])) return;
  shared.updateUplinks((words) => words.set(rows));
}

/** An uplink that is down keeps what is known of it: its flows live on and may return. */
function writeRow(snapshot: UplinkSnapshot, row: Int32Array): void {
  row[uplinkWord.ready] = snapshot.state === "up" ? 1 : 0;
  row[uplinkWord.address] = snapshot.address === null ? 0 : parseIpv4(snapshot.address)!;
  row[uplinkWord.mtu] = snapshot.mtu;
  const { ipv6 } = snapshot;
  row[uplinkWord.ready6] = ipv6.state === "up" ? 1 : 0;
  if (ipv6.address !== null) row.set(parseAddress6(ipv6.address)!, uplinkWord.address6);
  if (ipv6.prefix !== null) {
    row.set(ipv6.prefix.words, uplinkWord.prefix6);
    row[uplinkWord.prefix6Length] = ipv6.prefix.length;
  }
  if (!needsGatewayMac(snapshot)) return;
  writeHeader(row, uplinkWord.linkHeader, snapshot.gatewayMac, snapshot.macAddress, etherTypeIpv4);
  writeHeader(row, uplinkWord.linkHeader6, ipv6.gatewayMac, snapshot.macAddress, etherTypeIpv6);
}

function writeHeader(row: Int32Array, word: number, to: string | null, from: string | null, etherType: number[]): void {
  if (to === null || from === null) return;
  const header = [...macBytes(to), ...macBytes(from), ...etherType];
  new Uint8Array(row.buffer, row.byteOffset + word * 4, header.length).set(header);
}

function macBytes(mac: string): number[] {
  return mac.split(":").map((byte) => Number.parseInt(byte, 16));
}
