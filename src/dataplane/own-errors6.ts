/** The ICMPv6 errors that we send ourselves, to senders inside: why a packet of theirs can't go on. At a limited rate, which both families share. */
import type { AddressBook } from "../tables/address-book.ts";
import { packetWord } from "../tables/batch.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import { codeNoRoute, codeProhibited6, icmpv6Type } from "../wire/icmpv6.ts";
import { isSuperPacket, vnet } from "../wire/vnet.ts";
import type { Egress } from "./egress.ts";
import { writeError6 } from "./icmp6-error.ts";
import type { Uplinks6 } from "./uplinks6.ts";
import { isOutOfRoom, verdict } from "./verdict.ts";

const anyUplink = -1;

export class OwnErrors6 {
  readonly #egress: Egress;
  readonly #uplinks: Uplinks6;
  readonly #names: AddressBook;

  constructor(egress: Egress, uplinks: Uplinks6, names: AddressBook) {
    this.#egress = egress;
    this.#uplinks = uplinks;
    this.#names = names;
  }

  /** Tells the sender of a packet that is longer than its uplink's MTU, unless each of its segments fits; true when it may be sent on. */
  fits(
    at: number,
    length: number,
    l4End: number,
    start: number,
    offload: number,
    uplink: number,
    mtu: number,
    nowMs: number,
  ): boolean {
    const gsoSize = this.#egress.view.getUint16(start - vnetBytes + vnet.gsoSize, true);
    if (isSuperPacket(offload) && l4End - at + gsoSize <= mtu) return true;
    this.#tell(at, length, uplink, icmpv6Type.packetTooBig, 0, mtu, nowMs);
    return false;
  }

  /** Tells the sender why its first packet goes nowhere, where that is not his mistake. Returns the verdict. */
  refuse(rows: Int32Array, p: number, reason: number, nowMs: number): number {
    const isFull = isOutOfRoom(reason);
    if (isFull || reason === verdict.noUplink) {
      const code = isFull ? codeProhibited6 : codeNoRoute;
      const at = rows[p + packetWord.at]!;
      this.#tell(at, rows[p + packetWord.length]!, anyUplink, icmpv6Type.unreachable, code, 0, nowMs);
    }
    return reason;
  }

  /** Tells the sender of the packet at `at` that it goes nowhere, in a slot that `takeErrorSlot` gave. */
  sendUnreachable(to: number, at: number, length: number, uplink: number, code: number): void {
    const from = this.#uplinks.addressNear(uplink);
    if (from !== 0) this.#send(to, at, length, from, icmpv6Type.unreachable, code, 0);
  }

  /** From the address of the uplink, or of another when it has none: the TUN has no address of IPv6. */
  #tell(at: number, length: number, uplink: number, type: number, code: number, mtu: number, nowMs: number): void {
    const from = this.#uplinks.addressNear(uplink);
    const to = from === 0 ? 0 : this.#egress.takeErrorSlot(nowMs);
    if (to !== 0) this.#send(to, at, length, from, type, code, mtu);
  }

  #send(to: number, at: number, length: number, from: number, type: number, code: number, mtu: number): void {
    const { view, memory } = this.#egress;
    const bytes = writeError6(view, memory, this.#names, to, at, length, from, type, code, mtu);
    this.#egress.toInside(to, bytes, 0, to, 0);
  }
}
