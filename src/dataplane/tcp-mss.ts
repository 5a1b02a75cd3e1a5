/**
 * Clamps the maximum segment size that a SYN offers to what the flow's uplink can carry, so that
 * connections work where "fragmentation needed" is filtered on the way. Only ever lowered (RFC 6691: MSS is
 * the MTU less the fixed headers, 40 bytes for IPv4).
 */
import { applyDelta } from "../wire/checksum.ts";
import { tcp, tcpHeaderBytes } from "../wire/tcp.ts";

const fixedHeaders = 40;
const optionMss = 2;

/** `partial`: the checksum field holds the pseudo-header sum, which options are no part of. */
export function clampMss(view: DataView, l4: number, l4End: number, mtu: number, partial: boolean): void {
  const at = findOption(view, l4, l4End, optionMss, 4);
  if (at < 0) return;
  const field = at + 2;
  const offered = view.getUint16(field);
  const limit = mtu - fixedHeaders;
  if (offered <= limit) return;
  view.setUint16(field, limit);
  if (partial) return;
  // Options are not aligned: at an odd offset the two bytes belong to different words of the sum.
  const delta = (~offered & 0xffff) + limit;
  const swapped = ((~swap(offered) & 0xffff) + swap(limit)) & 0x1ffff;
  const checksum = view.getUint16(l4 + tcp.checksum);
  view.setUint16(l4 + tcp.checksum, applyDelta(checksum, ((field - l4) & 1) === 0 ? delta : swapped));
}

/** Where an option of this kind and size begins, or -1. The walk ends at the header's end and at an option that makes no sense. */
export function findOption(view: DataView, l4: number, l4End: number, kind: number, size: number): number {
  for (let at = l4 + tcpHeaderBytes; at < l4End; ) {
    const found = view.getUint8(at);
    if (found === 0) return -1;
    if (found === 1) {
      at++;
      continue;
    }
    const bytes = at + 1 < l4End ? view.getUint8(at + 1) : 0;
    if (bytes < 2 || at + bytes > l4End) return -1;
    if (found === kind && bytes === size) return at;
    at += bytes;
  }
  return -1;
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}
