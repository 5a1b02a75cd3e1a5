/**
 * Keeps the translator's ports from the kernel's own sockets: net.ipv4.ip_local_reserved_ports.
 *
 * The setting is one list that administrators and other instances write too. So undoing never writes
 * back a remembered list: it takes out our range and puts back only what was in that range before.
 * The kernel prints the list in one canonical form, hence an otherwise untouched list comes back to
 * the letter.
 */

import { readFileSync, writeFileSync } from "node:fs";

export interface ReservedPorts {
  readonly firstPort: number;
  readonly lastPort: number;
  /** The part of our range that was reserved before us, and not by another instance: "8080,9000-9010". */
  readonly formerly: string;
}

const file = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/** What to note before `reservePorts`; `others` are the reservations of other running instances. */
export function planReservation(firstPort: number, lastPort: number, others: readonly ReservedPorts[]): ReservedPorts {
  return { firstPort, lastPort, formerly: formerPorts(read(), firstPort, lastPort, others) };
}

export function reservePorts(ports: ReservedPorts): void {
  const list = parsePorts(read());
  list.fill(1, ports.firstPort, ports.lastPort + 1);
  write(formatPorts(list));
}

/** Takes our range out again; ports that the administrator or another running instance reserved stay. */
export function releasePorts(ports: ReservedPorts, others: readonly ReservedPorts[]): void {
  write(withoutReservation(read(), ports, others));
}

/** The administrator's ports within the range: other instances' own ones do not count, what those found before them does. */
export function formerPorts(
  current: string,
  firstPort: number,
  lastPort: number,
  others: readonly ReservedPorts[],
): string {
  const list = parsePorts(current);
  for (const other of others) list.fill(0, other.firstPort, other.lastPort + 1);
  for (const other of others) addPorts(list, parsePorts(other.formerly));
  list.fill(0, 0, firstPort);
  list.fill(0, lastPort + 1);
  return formatPorts(list);
}

export function withoutReservation(current: string, ports: ReservedPorts, others: readonly ReservedPorts[]): string {
  const list = parsePorts(current);
  // Somebody wrote the list anew: what is in our range now is theirs.
  if (list.subarray(ports.firstPort, ports.lastPort + 1).includes(0)) return current;
  list.fill(0, ports.firstPort, ports.lastPort + 1);
  addPorts(list, parsePorts(ports.formerly));
  for (const other of others) list.fill(1, other.firstPort, other.lastPort + 1);
  return formatPorts(list);
}

/** Whether a text is a list as the kernel prints it. */
export function isPortList(text: string): boolean {
  return /^(\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*)?$/.test(text);
}

/** One byte per port, 1 when it is in the list. */
function parsePorts(text: string): Uint8Array {
  const list = new Uint8Array(65_536);
  for (const range of text.trim().split(",")) {
    if (range === "") continue;
    const [first, last = first] = range.split("-").map(Number);
    list.fill(1, first, last! + 1);
  }
  return list;
}

/** As the kernel prints it: ranges in order, joined where they touch. */
function formatPorts(list: Uint8Array): string {
  const ranges: string[] = [];
  for (let port = 0; port < list.length; port++) {
    if (list[port] === 0) continue;
    const first = port;
    while (list[port + 1] === 1) port++;
    ranges.push(first === port ? `${first}` : `${first}-${port}`);
  }
  return ranges.join(",");
}

function addPorts(list: Uint8Array, more: Uint8Array): void {
  for (let port = 0; port < list.length; port++) list[port]! |= more[port]!;
}

function read(): string {
  return readFileSync(file, "utf8").trim();
}

function write(ports: string): void {
  writeFileSync(file, `${ports}\n`);
}
