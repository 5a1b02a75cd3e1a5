/** Addresses of a person's notation in the data plane's words. */
import { parseAddress } from "../wire/ipv4.ts";
import { parseAddress6 } from "../wire/ipv6.ts";

/** One word of IPv4, four of IPv6. The address has been checked. */
export function wordsOf(address: string): readonly number[] {
  return address.includes(":") ? parseAddress6(address)! : [parseAddress(address)!];
}
