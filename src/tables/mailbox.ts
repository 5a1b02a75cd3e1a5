/**
 * Packets from one worker to another: what the kernel's steering could not bring to its owner.
 * Bounded, one writer and one reader, no locks: a ring of bytes in shared memory. `head` is the
 * reader's position, `tail` the writer's; both count bytes for ever, and what lies between them is the
 * reader's. A record is [length][note][bytes], in multiples of 8; one that would not fit before the
 * ring's end is preceded by a mark that sends the reader back to its beginning.
 */
const ringBytes = 512 * 1024;
const headerBytes = 8;
const backToBeginning = -1;
/** Room for the largest super-packet, several times. */
export const mailboxBytes = headerBytes + ringBytes;

export class Mailbox {
  /** [head, tail]. */
  readonly #position: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer, from: number, to: number, workers: number) {
    const at = (from * workers + to) * mailboxBytes;
    this.#position = new Int32Array(buffer, at, 2);
    this.#bytes = new Uint8Array(buffer, at + headerBytes, ringBytes);
    this.#words = new Int32Array(buffer, at + headerBytes, ringBytes / 4);
  }

  get waiting(): boolean {
    return this.#position[0] !== Atomics.load(this.#position, 1);
  }

  /** Copies `length` bytes at `at` in, with a number for the reader; false when there is no room. */
  post(memory: Uint8Array, at: number, length: number, note: number): boolean {
    const tail = this.#position[1]!;
    const needed = recordBytes(length);
    let place = tail & (ringBytes - 1);
    const skipped = place + needed > ringBytes ? ringBytes - place : 0;
    const used = (tail - Atomics.load(this.#position, 0)) | 0;
    if (used + skipped + needed > ringBytes) return false;
    if (skipped > 0) {
      this.#words[place >>> 2] = backToBeginning;
      place = 0;
    }
    this.#words[place >>> 2] = length;
    this.#words[(place >>> 2) + 1] = note;
    this.#bytes.set(memory.subarray(at, at + length), place + headerBytes);
    Atomics.store(this.#position, 1, (tail + skipped + needed) | 0);
    return true;
  }

  /** The oldest packet's number, as it was posted; only while one is waiting. */
  get note(): number {
    return this.#words[(this.#oldest() >>> 2) + 1]!;
  }

  /** Copies the oldest packet to `at` and takes it out; returns its length. Only while one is waiting. */
  collect(memory: Uint8Array, at: number): number {
    const place = this.#oldest();
    const length = this.#words[place >>> 2]!;
    memory.set(this.#bytes.subarray(place + headerBytes, place + headerBytes + length), at);
    Atomics.store(this.#position, 0, (this.#position[0]! + recordBytes(length)) | 0);
    return length;
  }

  #oldest(): number {
    const place = this.#position[0]! & (ringBytes - 1);
    if (this.#words[place >>> 2] !== backToBeginning) return place;
    Atomics.store(this.#position, 0, (this.#position[0]! + ringBytes - place) | 0);
    return 0;
  }
}

function recordBytes(length: number): number {
  return (headerBytes + length + 7) & ~7;
}
