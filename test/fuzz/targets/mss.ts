/**
 * Any TCP header: the clamp changes the first maximum segment size that is larger than the uplink's, and nothing else but
 * the checksum, which stays right, or wrong, as it was. A walk by the book finds the option here.
 *
 *     input: [MTU 2][how 1][TCP header and more]      how: 1 the checksum is partial, 2 it is mended first
 */
import assert from "node:assert/strict";
import { clampMss } from "../../../src/dataplane/tcp-mss.ts";
import { concat, layer4Checksum, parse, SYN, TCP, tcp, words } from "../../support/packets.ts";

const source = "192.168.10.2";
const destination = "192.0.2.1";
/** The smallest MTU that IPv4 allows (RFC 791). */
const smallestMtu = 68;

export function fuzz(input: Uint8Array): void {
  if (input.length < 23) return;
  const mtu = Math.max((input[0]! << 8) | input[1]!, smallestMtu);
  const isPartial = (input[2]! & 1) !== 0;
  const segment = input.slice(3);
  const headerBytes = (segment[12]! >>> 4) << 2;
  // decode.ts lets nothing else come this far.
  if (headerBytes < 20 || headerBytes > segment.length) return;
  if (input[2]! & 2) mend(segment);

  const expected = segment.slice();
  const at = mssAt(segment.subarray(0, headerBytes));
  const isLowered = at >= 0 && ((segment[at]! << 8) | segment[at + 1]!) > mtu - 40;
  if (isLowered) expected.set(words(mtu - 40), at);
  const wasRight = layer4Checksum(segment, TCP, source, destination) === 0;
  // The view ends where the header ends: whoever reads on gets a RangeError.
  clampMss(new DataView(segment.buffer, 0, headerBytes), 0, headerBytes, mtu, isPartial);

  if (isLowered && !isPartial) {
    assert.equal(
      layer4Checksum(segment, TCP, source, destination) === 0,
      wasRight,
      "the checksum is as right as it was",
    );
    expected.set(segment.subarray(16, 18), 16);
  }
  assert.deepEqual(segment, expected);
}

export function seeds(): Uint8Array[] {
  const options = [
    words(0x0204, 1460, 0x0402, 0x0103, 0x0307, 0),
    Uint8Array.of(1, 2, 4, 34, 88, 0, 0, 0),
    Uint8Array.of(3, 3, 7, 2, 4, 255, 255, 1),
    Uint8Array.of(2, 3, 1, 2, 6, 1, 1, 1, 1, 0, 0, 0),
  ];
  const ends = { source: `${source}:5000`, destination: `${destination}:80`, flags: SYN };
  return options.flatMap((tcpOptions) =>
    [0, 1, 2].map((how) => concat(words(1400), Uint8Array.of(how), parse(tcp({ ...ends, tcpOptions })).payload)),
  );
}

/** Where the value of the first maximum segment size stands (RFC 9293, section 3.1), or -1. */
function mssAt(header: Uint8Array): number {
  for (let at = 20; at < header.length; ) {
    const [option, size] = [header[at]!, header[at + 1]];
    if (option === 0) return -1;
    if (option === 1) at++;
    else if (size === undefined || size < 2 || at + size > header.length) return -1;
    else if (option === 2 && size === 4) return at + 2;
    else at += size;
  }
  return -1;
}

function mend(segment: Uint8Array): void {
  segment.set([0, 0], 16);
  segment.set(words(layer4Checksum(segment, TCP, source, destination)), 16);
}
