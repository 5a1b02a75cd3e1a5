/**
 * Packets from one worker to another: what the kernel's steering could not bring to its owner.
 * Rare, bounded, one writer and one reader, no locks: a ring of cells in shared memory. `head`
 * is the reader's, `tail` the writer's, and a cell belongs to the writer until `tail` has passed it.
 */
const cells = 64;
/** A jumbo frame: what is mailed are fragments, which are no longer than the LAN's MTU. */
export const mailboxPacketBytes = 9216;
const cellBytes = 4 + mailboxPacketBytes;
export const mailboxBytes = 8 + cells * cellBytes;

export class Mailbox {
  /** [head, tail], counting on for ever. */
  readonly #position: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #lengths: DataView;

  constructor(buffer: SharedArrayBuffer, from: number, to: number, workers: number) {
    const at = (from * workers + to) * mailboxBytes;
    this.#position = new Int32Array(buffer, at, 2);
    this.#bytes = new Uint8Array(buffer, at + 8, cells * cellBytes);
    this.#lengths = new DataView(buffer, at + 8, cells * cellBytes);
  }

  /** Copies `length` bytes at `at` in; false when the packet is too long or the box is full. */
  post(memory: Uint8Array, at: number, length: number): boolean {
    const tail = this.#position[1]!;
    if (length > mailboxPacketBytes || ((tail - Atomics.load(this.#position, 0)) | 0) >= cells) return false;
    const cell = (tail & (cells - 1)) * cellBytes;
    this.#lengths.setInt32(cell, length);
    this.#bytes.set(memory.subarray(at, at + length), cell + 4);
    Atomics.store(this.#position, 1, (tail + 1) | 0);
    return true;
  }

  get waiting(): boolean {
    return this.#position[0] !== Atomics.load(this.#position, 1);
  }

  /** Copies the oldest packet to `at` and returns its length; 0 when there is none. */
  collect(memory: Uint8Array, at: number): number {
    const head = this.#position[0]!;
    if (head === Atomics.load(this.#position, 1)) return 0;
    const cell = (head & (cells - 1)) * cellBytes;
    const length = this.#lengths.getInt32(cell);
    memory.set(this.#bytes.subarray(cell + 4, cell + 4 + length), at);
    Atomics.store(this.#position, 0, (head + 1) | 0);
    return length;
  }
}
