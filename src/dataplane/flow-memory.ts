/**
 * What is remembered about destinations and sources for the choice of an uplink, shared by all threads: three caches and
 * a ring of measurements for every worker, in one buffer.
 */
import { SampleRing, sampleRingBytes } from "../tables/sample-ring.ts";
import { SharedCache, sharedCacheBytes } from "../tables/shared-cache.ts";

const stickyEntries = 65_536;
const nearestEntries = 16_384;
const domainEntries = 16_384;

const nearestAt = sharedCacheBytes(stickyEntries);
const domainsAt = nearestAt + sharedCacheBytes(nearestEntries);
const samplesAt = domainsAt + sharedCacheBytes(domainEntries);

export function flowMemoryBytes(workers: number): number {
  return samplesAt + workers * sampleRingBytes;
}

export class FlowMemory {
  /** Source, or source and destination -> uplink. Written by workers. */
  readonly sticky: SharedCache;
  /** Destination's network (`networkHash`) -> uplink. Written by the control plane. */
  readonly nearest: SharedCache;
  /** Address -> number of the domain list that it was an answer for. Written by workers. */
  readonly domains: SharedCache;
  /** Handshake times: [the network's hash, uplink, tenths of a millisecond, 0]. Written by the worker, read by the control plane. */
  readonly samples: readonly SampleRing[];

  constructor(buffer: SharedArrayBuffer, workers: number) {
    this.sticky = new SharedCache(buffer, 0, stickyEntries);
    this.nearest = new SharedCache(buffer, nearestAt, nearestEntries);
    this.domains = new SharedCache(buffer, domainsAt, domainEntries);
    this.samples = Array.from(
      { length: workers },
      (_, worker) => new SampleRing(buffer, samplesAt + worker * sampleRingBytes),
    );
  }
}
