/** The flow that `explain` is asked about, from the notation that a person types: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. */

import { parseAddress6 } from "../wire/ipv6.ts";
import { canonical6, formatIpv4, isHostAddress, isHostAddress6, isIpv6, parseIpv4 } from "./config-values.ts";
import type { ExplainQuery } from "./report.ts";
import { RequestError } from "./request-error.ts";

const protocolNames = new Map([
  ["1", "icmp"],
  ["6", "tcp"],
  ["17", "udp"],
  ["47", "gre"],
  ["50", "esp"],
  ["58", "icmp"],
  ["132", "sctp"],
  ["icmpv6", "icmp"],
]);
const names = [...new Set(protocolNames.values())];

interface Endpoint {
  address: string;
  port: number | null;
}

/** Addresses in canonical form; a protocol that has a name by its name. Throws RequestError, naming what was expected. */
export function readExplainQuery(source: string, destination: string, protocol: string): ExplainQuery {
  const from = readEndpoint("source", source);
  const to = readEndpoint("destination", destination);
  if (isIpv6(from.address) !== isIpv6(to.address))
    throw new RequestError(400, `source ${from.address} and destination ${to.address} are not of one family`);
  const name = readProtocol(protocol);
  checkPorts(name, from, to);
  return {
    protocol: name,
    source: from.address,
    sourcePort: from.port,
    destination: to.address,
    destinationPort: to.port,
  };
}

function readEndpoint(role: string, text: string): Endpoint {
  const wrong = (what: string, expected: string) =>
    new RequestError(400, `${role} ${JSON.stringify(text.slice(0, 80))} ${what}; expected ${expected}`);
  // An IPv6 address without brackets is full of colons, of which none is before a port.
  const match = readAddress(text) === undefined ? /^(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,9}))?$/.exec(text) : null;
  const address = readAddress(match?.[1] ?? match?.[2] ?? text);
  if (address === undefined)
    throw wrong("is not valid", "an address with or without a port: 192.0.2.10, 192.0.2.10:443, [2001:db8::10]:443");
  if (!isOfHost(address)) throw wrong("is not the address of one host", "a unicast address");
  const port = match?.[3] === undefined ? null : Number(match[3]);
  if (port !== null && port > 65_535) throw wrong("has no valid port", "a port from 0 to 65535");
  return { address, port };
}

/** In canonical form. */
function readAddress(text: string): string | undefined {
  const quad = parseIpv4(text);
  if (quad !== undefined) return formatIpv4(quad);
  return parseAddress6(text) === null ? undefined : canonical6(text);
}

function isOfHost(address: string): boolean {
  return isIpv6(address) ? isHostAddress6(parseAddress6(address)!) : isHostAddress(parseIpv4(address)!);
}

function readProtocol(text: string): string {
  const isNumber = /^[0-9]{1,3}$/.test(text) && Number(text) <= 255;
  const key = isNumber ? String(Number(text)) : text.toLowerCase();
  const name = names.includes(key) ? key : protocolNames.get(key);
  if (name !== undefined) return name;
  if (isNumber) return key;
  const expected = `${names.join(", ")} or a number to 255`;
  throw new RequestError(400, `protocol ${JSON.stringify(text.slice(0, 80))} is not known; expected ${expected}`);
}

/** What sluice tells flows apart by: ports of TCP and UDP, the identifier of a ping, otherwise the addresses alone. */
function checkPorts(protocol: string, from: Endpoint, to: Endpoint): void {
  if (protocol === "tcp" || protocol === "udp") return;
  if (protocol === "icmp" && to.port !== null)
    throw new RequestError(400, "icmp has no ports; the identifier of a ping may stand as the source's port");
  if (protocol !== "icmp" && (from.port !== null || to.port !== null))
    throw new RequestError(400, `flows of protocol ${protocol} are told apart by their addresses; leave out the ports`);
}
