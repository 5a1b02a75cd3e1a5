/**
 * IPv6 (RFC 8200): offsets, the walk over extension headers, addresses and their text. An address is four
 * signed 32-bit words, the most significant first: 2001:db8::1 is 0x20010db8, 0, 0, 1.
 */

export const ipv6 = { payloadLength: 4, nextHeader: 6, hopLimit: 7, source: 8, destination: 24 } as const;
export const ipv6HeaderBytes = 40;
export const ipv6AddressBytes = 16;
/** The least MTU of any link (RFC 8200, section 5). */
export const leastMtu6 = 1280;

export const protocolRouting = 43;
export const protocolFragment = 44;
export const protocolIcmpv6 = 58;
export const protocolNoNext = 59;
const protocolHopByHop = 0;
const protocolDestinationOptions = 60;

/** The fragment header: offset (13), reserved (2), more (1); identification. */
export const fragmentHeader = { offset: 2, identification: 4 } as const;
export const fragmentHeaderBytes = 8;
export const moreFragments6 = 1;
export const fragmentOffsetMask6 = 0xfff8;

/** The routing header: its type, and how many places are left to visit. */
const routing = { type: 2, segmentsLeft: 3 } as const;
/** More than a host has reason to send (RFC 9098, section 3 names what longer chains are used for). */
const mostExtensionHeaders = 8;

/** What `walkExtensions` writes, in words from where it is told. */
export const walked = {
  /** Offset of the upper layer's header, or of a later fragment's bytes. */
  l4: 0,
  protocol: 1,
  /** Offset of the fragment header, or 0. */
  fragment: 2,
} as const;
export const walkedWords = 3;

export const walkEnd = { ok: 0, malformed: 1, sourceRoute: 2 } as const;

/**
 * Walks from the header at `at` to the upper layer, within `end`, writes what it finds to `found` and returns
 * one of `walkEnd`. It ends at a later fragment, whose bytes are of no known kind, and at whatever is not an
 * extension header that every host can skip: authentication and encryption are upper layers here. Source
 * routes are a way around every filter (RFC 5095): any of type 0, and any other with places left to visit.
 */
export function walkExtensions(view: DataView, at: number, end: number, found: Int32Array): number {
  let protocol = view.getUint8(at + ipv6.nextHeader);
  let next = at + ipv6HeaderBytes;
  found[walked.fragment] = 0;
  for (let headers = 0; isExtension(protocol); headers++) {
    // The shortest has 8 bytes.
    if (headers === mostExtensionHeaders || next + 8 > end) return walkEnd.malformed;
    if (protocol === protocolHopByHop && headers > 0) return walkEnd.malformed;
    const following = view.getUint8(next);
    if (protocol === protocolFragment) {
      if (found[walked.fragment] !== 0) return walkEnd.malformed;
      found[walked.fragment] = next;
      const isLater = (view.getUint16(next + fragmentHeader.offset) & fragmentOffsetMask6) !== 0;
      next += fragmentHeaderBytes;
      protocol = following;
      if (isLater) break;
      continue;
    }
    if (protocol === protocolRouting) {
      const isLeft = view.getUint8(next + routing.segmentsLeft) !== 0;
      if (isLeft || view.getUint8(next + routing.type) === 0) return walkEnd.sourceRoute;
    }
    next += (view.getUint8(next + 1) + 1) << 3;
    if (next > end) return walkEnd.malformed;
    protocol = following;
  }
  found[walked.l4] = next;
  found[walked.protocol] = protocol;
  return walkEnd.ok;
}

function isExtension(protocol: number): boolean {
  return (
    protocol === protocolHopByHop ||
    protocol === protocolRouting ||
    protocol === protocolFragment ||
    protocol === protocolDestinationOptions
  );
}

/** Whether an address with this upper word is for its link alone: fe80::/10 (RFC 4291, section 2.5.6). */
export function isLinkLocal(word0: number): boolean {
  return word0 >>> 22 === 0x3fa;
}

/**
 * Whether an address with these upper words may be forwarded from or to: unicast of more than link scope. Not
 * multicast, not link-local, not what stands for an IPv4 address or for none, the loopback included (RFC 4291, section 2).
 */
export function isForwardable(word0: number, word1: number, word2: number): boolean {
  const isMulticast = word0 >>> 24 === 0xff;
  const isEmbedded = word0 === 0 && word1 === 0 && (word2 === 0 || word2 === 0xffff);
  return !isMulticast && !isLinkLocal(word0) && !isEmbedded;
}

/** The four words of an address in any of the forms of RFC 4291, section 2.2, or null when the text is none. No zone. */
export function parseAddress6(text: string): number[] | null {
  const dotted = /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number) as [number, number, number, number];
    if (Math.max(a, b, c, d) > 255) return null;
    return parseAddress6(`${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
  }
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [front, back] = halves.map((half) => (half === "" ? [] : half.split(":"))) as [string[], string[]?];
  const left = 8 - front.length - (back?.length ?? 0);
  // "::" stands for one group or more.
  if (back === undefined ? left !== 0 : left < 1) return null;
  const groups = [...front, ...Array.from({ length: back === undefined ? 0 : left }, () => "0"), ...(back ?? [])];
  if (!groups.every((group) => /^[\da-f]{1,4}$/i.test(group))) return null;
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  return [0, 2, 4, 6].map((i) => (numbers[i]! << 16) | numbers[i + 1]!);
}

/** The address in the four words from `at` on, in its canonical form (RFC 5952). */
export function formatAddress6(words: ArrayLike<number>, at = 0): string {
  const groups = Array.from({ length: 8 }, (_, i) => (words[at + (i >> 1)]! >>> (i % 2 === 0 ? 16 : 0)) & 0xffff);
  let longest = { from: 0, length: 1 };
  for (let from = 0; from < 8; from++) {
    let length = 0;
    while (from + length < 8 && groups[from + length] === 0) length++;
    if (length > longest.length) longest = { from, length };
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (longest.length === 1) return text(groups);
  return `${text(groups.slice(0, longest.from))}::${text(groups.slice(longest.from + longest.length))}`;
}
