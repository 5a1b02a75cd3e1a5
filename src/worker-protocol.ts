/** What the main thread and a worker say to each other. Packets never come this way. */

import type { FlowTuple, FoundFlow, ListedFlow } from "./dataplane/flow-list.ts";
import type { FlowPolicy } from "./dataplane/flow-policy.ts";
import type { Forward } from "./tables/forwards.ts";
import type { Prefix6 } from "./tables/prefix6.ts";

/** Everything a worker needs to start: numbers, names and shared memory. Descriptors were opened by the main thread. */
export interface WorkerStart {
  worker: number;
  workers: number;
  shared: SharedArrayBuffer;
  mailboxes: SharedArrayBuffer | null;
  tunFd: number;
  /** One a worker, by which others wake it. */
  eventFds: number[];
  uplinks: { fd: number; linkHeaderBytes: number }[];
  lans: { fd: number; linkHeaderBytes: number }[];
  /** Flows of this worker, and per inside host. */
  flows: number;
  flowsPerHost: number;
  firstPort: number;
  lastPort: number;
  endpointIndependent: boolean;
  /** Number of `filtering`. */
  filtering: number;
  forwards: Forward[];
  timeouts: { tcpEstablishedMs: number; tcpTransitoryMs: number; udpMs: number; icmpMs: number; otherMs: number };
  policy: FlowPolicy;
  /** Of `FlowMemory`. */
  memory: SharedArrayBuffer;
  /** `performance.timeOrigin` of the main thread: the clock that all threads share begins there. */
  timeOrigin: number;
  /** Two words for the tables, two for the balance: the same in all workers. */
  secret: [number, number, number, number];
  /** Source of own ICMP errors, signed 32-bit. */
  errorSource: number;
  /** What the uplinks' prefixes replace; null: nothing. */
  insidePrefix: Prefix6 | null;
}

export type Request =
  | { kind: "flows"; id: number; uplink: number; limit: number }
  | { kind: "find"; id: number; tuple: FlowTuple }
  | { kind: "policy"; policy: FlowPolicy }
  | { kind: "stop" };

export type Answer =
  /** The loop runs. `memoryBytes`: tables and packet memory. */
  | { kind: "ready"; memoryBytes: number }
  | { kind: "flows"; id: number; flows: ListedFlow[] }
  | { kind: "found"; id: number; found: FoundFlow };
