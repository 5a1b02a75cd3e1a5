/** Networks as ranges of addresses, which can be compared and cut with each other. An address is the integer that it is. */
import type { AddressRanges, ValueRange } from "../tables/rule-table-writer.ts";
import { merged } from "../tables/rule-table-writer.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import { isIpv6, parseIpv4 } from "./config-values.ts";

/** Of ADDRESS or ADDRESS/LENGTH; bits behind the length do not matter. Undefined for anything else. */
export function networkRange(text: string): ValueRange | undefined {
  const [address = "", length, ...rest] = text.split("/");
  const value = addressValue(address);
  const bits = isIpv6(address) ? 128 : 32;
  if (value === undefined || rest.length > 0) return undefined;
  if (length === undefined) return { first: value, last: value };
  if (!/^[0-9]{1,3}$/.test(length) || Number(length) > bits) return undefined;
  const hostMask = (1n << BigInt(bits - Number(length))) - 1n;
  return { first: value & ~hostMask, last: value | hostMask };
}

/** Whether a network is part of another, or the same. Both have been checked. */
export function liesWithin(inner: string, outer: string): boolean {
  if (isIpv6(inner) !== isIpv6(outer)) return false;
  const [a, b] = [networkRange(inner)!, networkRange(outer)!];
  return a.first >= b.first && a.last <= b.last;
}

/** The integer of an address of either family; undefined when the text is none. */
export function addressValue(text: string): bigint | undefined {
  if (!isIpv6(text)) {
    const ipv4 = parseIpv4(text);
    return ipv4 === undefined ? undefined : BigInt(ipv4);
  }
  const words = parseAddress6(text);
  return words === null ? undefined : words.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);
}

/** Networks that have been checked, by family, in order and without overlap. */
export function addressRanges(networks: readonly string[]): AddressRanges {
  const ranges = (wanted: boolean) =>
    merged(networks.filter((network) => isIpv6(network) === wanted).map((network) => networkRange(network)!));
  return { ipv4: ranges(false), ipv6: ranges(true) };
}

/** The addresses that are in both. */
export function intersection(a: AddressRanges, b: AddressRanges): AddressRanges {
  return { ipv4: common(a.ipv4, b.ipv4), ipv6: common(a.ipv6, b.ipv6) };
}

/** Of two lists in order and without overlap. */
function common(a: readonly ValueRange[], b: readonly ValueRange[]): ValueRange[] {
  const found: ValueRange[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const later = a[i]!.first > b[j]!.first ? a[i]! : b[j]!;
    const isFirstDone = a[i]!.last < b[j]!.last;
    const sooner = isFirstDone ? a[i]! : b[j]!;
    if (later.first <= sooner.last) found.push({ first: later.first, last: sooner.last });
    if (isFirstDone) i++;
    else j++;
  }
  return found;
}
