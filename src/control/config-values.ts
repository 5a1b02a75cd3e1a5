/** The small notations of the configuration file. Each reader returns undefined for what it cannot read; none throws. */

import { maskOf, type Prefix6 } from "../tables/prefix6.ts";
import { formatAddress6, isForwardable, parseAddress6 } from "../wire/ipv6.ts";

export interface Network {
  /** Host order, as everywhere in sluice: 192.0.2.1 is 0xc0000201. */
  address: number;
  prefixLength: number;
}

export interface PortRange {
  first: number;
  last: number;
}

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of 500ms, 60s, 2h4m, 5d. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(?:[0-9]{1,9}(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|s|m|h|d)/g)) totalMs += Number(count) * unitMs[unit!]!;
  return totalMs;
}

/** The shortest notation that parseDurationMs reads back: 7440000 is 2h4m. */
export function formatDurationMs(durationMs: number): string {
  let rest = durationMs;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const count = Math.floor(rest / unitMs[unit]!);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs[unit]!;
  }
  return text === "" ? "0s" : text;
}

const decimalUnits: Record<string, number> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const binaryUnits: Record<string, number> = { ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 };

/** Bits a second of 100M, 1.5G, 640k. */
export function parseRateBps(text: string): number | undefined {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)([kMG]?)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * decimalUnits[match[2]!]!;
}

/** Bytes of 500GB, 1.5TB, 20GiB. */
export function parseBytes(text: string): number | undefined {
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,3})?)((?:[kMGT]i?)?)B$/.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * (decimalUnits[match[2]!] ?? binaryUnits[match[2]!]!));
}

/** Minutes since midnight of 08:00. */
export function parseTimeOfDay(text: string): number | undefined {
  const match = /^([01][0-9]|2[0-3]):([0-5][0-9])$/.exec(text);
  return match === null ? undefined : Number(match[1]) * 60 + Number(match[2]);
}

/** Dotted quad, without the leading zeros that some programs read as octal. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** ADDRESS/LENGTH; host bits may be set. */
export function parseNetwork(text: string): Network | undefined {
  const [quad = "", length = "", ...rest] = text.split("/");
  const address = parseIpv4(quad);
  if (address === undefined || rest.length > 0 || !/^[0-9]{1,2}$/.test(length) || Number(length) > 32) return undefined;
  return { address, prefixLength: Number(length) };
}

export function contains(network: Network, address: number): boolean {
  const blockSize = 2 ** (32 - network.prefixLength);
  return Math.floor(network.address / blockSize) === Math.floor(address / blockSize);
}

/** Two networks share addresses exactly when the wider one contains the other's. */
export function overlap(a: Network, b: Network): boolean {
  return a.prefixLength <= b.prefixLength ? contains(a, b.address) : contains(b, a.address);
}

/** An address that one host can have: not 0/8, 127/8, multicast or beyond (RFC 6890). */
export function isHostAddress(address: number): boolean {
  const top = Math.floor(address / 2 ** 24);
  return top !== 0 && top !== 127 && top < 224;
}

/** An IPv6 address that one host can have and others can reach: not multicast, link-local, loopback or IPv4 in disguise. */
export function isHostAddress6(words: readonly number[]): boolean {
  return isForwardable(words[0]!, words[1]!, words[2]!);
}

/** IPv6 as `ip` writes it; the text itself when it is none. */
export function canonical6(text: string): string {
  const words = parseAddress6(text);
  return words === null ? text : formatAddress6(words);
}

export function isIpv6(address: string): boolean {
  return address.includes(":");
}

/** ADDRESS/LENGTH of IPv6; host bits may be set. */
export function parsePrefix6(text: string): Prefix6 | undefined {
  const [address = "", length = "", ...rest] = text.split("/");
  const words = parseAddress6(address);
  if (words === null || rest.length > 0 || !/^[0-9]{1,3}$/.test(length) || Number(length) > 128) return undefined;
  return { words, length: Number(length) };
}

/** The prefix without the bits beyond its length. */
export function network6({ words, length }: Prefix6): Prefix6 {
  return { words: words.map((word, i) => word & maskOf(length - 32 * i)), length };
}

export function formatPrefix6({ words, length }: Prefix6): string {
  return `${formatAddress6(words)}/${length}`;
}

export function contains6({ words, length }: Prefix6, address: readonly number[]): boolean {
  return words.every((word, i) => ((word ^ address[i]!) & maskOf(length - 32 * i)) === 0);
}

/** What a forward leads to: ADDRESS:PORTS or [ADDRESS]:PORTS, as two texts; undefined for anything else. */
export function splitTarget(text: string): { address: string; ports: string } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([^:]+)$/.exec(text);
  if (match === null) return undefined;
  return { address: match[1] ?? match[2]!, ports: match[3]! };
}

/** 8080, "8080" or "8000-8010"; the order and size of the numbers are the caller's to judge. */
export function parsePortRange(value: string | number): PortRange | undefined {
  const match = /^([0-9]{1,9})(?:-([0-9]{1,9}))?$/.exec(String(value));
  if (match === null) return undefined;
  return { first: Number(match[1]), last: Number(match[2] ?? match[1]) };
}
