/**
 * The packets of one device in one turn: one row of a cache line each, allocated once, owned by one
 * worker. Beside each word stands who writes it; a row holds nothing meaningful when its verdict is
 * not 0, except the verdict. Rows rather than columns: measured 15 ns a packet less, because a packet's
 * dozen words are then one base pointer and one line.
 */
export const packetWord = {
  /** decode: 0 (forward) or the drop reason. */
  verdict: 0,
  /** decode: byte offset of the IP header in packet memory. */
  at: 1,
  /** decode: bytes from the IP header on, trailer trimmed. */
  length: 2,
  /** decode: byte offset of the layer-4 header. */
  l4: 3,
  /** decode: byte offset of the first byte after the layer-4 header. */
  l4End: 4,
  /** decode: addresses, signed 32-bit; of IPv6 their names (address-book.ts), 0 for one that has none. */
  source: 5,
  destination: 6,
  /** decode: source port (16), destination port (16); of an ICMP query the identifier stands for the asker's port and 0 for the other. */
  ports: 7,
  /** decode: IP protocol. */
  protocol: 8,
  /** decode: what to do with it, see `kind` in decode.ts. */
  kind: 9,
  /** decode: TCP flags, or ICMP type. */
  flags: 10,
  /** decode: what its vnet header asks for, see `offloadOf` in wire/vnet.ts; 0: nothing. */
  offload: 11,
  /** forwarder, before the lookups: hash of the tuple. */
  hash: 12,
  /** decode, for fragments: the identification as received. */
  identification: 13,
  /** decode: 4 or 6. */
  version: 14,
  /** decode, IPv6 only: byte offset of the fragment header, or 0. */
  fragment: 15,
} as const;
export const packetWords = 16;

export class Batch {
  count = 0;
  readonly rows: Int32Array;

  constructor(capacity: number) {
    this.rows = new Int32Array(capacity * packetWords);
  }
}
