/**
 * Inbound forwards: a port, or a range, of an uplink's address leads to a host inside. A handful of
 * rules, asked only for packets that belong to no flow, so a walk is enough.
 */
export interface Forward {
  /** Bit u: on uplink u. */
  uplinks: number;
  protocol: number;
  firstPort: number;
  lastPort: number;
  /** Address inside, signed 32-bit, and the port there of `firstPort`. */
  to: number;
  /** Of a forward over IPv6 the address, four words, the most significant first; `to` is 0 then. */
  to6?: readonly number[];
  toPort: number;
}

/** The port inside that a port of the forward leads to. */
export function insidePortOf(forward: Forward, port: number): number {
  return forward.toPort + port - forward.firstPort;
}

/** The forward for a port of an uplink, or undefined. The first match wins. */
export function findForward(
  forwards: readonly Forward[],
  uplink: number,
  protocol: number,
  port: number,
): Forward | undefined {
  for (const forward of forwards) {
    const matches = forward.protocol === protocol && port >= forward.firstPort && port <= forward.lastPort;
    if (matches && ((forward.uplinks >>> uplink) & 1) === 1) return forward;
  }
  return undefined;
}
