/**
 * Every event in every state of a TCP connection, as segments that a test can send through a translator: what leads to the
 * state, then the event. States have nf_conntrack's names; numbers are those of an honest connection, so that only
 * the flags decide.
 */

import { ACK, FIN, RST, SYN } from "../support/packets.ts";

export type Side = "inside" | "remote";

export interface Segment {
  readonly side: Side;
  readonly flags: number;
  readonly sequence: number;
  readonly acknowledgment: number;
}

export interface Walk {
  readonly state: string;
  readonly side: Side;
  readonly event: string;
  /** The last one is the event. */
  readonly segments: readonly Segment[];
}

export const events = { SYN, "SYN+ACK": SYN | ACK, FIN: FIN | ACK, ACK, RST: RST | ACK, "no flag": 0 } as const;
export const sides: readonly Side[] = ["inside", "remote"];

type Step = readonly [Side, number];

const opening: readonly Step[] = [
  ["inside", SYN],
  ["remote", SYN | ACK],
  ["inside", ACK],
];
const closing: readonly Step[] = [...opening, ["inside", FIN | ACK], ["remote", ACK]];

/** How a connection that the inside begins, and the inside closes first, gets into each state. */
export const ways: Readonly<Record<string, readonly Step[]>> = {
  NONE: [],
  SYN_SENT: opening.slice(0, 1),
  SYN_SENT2: [
    ["inside", SYN],
    ["remote", SYN],
  ],
  SYN_RECV: opening.slice(0, 2),
  ESTABLISHED: opening,
  FIN_WAIT: closing.slice(0, 4),
  CLOSE_WAIT: closing,
  LAST_ACK: [...closing, ["remote", FIN | ACK]],
  TIME_WAIT: [...closing, ["remote", FIN | ACK], ["inside", ACK]],
  CLOSE: [...opening, ["remote", RST | ACK]],
};

/** All of them. A remote's segment without a flow is for nobody: that is left out. */
export function walks(): Walk[] {
  return Object.keys(ways).flatMap((state) =>
    sides
      .filter((side) => state !== "NONE" || side === "inside")
      .flatMap((side) =>
        Object.entries(events).map(([event, flags]) => ({
          state,
          side,
          event,
          segments: numbered([...ways[state]!, [side, flags]]),
        })),
      ),
  );
}

/** Gives segments the numbers that two ends would. A SYN once data may flow is a new connection's, ahead of all that was. */
function numbered(steps: readonly Step[]): Segment[] {
  const next = { inside: 1000, remote: 900_000 };
  const heard = { inside: 0, remote: 0 };
  return steps.map(([side, flags], i) => {
    const other = side === "inside" ? "remote" : "inside";
    const isNew = (flags & SYN) !== 0 && i >= opening.length;
    const sequence = next[side] + (isNew ? 10_000 : 0);
    const acknowledgment = (flags & ACK) === 0 ? 0 : heard[side];
    // A SYN that is sent again has the number that it had.
    const isRepeated = (flags & SYN) !== 0 && heard[other] === next[side];
    const segment = { side, flags, sequence: isRepeated && !isNew ? sequence - 1 : sequence, acknowledgment };
    if ((flags & (SYN | FIN)) !== 0 && !isRepeated) next[side]++;
    heard[other] = next[side];
    return segment;
  });
}
