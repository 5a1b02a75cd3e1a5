/** What every kind of probe is to its user: whom it asks by which uplink, and what it says afterwards. */

import { isIpv6 } from "../config-values.ts";

/** The uplink's way out at one moment, as its snapshot has it. */
export interface ProbePath {
  readonly interface: string;
  /** 0 while the interface is missing; a re-created one has another. */
  readonly ifindex: number;
  readonly address: string | null;
  readonly gateway: string | null;
  readonly address6: string | null;
  readonly gateway6: string | null;
  /** 14 on Ethernet, 0 on links without a MAC header. */
  readonly linkHeaderBytes: number;
}

export type Answer =
  | { readonly answered: true; readonly rttMs: number }
  | { readonly answered: false; readonly reason: string };

export interface Asker {
  /** Asks a target once. Never rejects: what keeps it from asking is the reason why there is no answer. */
  ask(target: string, timeoutMs: number): Promise<Answer>;
  /** Gives up all that is outstanding, and closes the sockets. */
  close(): void;
}

export interface AskerSettings {
  readonly path: ProbePath;
  /** What a dns probe asks for. */
  readonly query: string;
  /** Of ICMP echoes: one that no translated ping has. */
  readonly identifier: number;
  /** Milliseconds of a clock that is never set. */
  readonly now: () => number;
  /** So many bytes that nobody can guess. */
  readonly randomBytes: (count: number) => Uint8Array;
}

export function failed(reason: string): Answer {
  return { answered: false, reason };
}

/** The address to ask `target` from, or the reason why that cannot be done. */
export function sourceFor(
  path: ProbePath,
  target: string,
): { readonly address: string; readonly reason?: never } | { readonly reason: string } {
  if (path.ifindex === 0) return { reason: `${path.interface} is missing` };
  const address = isIpv6(target) ? path.address6 : path.address;
  if (address === null) return { reason: `no ${isIpv6(target) ? "IPv6 " : ""}address on ${path.interface}` };
  return { address };
}
