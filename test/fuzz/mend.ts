/**
 * Checksums made right. A fuzzer does not guess them, so an input says whether its own are to be mended: the code behind the
 * check is then reached, and the check itself by the inputs that do not ask for it. What is too short is left as it is.
 */
import { addressText, concat, ICMP, internetChecksum, layer4Checksum, TCP, UDP, words } from "../support/packets.ts";
import { ICMPV6 } from "../support/packets6.ts";

const ipv6HeaderBytes = 40;

/** Of an IPv4 header at the beginning of `bytes`. */
export function mendHeader(bytes: Uint8Array): void {
  const end = headerEnd(bytes);
  if (end === 0) return;
  bytes.set([0, 0], 10);
  bytes.set(words(internetChecksum(bytes.subarray(0, end))), 10);
}

/** Of an ICMP message, as long as its packet says it is. */
export function mendIcmp(bytes: Uint8Array): void {
  const end = headerEnd(bytes);
  const packetEnd = totalLength(bytes);
  if (end === 0 || bytes[9] !== ICMP || packetEnd < end + 4) return;
  bytes.set([0, 0], end + 2);
  bytes.set(words(internetChecksum(bytes.subarray(end, packetEnd))), end + 2);
}

/** Of TCP and UDP, likewise. */
export function mendPorts(bytes: Uint8Array): void {
  const end = headerEnd(bytes);
  const packetEnd = totalLength(bytes);
  const field = bytes[9] === TCP ? 16 : bytes[9] === UDP ? 6 : -1;
  if (end === 0 || field < 0 || packetEnd < end + field + 2) return;
  const payload = bytes.subarray(end, packetEnd);
  const [source, destination] = [addressText(bytes.subarray(12, 16)), addressText(bytes.subarray(16, 20))];
  payload.set([0, 0], field);
  payload.set(words(layer4Checksum(payload, bytes[9]!, source, destination) || 0xffff), field);
}

/** Of TCP, UDP and ICMPv6 in a packet of IPv6, without extension headers. */
export function mendLayer4Of6(bytes: Uint8Array): void {
  if (bytes.length < ipv6HeaderBytes || bytes[0]! >>> 4 !== 6) return;
  const payload = bytes.subarray(ipv6HeaderBytes, ipv6HeaderBytes + ((bytes[4]! << 8) | bytes[5]!));
  const protocol = bytes[6]!;
  const field = protocol === TCP ? 16 : protocol === UDP ? 6 : protocol === ICMPV6 ? 2 : -1;
  if (field < 0 || payload.length < field + 2) return;
  payload.set([0, 0], field);
  const pseudoHeader = concat(bytes.subarray(8, ipv6HeaderBytes), words(0, payload.length, 0, protocol));
  payload.set(words(internetChecksum(concat(pseudoHeader, payload)) || 0xffff), field);
}

/** The header of the packet that an ICMP error quotes; mend the error afterwards. */
export function mendQuoted(bytes: Uint8Array): void {
  const end = headerEnd(bytes);
  if (end !== 0 && bytes[9] === ICMP) mendHeader(bytes.subarray(end + 8));
}

/** How long the packet says it is, at most as long as it is. */
function totalLength(bytes: Uint8Array): number {
  return bytes.length < 4 ? 0 : Math.min((bytes[2]! << 8) | bytes[3]!, bytes.length);
}

function headerEnd(bytes: Uint8Array): number {
  const end = bytes.length < 20 ? 0 : (bytes[0]! & 15) * 4;
  return end < 20 || end > bytes.length ? 0 : end;
}
