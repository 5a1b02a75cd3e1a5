/**
 * Which TUN queue the kernel chooses for a packet, found out in a fact program's own namespace:
 *
 *     right ──wire── left ──(kernel forwards)── sluice0, several queues
 */

import assert from "node:assert/strict";
import { openSockets } from "../../src/io/packet-socket.ts";
import { openTunQueues } from "../../src/io/tun.ts";
import { DeviceLoop } from "./device-loop.ts";
import { enterOwnNetwork, type Link, makeWire } from "./own-network.ts";
import { frame, randomFrom } from "./raw-packet.ts";

const vnetBytes = 10;
/** What the queues hold, with room to spare. */
const packetsAtOnce = 32;

export interface QueueFinderOptions {
  queues: number;
  /** Has the kernel forward what comes in at `left`. */
  prepareWire(): void;
  /** Has it forward that to `sluice0`, which is there and down. */
  prepareTun(): void;
  /** What a packet that came out of the TUN was sent as; 0 when it is none of ours. */
  numberOf(packet: DataView): number;
}

export class QueueFinder {
  readonly seed = Date.now() >>> 0;
  /** Whole numbers below the one it is given. */
  readonly random = randomFrom(this.seed);
  readonly #options: QueueFinderOptions;
  readonly #left: Link;
  readonly #right: Link;
  readonly #loop: DeviceLoop;
  readonly #expected = new Map<number, { queue: number; kind: string }>();
  readonly #found = new Map<number, number>();

  constructor(options: QueueFinderOptions) {
    this.#options = options;
    enterOwnNetwork();
    [this.#left, this.#right] = makeWire("left", "right");
    options.prepareWire();
    const tunFds = openTunQueues("sluice0", options.queues);
    options.prepareTun();
    const [wireFd] = openSockets({
      interface: "right",
      ifindex: this.#right.ifindex,
      linkHeaderBytes: 14,
      firstPort: 1,
      lastPort: 65535,
      workers: 1,
      forwards: [],
      destinations: null,
    });
    const tuns = tunFds.map((fd) => ({ fd, kind: "tun" as const }));
    this.#loop = new DeviceLoop([{ fd: wireFd!, kind: "packet" }, ...tuns]);
  }

  /** Sends an IP packet that is to be found again, by its number, in this queue. */
  send(packet: Uint8Array, number: number, queue: number, kind: string): void {
    this.#expected.set(number, { queue, kind });
    this.#loop.send(0, frame(this.#right, this.#left, packet));
    if (this.#expected.size % packetsAtOnce === 0) this.#collect();
  }

  /** Throws when a packet did not come, or in another queue than it should, or when a queue got none. */
  check(): void {
    this.#collect();
    assert.equal(this.#found.size, this.#expected.size, `every packet arrives, seed ${this.seed}`);
    for (const [number, { queue, kind }] of this.#expected) {
      assert.equal(this.#found.get(number), queue, `queue of packet ${number} (${kind}), seed ${this.seed}`);
    }
    assert.equal(new Set(this.#found.values()).size, this.#options.queues, "every queue was used");
  }

  #collect(): void {
    const [, ...perQueue] = this.#loop.drain(50);
    for (const [queue, received] of perQueue.entries()) {
      for (const packet of received) {
        const number = this.#options.numberOf(new DataView(packet.buffer, packet.byteOffset + vnetBytes));
        if (number !== 0) this.#found.set(number, queue);
      }
    }
  }
}
