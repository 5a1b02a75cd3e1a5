/** What the test asks of the program that replays packets (replay.ts), and what that answers. */

/** Packets that are sent at once, and judged together: one, or the fragments of one. */
export interface Step {
  /** Where they come from. Those from outside are addressed as the inside will see them, and sent to the mapping that their flow has. */
  readonly side: "inside" | "outside";
  /** IPv4 packets, in hexadecimal. */
  readonly packets: readonly string[];
}

export interface Plan {
  /** The router's MAC addresses on the LAN and on each uplink. */
  readonly routerMacs: { readonly inside: string; readonly uplinks: readonly string[] };
  readonly steps: readonly Step[];
}

export interface Outcome {
  /** Packets that came out on the other side. */
  readonly passed: number;
  /** Packets that came back to the side that they were sent from. */
  readonly answered: number;
}

export interface Replayed {
  readonly outcomes: readonly Outcome[];
  /** Packets that left on the uplinks, and those of them whose source was not that uplink's address; of those, private ones. */
  readonly left: number;
  readonly foreign: number;
  readonly private: number;
}
