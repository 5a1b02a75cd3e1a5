/** IPv6 in a configuration: addresses, gateways, and the prefixes of prefix translation. */

import type { Prefix6 } from "../tables/prefix6.ts";
import { parseAddress6 } from "../wire/ipv6.ts";
import type { ConfigPath } from "./config-problem.ts";
import type { ConfigReader } from "./config-reader.ts";
import { canonical6, contains6, formatPrefix6, isHostAddress6, network6, parsePrefix6 } from "./config-values.ts";

/** What RFC 6296, section 3.5 translates without a mapping for each host. */
const longestPrefix = 64;

export function checkIpv6(reader: ConfigReader): void {
  const insidePath = ["nat", "insidePrefix"];
  const inside = checkPrefix(reader, insidePath);
  const prefixes = reader.entries(["uplinks"]).flatMap((uplink) => {
    checkAddresses(reader, uplink);
    const path = [...uplink, "ipv6", "prefix"];
    const prefix = checkPrefix(reader, path);
    return prefix === undefined ? [] : [{ uplink, path, prefix }];
  });
  for (const { uplink, path, prefix } of prefixes) {
    checkApart(reader, path, prefix, prefixes, inside);
    checkAddressOutside(reader, uplink, prefix);
  }
  if (prefixes.length > 0 && reader.get(insidePath) === undefined)
    reader.error(prefixes[0]!.path, "stands for no hosts inside", "nat.insidePrefix, the prefix that it replaces");
  if (prefixes.length === 0 && inside !== undefined)
    reader.warning(insidePath, "is replaced nowhere", "uplinks with ipv6.prefix");
}

function checkAddresses(reader: ConfigReader, uplink: ConfigPath): void {
  const [addressPath, gatewayPath] = [
    [...uplink, "ipv6", "address"],
    [...uplink, "ipv6", "gateway"],
  ];
  const [address, gateway] = [reader.text(addressPath), reader.text(gatewayPath)];
  const words = address === undefined ? undefined : parseAddress6(address);
  if (words === null) reader.error(addressPath, "is not valid", "an IPv6 address such as 2001:db8::2");
  else if (words !== undefined && !isHostAddress6(words))
    reader.error(addressPath, "is not an address that remote hosts can answer", "a global or unique local address");
  const gatewayWords = gateway === undefined ? undefined : parseAddress6(gateway);
  if (gatewayWords === null) reader.error(gatewayPath, "is not valid", "an IPv6 address such as fe80::1");
  else if (gatewayWords !== undefined && !isHostAddress6(gatewayWords) && !isLinkLocal(gatewayWords))
    reader.error(gatewayPath, "is not an address that a machine can have", "an address such as fe80::1");
  if (address !== undefined && gateway !== undefined && canonical6(address) === canonical6(gateway))
    reader.error(gatewayPath, "is the uplink's own address", "the provider's router");
}

function isLinkLocal(words: readonly number[]): boolean {
  return words[0]! >>> 22 === 0x3fa;
}

/** The prefix, when it is sound in itself. */
function checkPrefix(reader: ConfigReader, path: ConfigPath): Prefix6 | undefined {
  const text = reader.text(path);
  // Of another form, which the schema reports.
  if (text === undefined || !text.includes("/")) return undefined;
  const prefix = parsePrefix6(text);
  if (prefix === undefined) reader.error(path, "is not valid", "an IPv6 prefix such as 2001:db8:100::/48");
  else if (prefix.length < 1 || prefix.length > longestPrefix)
    reader.error(path, "has a length that cannot be translated", `a length from 1 to ${longestPrefix} (RFC 6296)`);
  else if (!isHostAddress6(prefix.words))
    reader.error(path, "is not a prefix that hosts can have addresses of", "a global or unique local prefix");
  else if (formatPrefix6(network6(prefix)) !== formatPrefix6(prefix))
    reader.error(path, "has bits beyond its length", formatPrefix6(network6(prefix)));
  else return prefix;
  return undefined;
}

/** A packet's prefix must tell which uplink, and which side, it is of. */
function checkApart(
  reader: ConfigReader,
  path: ConfigPath,
  prefix: Prefix6,
  all: readonly { path: ConfigPath; prefix: Prefix6 }[],
  inside: Prefix6 | undefined,
): void {
  if (inside !== undefined && overlap6(inside, prefix))
    reader.error(path, "overlaps nat.insidePrefix", "the prefix that the provider routes to this uplink");
  const rival = all
    .slice(
      0,
      all.findIndex((other) => other.path === path),
    )
    .find((other) => overlap6(other.prefix, prefix));
  if (rival !== undefined)
    reader.error(path, `overlaps the prefix of uplinks[${rival.path[1]}]`, "every uplink to have its own");
}

function checkAddressOutside(reader: ConfigReader, uplink: ConfigPath, prefix: Prefix6): void {
  const path = [...uplink, "ipv6", "address"];
  const words = parseAddress6(reader.text(path) ?? "");
  if (words !== null && contains6(prefix, words))
    reader.error(path, "lies in the uplink's prefix, all of which is the hosts'", "an address outside it");
}

function overlap6(a: Prefix6, b: Prefix6): boolean {
  return a.length <= b.length ? contains6(a, b.words) : contains6(b, a.words);
}
