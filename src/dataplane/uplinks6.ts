/**
 * What a worker knows of the uplinks' IPv6: the names of their addresses, and how prefixes are translated on
 * those that have one. Follows the rows that the control plane publishes, which `Egress` copies.
 */
import type { AddressBook } from "../tables/address-book.ts";
import type { Prefix6 } from "../tables/prefix6.ts";
import { uplinkWord, uplinkWords } from "../tables/shared-state.ts";
import type { Egress } from "./egress.ts";
import { PrefixTranslation } from "./prefix-translation.ts";

export class Uplinks6 {
  readonly #egress: Egress;
  readonly #names: AddressBook;
  readonly #insidePrefix: Prefix6 | null;
  /** The name of each uplink's address, held; 0: it has none. */
  readonly #addresses: Int32Array;
  readonly #translations: (PrefixTranslation | null)[];

  constructor(egress: Egress, names: AddressBook, uplinks: number, insidePrefix: Prefix6 | null) {
    this.#egress = egress;
    this.#names = names;
    this.#insidePrefix = insidePrefix;
    this.#addresses = new Int32Array(uplinks);
    this.#translations = Array.from({ length: uplinks }, () => null);
  }

  /** Follows rows that have changed; false when an address found no room for its name. */
  follow(): boolean {
    const { uplinks: words } = this.#egress;
    let isComplete = true;
    for (let uplink = 0; uplink < this.#addresses.length; uplink++) {
      const row = uplink * uplinkWords;
      const at = row + uplinkWord.address6;
      const old = this.#addresses[uplink]!;
      const hasAddress = (words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!) !== 0;
      this.#addresses[uplink] = hasAddress
        ? this.#names.take(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!)
        : 0;
      this.#names.release(old);
      if (hasAddress && this.#addresses[uplink] === 0) isComplete = false;
      this.#translations[uplink] = this.#translationOf(row);
    }
    return isComplete;
  }

  /** The name of an uplink's address; 0: it has none. */
  address(uplink: number): number {
    return this.#addresses[uplink]!;
  }

  /** The name of an uplink's address, or else of another's; 0 when there is none. */
  addressNear(uplink: number): number {
    const own = uplink < 0 ? 0 : this.#addresses[uplink]!;
    for (let other = 0; own === 0 && other < this.#addresses.length; other++)
      if (this.#addresses[other] !== 0) return this.#addresses[other]!;
    return own;
  }

  /** The uplink that has the address of this name, or -1. */
  withAddress(name: number): number {
    return name === 0 ? -1 : this.#addresses.indexOf(name);
  }

  /** How prefixes are translated on an uplink; null where they are not. */
  translation(uplink: number): PrefixTranslation | null {
    return this.#translations[uplink]!;
  }

  /** Whether an uplink can send now. */
  isReady(uplink: number): boolean {
    return this.#egress.uplinkWord(uplink, uplinkWord.ready6) !== 0 && this.#addresses[uplink] !== 0;
  }

  /** Whether a source, by its name, is an uplink's own: its address, or one of its prefix. */
  isOwn(uplink: number, name: number): boolean {
    if (name === this.#addresses[uplink]) return name !== 0;
    const translation = this.#translations[uplink]!;
    return translation?.isOutside(this.#names.word(name, 0), this.#names.word(name, 1)) === true;
  }

  /** Whether what a flow is mapped to, by its name, is its uplink's no more, though that has an address: nothing may leave with it. */
  hasLost(uplink: number, mapped: number): boolean {
    return this.#addresses[uplink] !== 0 && !this.isOwn(uplink, mapped);
  }

  /** Whether the address at `field` is one of the uplink's prefix, for which ports stay as they are, and not its own. */
  isTranslated(uplink: number, view: DataView, field: number): boolean {
    const translation = this.#translations[uplink]!;
    if (translation === null || !translation.isOutside(view.getInt32(field), view.getInt32(field + 4))) return false;
    const name = this.#addresses[uplink]!;
    for (let word = 0; word < 4; word++)
      if (view.getInt32(field + word * 4) !== this.#names.word(name, word)) return true;
    return false;
  }

  /** The uplink that an address, by its name, is of: its own, or one of its prefix. -1 when it is of none. */
  owning(name: number): number {
    for (let uplink = 0; uplink < this.#addresses.length; uplink++) if (this.isOwn(uplink, name)) return uplink;
    return -1;
  }

  #translationOf(row: number): PrefixTranslation | null {
    const { uplinks: words } = this.#egress;
    const length = words[row + uplinkWord.prefix6Length]!;
    if (length === 0 || this.#insidePrefix === null) return null;
    const at = row + uplinkWord.prefix6;
    return new PrefixTranslation(this.#insidePrefix, { words: Array.from(words.subarray(at, at + 4)), length });
  }
}
