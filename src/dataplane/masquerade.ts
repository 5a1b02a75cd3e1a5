/**
 * Rewrites one endpoint of a packet, checksums by difference: the source on the way out, the
 * destination on the way in. A checksum that was wrong stays wrong (RFC 3022, section 4.1), an
 * absent UDP checksum stays absent, and a computed 0 goes out as 0xffff (RFC 768).
 *
 * A partial checksum holds the pseudo-header sum alone: it changes with the address, not with the
 * port, and is not inverted (Linux include/linux/skbuff.h, CHECKSUM_PARTIAL).
 */
import { applyDelta, applyDeltaPartial, delta16, delta32 } from "../wire/checksum.ts";
import { icmp } from "../wire/icmp.ts";
import { ipv4, protocolDccp, protocolIcmp, protocolTcp, protocolUdp, protocolUdpLite } from "../wire/ipv4.ts";
import { tcp } from "../wire/tcp.ts";
import { udp } from "../wire/udp.ts";

/** Sets the source of a packet with a layer-4 header. `partial`: its layer-4 checksum is a pseudo-header sum. */
export function setSource(
  view: DataView,
  at: number,
  l4: number,
  protocol: number,
  address: number,
  port: number,
  partial: boolean,
): void {
  rewrite(view, at, ipv4.source, l4, tcp.sourcePort, protocol, address, port, partial);
}

/** Sets the destination likewise. */
export function setDestination(
  view: DataView,
  at: number,
  l4: number,
  protocol: number,
  address: number,
  port: number,
  partial: boolean,
): void {
  rewrite(view, at, ipv4.destination, l4, tcp.destinationPort, protocol, address, port, partial);
}

/** Sets one address (`field` is its offset in the header) of a packet without a layer-4 header: a later fragment. */
export function setAddress(view: DataView, at: number, field: number, address: number): number {
  const delta = delta32(view.getInt32(at + field), address);
  view.setInt32(at + field, address);
  view.setUint16(at + ipv4.checksum, applyDelta(view.getUint16(at + ipv4.checksum), delta));
  return delta;
}

/**
 * Sets the identification. Behind a translator the datagrams of several hosts share one source, so
 * those that may be cut on the way must not bring the identification they had (RFC 6864, section 5.3).
 */
export function setIdentification(view: DataView, at: number, identification: number): void {
  const delta = delta16(view.getUint16(at + ipv4.identification), identification);
  view.setUint16(at + ipv4.identification, identification);
  view.setUint16(at + ipv4.checksum, applyDelta(view.getUint16(at + ipv4.checksum), delta));
}

function rewrite(
  view: DataView,
  at: number,
  addressField: number,
  l4: number,
  portField: number,
  protocol: number,
  address: number,
  port: number,
  partial: boolean,
): void {
  const addressDelta = setAddress(view, at, addressField, address);
  if (protocol !== protocolIcmp) {
    rewriteLayer4(view, l4, portField, protocol, addressDelta, port, partial);
    return;
  }
  // An ICMP query has no pseudo-header: only the identifier counts.
  const delta = setPort(view, l4 + icmp.identifier, port, false);
  const field = l4 + icmp.checksum;
  view.setUint16(field, applyDelta(view.getUint16(field), delta));
}

/** Sets a port of a layer-4 header, and its checksum for that and for the change of addresses that `addressDelta` describes. */
export function rewriteLayer4(
  view: DataView,
  l4: number,
  portField: number,
  protocol: number,
  addressDelta: number,
  port: number,
  partial: boolean,
): void {
  if (protocol === protocolTcp) {
    const delta = addressDelta + setPort(view, l4 + portField, port, partial);
    const field = l4 + tcp.checksum;
    const old = view.getUint16(field);
    view.setUint16(field, partial ? applyDeltaPartial(old, delta) : applyDelta(old, delta));
  } else if (protocol === protocolUdp) {
    const delta = addressDelta + setPort(view, l4 + portField, port, partial);
    const field = l4 + udp.checksum;
    const old = view.getUint16(field);
    if (partial) view.setUint16(field, applyDeltaPartial(old, delta));
    else if (old !== 0) view.setUint16(field, applyDelta(old, delta) || 0xffff);
  } else if (protocol === protocolDccp || protocol === protocolUdpLite) {
    // Their checksums cover the pseudo-header too, and stand where UDP has its own (RFC 4340, RFC 3828).
    const field = l4 + udp.checksum;
    // Of UDP-Lite a 0 would be illegal (RFC 3828, section 3.1); to DCCP it is the same number.
    view.setUint16(field, applyDelta(view.getUint16(field), addressDelta) || 0xffff);
  }
}

/** Sets a port and returns its share of the delta: none under a partial checksum. */
function setPort(view: DataView, field: number, port: number, partial: boolean): number {
  const old = view.getUint16(field);
  view.setUint16(field, port);
  return partial ? 0 : delta16(old, port);
}
