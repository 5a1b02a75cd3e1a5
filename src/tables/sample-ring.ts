/**
 * Measurements on their way from one worker to the control plane: a ring of records in shared memory, one writer and one
 * reader, no locks. What comes while it is full is lost: these are samples.
 */
const records = 1024;
const recordWords = 4;
const headWords = 2;
export const sampleRingBytes = (headWords + records * recordWords) * 4;

export class SampleRing {
  /** [reader's position, writer's position], both counting for ever; then the records. */
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer, byteOffset: number) {
    this.#words = new Int32Array(buffer, byteOffset, sampleRingBytes / 4);
  }

  /** Adds a record of four words; false when there is no room. */
  add(word0: number, word1: number, word2: number, word3: number): boolean {
    const words = this.#words;
    const tail = words[1]!;
    if (((tail - Atomics.load(words, 0)) | 0) >= records) return false;
    const at = headWords + (tail & (records - 1)) * recordWords;
    words[at] = word0;
    words[at + 1] = word1;
    words[at + 2] = word2;
    words[at + 3] = word3;
    Atomics.store(words, 1, (tail + 1) | 0);
    return true;
  }

  /** Hands over every record that is there. */
  take(receive: (word0: number, word1: number, word2: number, word3: number) => void): void {
    const words = this.#words;
    const tail = Atomics.load(words, 1);
    let head = words[0]!;
    for (; head !== tail; head = (head + 1) | 0) {
      const at = headWords + (head & (records - 1)) * recordWords;
      receive(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    }
    Atomics.store(words, 0, head);
  }
}
