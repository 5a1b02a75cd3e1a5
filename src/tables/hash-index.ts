/**
 * An open-addressed index from a hash to small integers (row numbers), for tables that keep their
 * own rows and compare their own keys.
 *
 * A slot holds 0 (empty) or an id; what bits the ids leave free hold the top bits of the hash, so
 * that a probe rejects nearly every stranger without touching its row. Linear probing; removal
 * shifts the rest of the cluster back instead of leaving tombstones, so lookups never slow down
 * with age. At most half full, which keeps the mean probe at 1.5 slots.
 *
 *     for (let slot = index.first(hash); slot >= 0; slot = index.next(slot, hash)) {
 *       const id = index.idAt(slot); ... compare row id ...
 *     }
 */
export class HashIndex {
  readonly #slots: Int32Array;
  readonly mask: number;
  readonly #idMask: number;

  /** Holds up to `capacity` ids, each from 1 to `maxId`. Bytes: 8 to 16 an entry. */
  constructor(capacity: number, maxId: number) {
    let size = 16;
    while (size < capacity * 2) size *= 2;
    this.#slots = new Int32Array(size);
    this.mask = size - 1;
    this.#idMask = 2 ** Math.ceil(Math.log2(maxId + 1)) - 1;
    if (this.#idMask > 0x3fff_ffff) throw new RangeError(`index of ${maxId} ids: at most 2^30`);
  }

  get bytes(): number {
    return this.#slots.byteLength;
  }

  /** Reads the home slot of a hash, so that it is in cache when `first` comes for it. */
  touch(hash: number): number {
    return this.#slots[hash & this.mask]!;
  }

  /** The first slot whose id may be the one sought, or -1. */
  first(hash: number): number {
    return this.#scan(hash & this.mask, hash);
  }

  next(slot: number, hash: number): number {
    return this.#scan((slot + 1) & this.mask, hash);
  }

  idAt(slot: number): number {
    return this.#slots[slot]! & this.#idMask;
  }

  /** The caller sees to it that the key is not there yet, and that no more than `capacity` ids are. */
  insert(hash: number, id: number): void {
    const slots = this.#slots;
    let slot = hash & this.mask;
    while (slots[slot] !== 0) slot = (slot + 1) & this.mask;
    slots[slot] = (hash & ~this.#idMask) | id;
  }

  /** Removes an id that was inserted under `hash`. `hashOf` gives the hash of the ids that must move up. */
  remove(hash: number, id: number, hashOf: (id: number) => number): void {
    const slots = this.#slots;
    const mask = this.mask;
    const idMask = this.#idMask;
    let hole = hash & mask;
    while ((slots[hole]! & idMask) !== id) {
      if (slots[hole] === 0) throw new Error(`id ${id} is not in the index`);
      hole = (hole + 1) & mask;
    }
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hashOf(slots[slot]! & idMask) & mask;
      // Move up unless its home lies between the hole and where it stands.
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        slots[hole] = slots[slot]!;
        hole = slot;
      }
    }
    slots[hole] = 0;
  }

  #scan(start: number, hash: number): number {
    const slots = this.#slots;
    const mask = this.mask;
    const tagMask = ~this.#idMask;
    for (let slot = start; ; slot = (slot + 1) & mask) {
      const entry = slots[slot]!;
      if (entry === 0) return -1;
      if (((entry ^ hash) & tagMask) === 0) return slot;
    }
  }
}
