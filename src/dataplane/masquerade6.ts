/**
 * Rewrites one endpoint of an IPv6 packet, checksums by difference, as masquerade.ts does for IPv4. There is
 * no header checksum; the pseudo-header of every layer 4 has the addresses, that of ICMPv6 too.
 */
import type { AddressBook } from "../tables/address-book.ts";
import { applyDelta, delta16, delta32 } from "../wire/checksum.ts";
import { icmp } from "../wire/icmp.ts";
import { protocolIcmp } from "../wire/ipv4.ts";
import { ipv6 } from "../wire/ipv6.ts";
import { tcp } from "../wire/tcp.ts";
import { rewriteLayer4 } from "./masquerade.ts";

/** Instead of a port: it stays as it is. */
export const keepPort = -1;

/** Sets the source, by its name, of a packet with a layer-4 header. `protocol` is that of the flow; `partial`: its layer-4 checksum is a pseudo-header sum. */
export function setSource6(
  view: DataView,
  at: number,
  l4: number,
  protocol: number,
  names: AddressBook,
  name: number,
  port: number,
  partial: boolean,
): void {
  rewrite6(view, at + ipv6.source, l4, tcp.sourcePort, protocol, names, name, port, partial);
}

/** Sets the destination likewise. */
export function setDestination6(
  view: DataView,
  at: number,
  l4: number,
  protocol: number,
  names: AddressBook,
  name: number,
  port: number,
  partial: boolean,
): void {
  rewrite6(view, at + ipv6.destination, l4, tcp.destinationPort, protocol, names, name, port, partial);
}

/** Sets the address at `field` to that of a name and returns the delta of the checksums that cover it. */
export function setAddress6(view: DataView, field: number, names: AddressBook, name: number): number {
  let delta = 0;
  for (let word = 0; word < 4; word++) {
    const to = names.word(name, word);
    delta += delta32(view.getInt32(field + word * 4), to);
    view.setInt32(field + word * 4, to);
  }
  return delta;
}

function rewrite6(
  view: DataView,
  addressField: number,
  l4: number,
  portField: number,
  protocol: number,
  names: AddressBook,
  name: number,
  port: number,
  partial: boolean,
): void {
  const addressDelta = setAddress6(view, addressField, names, name);
  if (protocol !== protocolIcmp) {
    rewriteLayer4(view, l4, portField, protocol, addressDelta, port, partial);
    return;
  }
  const identifier = view.getUint16(l4 + icmp.identifier);
  const to = port === keepPort ? identifier : port;
  view.setUint16(l4 + icmp.identifier, to);
  const field = l4 + icmp.checksum;
  view.setUint16(field, applyDelta(view.getUint16(field), addressDelta + delta16(identifier, to)));
}
