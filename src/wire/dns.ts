/**
 * Answers of DNS (RFC 1035, section 4), read where they stand and with bounds on everything: names may point backwards only, so that
 * none is endless; what is not well formed reads as the end.
 */

export const dnsPort = 53;
export const dns = { flags: 2, questions: 4, answers: 6, records: 12 } as const;
/** Of a record, from behind its name. */
export const dnsRecord = { type: 0, class: 2, ttl: 4, length: 8, data: 10 } as const;
export const dnsType = { a: 1, cname: 5, aaaa: 28 } as const;
export const classInternet = 1;
/** Behind the name of a question: type and class. */
export const questionBytes = 4;

/** Response, opcode and response code: those of a plain answer that is no failure. */
const flagsAsked = 0xf80f;
const plainAnswer = 0x8000;
/** Of a name, with its lengths and the empty label at its end (section 3.1). */
const mostNameBytes = 255;
const mostLabels = 127;

/** Whether the message from `at` to `end` answers one question with something. */
export function isAnswer(view: DataView, at: number, end: number): boolean {
  if (end - at < dns.records) return false;
  const isPlain = (view.getUint16(at + dns.flags) & flagsAsked) === plainAnswer;
  return isPlain && view.getUint16(at + dns.questions) === 1 && view.getUint16(at + dns.answers) > 0;
}

/** A name in its uncompressed form and lower case, without the empty label at the end. */
export class DnsName {
  readonly bytes = new Uint8Array(mostNameBytes);
  length = 0;
  /** Where each label begins. */
  readonly labels = new Uint8Array(mostLabels);
  count = 0;

  /** Reads the name at `from` of the message from `at` to `end`, and returns the place behind it, or -1. */
  read(view: DataView, at: number, end: number, from: number): number {
    this.length = 0;
    this.count = 0;
    let place = from;
    /** Pointers must lead to before this. */
    let limit = from;
    let behind = -1;
    while (place < end) {
      const size = view.getUint8(place);
      if (size >= 0xc0) {
        if (place + 2 > end) return -1;
        const to = at + (view.getUint16(place) & 0x3fff);
        if (behind < 0) behind = place + 2;
        if (to >= limit || to < at + dns.records) return -1;
        limit = to;
        place = to;
        continue;
      }
      if (size === 0) return behind < 0 ? place + 1 : behind;
      if (size > 63 || place + 1 + size > end || this.length + 1 + size > mostNameBytes - 1) return -1;
      this.labels[this.count++] = this.length;
      for (let i = 0; i <= size; i++) this.bytes[this.length++] = lower(view.getUint8(place + i), i);
      place += 1 + size;
    }
    return -1;
  }
}

/** A byte of a label in lower case; the length before it stays. */
function lower(byte: number, position: number): number {
  return position > 0 && byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
