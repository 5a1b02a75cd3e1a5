/**
 * Outside ports: which one a new mapping gets.
 *
 * In this order: an unused one; that of the TCP flow closed longest ago; for TCP alone, one in use
 * towards other remotes (RFC 4787, REQ-3 and RFC 5382, REQ-7 forbid to share a port; for connections, which the whole
 * tuple tells apart, RFC 7857, section 3 allows it all the same). Every search is bounded. Whatever is found, no flow may have the reply
 * tuple that the new one will have.
 */
import type { FlowTable } from "../tables/flow-table.ts";
import { PortPool, portSlice } from "../tables/port-pool.ts";
import { protocolTcp, protocolUdp } from "../wire/ipv4.ts";

/** How many ports in use are tried before TCP gives up sharing one: with 3/4 of them taken for the remote, one search of a hundred finds none. */
const shareTries = 16;
/** How many unused ports, or closed flows ended for theirs, are tried before giving up. */
const takeTries = 4;

export interface PortsOptions {
  uplinks: number;
  worker: number;
  workers: number;
  firstPort: number;
  lastPort: number;
  random: () => number;
}

export class Ports {
  readonly #slice: readonly number[];
  readonly #pools: readonly PortPool[];
  readonly #flows: FlowTable;
  readonly #random: () => number;
  readonly #recycle: (uplink: number) => boolean;

  /** `recycle` ends the TCP flow of an uplink that was closed longest ago; false when there is none. */
  constructor(options: PortsOptions, flows: FlowTable, recycle: (uplink: number) => boolean) {
    this.#slice = portSlice(options.firstPort, options.lastPort, options.worker, options.workers);
    this.#pools = Array.from({ length: options.uplinks * 3 }, () => new PortPool(this.#slice, options.random));
    this.#flows = flows;
    this.#random = options.random;
    this.#recycle = recycle;
  }

  /** How many mappings there can be at once. */
  get count(): number {
    return this.#slice.length * this.#pools.length;
  }

  /** A port that is the caller's until he releases it; 0 when there is none. `ports` are those of the original tuple. */
  take(remote: number, address: number, ports: number, protocol: number, uplink: number): number {
    const pool = this.#pool(uplink, protocol);
    for (let tries = 0; tries < takeTries; tries++) {
      if (pool.free === 0) {
        if (protocol !== protocolTcp || !this.#recycle(uplink)) return 0;
        continue;
      }
      const port = pool.take();
      if (this.isFree(remote, address, ports, port, protocol)) return port;
      // A sharer of this port already talks to this remote: leave it, try the next.
      pool.release(port);
    }
    return 0;
  }

  /** A TCP port of somebody else's, towards other remotes than this; 0 when none was found. */
  share(remote: number, address: number, ports: number): number {
    const slice = this.#slice;
    const { length } = slice;
    let at = Math.floor(this.#random() * length);
    // A step of its own for every search: taken ports in a row would grow into longer rows, where searches end in vain.
    let step = 1 + Math.floor(this.#random() * (length - 1));
    while (greatestCommonDivisor(step, length) !== 1) step++;
    for (let tries = 0; tries < shareTries; tries++, at = (at + step) % length) {
      if (this.isFree(remote, address, ports, slice[at]!, protocolTcp)) return slice[at]!;
    }
    return 0;
  }

  release(port: number, protocol: number, uplink: number): void {
    this.#pool(uplink, protocol).release(port);
  }

  /** Whether no flow has the reply tuple of this remote and outside port. */
  isFree(remote: number, address: number, ports: number, port: number, protocol: number): boolean {
    const replyPorts = (ports << 16) | port;
    const hash = this.#flows.hash(remote, address, replyPorts, protocol);
    return this.#flows.find(hash, remote, address, replyPorts, protocol) === 0;
  }

  #pool(uplink: number, protocol: number): PortPool {
    const which = protocol === protocolTcp ? 0 : protocol === protocolUdp ? 1 : 2;
    return this.#pools[uplink * 3 + which]!;
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
