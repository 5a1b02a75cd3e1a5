/**
 * Which worker an IPv6 packet belongs to. The programs in the kernel look for a port right behind the fixed header, and take
 * the rest to worker 0: what stands behind extension headers may be another worker's, and is passed on by the mail.
 */
import { packetWord } from "../tables/batch.ts";
import { type FlowTable, flowWord } from "../tables/flow-table.ts";
import { type Forward, findForward, insidePortOf } from "../tables/forwards.ts";
import { vnetBytes } from "../tables/packet-memory.ts";
import { steer } from "../tables/steering-hash.ts";
import { hasPorts } from "../wire/ipv4.ts";
import { ipv6, ipv6HeaderBytes } from "../wire/ipv6.ts";
import { moveVnetHeader } from "../wire/vnet.ts";
import { kind } from "./decode-layer4.ts";
import type { Egress } from "./egress.ts";
import type { PostOffice } from "./post-office.ts";
import type { Uplinks6 } from "./uplinks6.ts";
import { verdict } from "./verdict.ts";

export class Owner6 {
  readonly #egress: Egress;
  readonly #uplinks: Uplinks6;
  readonly #post: PostOffice;
  readonly #worker: number;
  readonly #forwards: readonly Forward[];
  readonly #flows: FlowTable;
  readonly #enter: (uplink: number, at: number, length: number) => number;

  /** `forwards` are those over IPv6; `enter` lets a packet that has turned back come in by an uplink. */
  constructor(
    flows: FlowTable,
    egress: Egress,
    uplinks: Uplinks6,
    post: PostOffice,
    worker: number,
    forwards: readonly Forward[],
    enter: (uplink: number, at: number, length: number) => number,
  ) {
    this.#flows = flows;
    this.#enter = enter;
    this.#egress = egress;
    this.#uplinks = uplinks;
    this.#post = post;
    this.#worker = worker;
    this.#forwards = forwards;
  }

  /** The other worker that owns the inside endpoint of a packet, or -1 when it is this one. */
  ofInside(rows: Int32Array, p: number): number {
    if (isPlain(rows, p)) return -1;
    return this.ofInsidePort(rows[p + packetWord.protocol]!, rows[p + packetWord.ports]!);
  }

  /** The same by the ports of a tuple that goes out. */
  ofInsidePort(protocol: number, ports: number): number {
    // The inside port; of an echo the identifier, whoever asks.
    const port = ports >>> 16 === 0 ? ports & 0xffff : ports >>> 16;
    return this.#other(hasPorts(protocol) ? steer(0, port, this.#post.workers) : 0);
  }

  /** The other worker that owns the outside endpoint of a packet, or -1 when it is this one. */
  ofOutside(rows: Int32Array, p: number, uplink: number): number {
    if (isPlain(rows, p)) return -1;
    return this.ofOutsidePort(
      rows[p + packetWord.at]!,
      uplink,
      rows[p + packetWord.protocol]!,
      rows[p + packetWord.ports]!,
    );
  }

  /** The same by the ports of a tuple that comes in, for the address that the packet at `at` is for: as the fanout program finds it. */
  ofOutsidePort(at: number, uplink: number, protocol: number, ports: number): number {
    if (!hasPorts(protocol)) return this.#other(0);
    const { workers } = this.#post;
    const port = (ports & 0xffff) === 0 ? ports >>> 16 : ports & 0xffff;
    const field = at + ipv6.destination;
    if (this.#uplinks.isTranslated(uplink, this.#egress.view, field)) return this.#other(steer(0, port, workers));
    const forward = findForward(this.#forwards, uplink, protocol, port);
    if (forward === undefined) return this.#other(port % workers);
    return this.#other(steer(0, insidePortOf(forward, port), workers));
  }

  /** Passes a packet on to another worker. Returns the verdict. */
  mail(rows: Int32Array, p: number, linkBytes: number, worker: number, note: number): number {
    const at = rows[p + packetWord.at]!;
    // Of nothing else offloads are asked, or known.
    const isFlow = rows[p + packetWord.kind] === kind.flow;
    const offload = isFlow ? rows[p + packetWord.offload]! : 0;
    const headers = isFlow ? rows[p + packetWord.l4End]! - at : 0;
    const start = at - linkBytes;
    moveVnetHeader(this.#egress.view, start - vnetBytes, at - vnetBytes, start - at, headers, offload);
    return this.#post.send(worker, at, rows[p + packetWord.length]!, note);
  }

  /** Turns a packet back that is for one of our own addresses (hairpinning), translated as for an uplink: it goes to whoever owns the mapping it is for. */
  turnBack(row: number, at: number, length: number, l4End: number, start: number, offload: number): number {
    const { words } = this.#flows;
    const uplink = this.#uplinks.owning(words[row + flowWord.remote]!);
    if (uplink < 0) return verdict.badDestination;
    moveVnetHeader(this.#egress.view, start - vnetBytes, at - vnetBytes, start - at, l4End - at, offload);
    const outside = words[row + flowWord.outside]!;
    const ports = (outside & ~0xffff) | (words[row + flowWord.ports]! & 0xffff);
    const owner = this.ofOutsidePort(at, uplink, (outside >>> 8) & 0xff, ports);
    return owner < 0 ? this.#enter(uplink, at, length) : this.#post.send(owner, at, length, uplink);
  }

  #other(owner: number): number {
    return owner === this.#worker ? -1 : owner;
  }
}

/** Whether a packet's layer 4 is where the programs look for it. */
export function isPlain(rows: Int32Array, p: number): boolean {
  return rows[p + packetWord.l4] === rows[p + packetWord.at]! + ipv6HeaderBytes;
}
