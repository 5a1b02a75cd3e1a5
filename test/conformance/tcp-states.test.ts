/** Our TCP states against nf_conntrack's, event by event: the same, but for a list of differences that each say why. */

import { expect, test } from "vitest";
import { Connection } from "../path/connection.ts";
import { client, server, uplinkAddresses } from "../path/rig.ts";
import { tcp } from "../support/packets.ts";
import { differences } from "./tcp-differences.ts";
import { kernelTransitions } from "./tcp-kernel.ts";
import { type Walk, walks } from "./tcp-walk.ts";

/** Ours by the kernel's names. That has one state for the first FIN and one for its acknowledgment; ours says which side sent it. */
const kernelNames: Readonly<Record<string, readonly string[]>> = {
  gone: ["NONE"],
  "syn-sent": ["SYN_SENT"],
  "syn-sent2": ["SYN_SENT2"],
  "syn-received": ["SYN_RECV"],
  established: ["ESTABLISHED"],
  "fin-wait": ["FIN_WAIT", "CLOSE_WAIT"],
  "close-wait": ["FIN_WAIT", "CLOSE_WAIT"],
  "last-ack": ["LAST_ACK"],
  "time-wait": ["TIME_WAIT"],
  reset: ["CLOSE"],
  closed: ["CLOSE"],
};

test("every event in every state leads where nf_conntrack goes, but for the differences that are listed", () => {
  const found = walks().flatMap((walk) => {
    const kernel = kernelTransitions[`${walk.state} ${walk.side}`]![walk.event]!;
    const ours = outcome(walk);
    const isSame = ours.endsWith("!") === kernel.endsWith("!") && isState(ours, kernel);
    return isSame ? [] : [`${walk.state}, ${walk.event} from the ${walk.side}: ${kernel} -> ${ours}`];
  });
  const listed = differences.flatMap(({ cases }) => cases);
  expect(found.toSorted()).toEqual(listed.toSorted());
});

function isState(ours: string, kernel: string): boolean {
  return kernelNames[ours.replace("!", "")]!.includes(kernel.replace("!", ""));
}

/** Our state after the event, with "!" when the packet of the event was dropped. */
function outcome(walk: Walk): string {
  const connection = new Connection();
  const { rig } = connection;
  const inside = `${client}:5000`;
  const remote = `${server}:80`;
  let mapped = `${uplinkAddresses[0]}:5000`;
  let passed = false;
  for (const { side, flags, sequence, acknowledgment } of walk.segments) {
    const fields = { flags, sequence, acknowledgment };
    if (side === "inside") {
      const [left] = rig.out(tcp({ source: inside, destination: remote, ...fields }));
      if (left !== undefined) mapped = `${left.source}:${left.sourcePort}`;
      passed = left !== undefined;
    } else passed = rig.in(tcp({ source: remote, destination: mapped, ...fields })).length > 0;
  }
  return passed ? connection.state : `${connection.state}!`;
}
