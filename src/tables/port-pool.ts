/**
 * The free ports of one worker on one uplink for one protocol: a queue in random order (RFC 6056
 * asks that the next port cannot be guessed; a released one goes to the back, so that a port rests
 * as long as possible before it is used again). Each port is in the queue or in use, never both.
 */
export class PortPool {
  readonly #ring: Uint16Array;
  #head = 0;
  #count: number;

  /** `ports` is the slice; `random` gives numbers in [0, 1) for the first order. */
  constructor(ports: readonly number[], random: () => number) {
    this.#ring = Uint16Array.from(ports);
    this.#count = ports.length;
    for (let i = this.#ring.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      const port = this.#ring[i]!;
      this.#ring[i] = this.#ring[j]!;
      this.#ring[j] = port;
    }
  }

  get free(): number {
    return this.#count;
  }

  /** A port that is in use from now on, or 0 when none is free. */
  take(): number {
    if (this.#count === 0) return 0;
    const port = this.#ring[this.#head]!;
    this.#head = (this.#head + 1) % this.#ring.length;
    this.#count--;
    return port;
  }

  release(port: number): void {
    if (this.#count === this.#ring.length) throw new Error(`port ${port} released twice`);
    this.#ring[(this.#head + this.#count) % this.#ring.length] = port;
    this.#count++;
  }
}

/** The ports of a range that belong to a worker: port mod workers is its number, which is how the fanout finds it. */
export function portSlice(first: number, last: number, worker: number, workers: number): number[] {
  const ports: number[] = [];
  for (let port = first; port <= last; port++) if (port % workers === worker) ports.push(port);
  return ports;
}
