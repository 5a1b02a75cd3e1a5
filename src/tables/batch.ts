/**
 * The packets of one device in one turn, as columns: row i of every column is packet i. Allocated
 * once, owned by one worker. Beside each column stands who fills it; a column holds nothing
 * meaningful for a packet whose verdict is not 0 after that step.
 */
export class Batch {
  count = 0;
  /** decode: byte offset of the IP header in packet memory. */
  readonly at: Int32Array;
  /** decode: bytes from the IP header on, trailer trimmed. */
  readonly length: Int32Array;
  /** decode: byte offset of the layer-4 header. */
  readonly l4: Int32Array;
  /** decode: what to do with it, see `kind` in decode.ts. */
  readonly kind: Uint8Array;
  /** decode: IP protocol. */
  readonly protocol: Uint8Array;
  /** decode: addresses, signed 32-bit. */
  readonly source: Int32Array;
  readonly destination: Int32Array;
  /** decode: source port (16), destination port (16); of an ICMP query the identifier stands for the asker's port and 0 for the other. */
  readonly ports: Int32Array;
  /** decode: TCP flags, or ICMP type. */
  readonly flags: Uint8Array;
  /** forwarder, before the lookups: hash of the tuple. */
  readonly hash: Int32Array;
  /** decode: 0 (forward) or the drop reason. */
  readonly verdict: Uint8Array;

  constructor(capacity: number) {
    this.at = new Int32Array(capacity);
    this.length = new Int32Array(capacity);
    this.l4 = new Int32Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.protocol = new Uint8Array(capacity);
    this.source = new Int32Array(capacity);
    this.destination = new Int32Array(capacity);
    this.ports = new Int32Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.hash = new Int32Array(capacity);
    this.verdict = new Uint8Array(capacity);
  }
}
