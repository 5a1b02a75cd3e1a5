/**
 * What Linux 6.18's nf_conntrack makes of every event in every state (test/conformance/tcp-walk.ts): the state after it, with "!" where the
 * packet counts as invalid, which a careful rule drops. Observed, not copied: test/netns/kernel/tcp-states.test.ts asks
 * the running kernel, packet by packet, and fails when it answers otherwise.
 */

import { events } from "./tcp-walk.ts";

/** As text, which the published document shows. */
export const observed = `
state        side    SYN           SYN+ACK       FIN           ACK           RST           no flag
NONE         inside  SYN_SENT      NONE!         NONE!         ESTABLISHED   NONE!         NONE!
SYN_SENT     inside  SYN_SENT      SYN_SENT!     SYN_SENT!     SYN_SENT!     NONE          SYN_SENT!
SYN_SENT     remote  SYN_SENT2     SYN_RECV      SYN_SENT!     SYN_SENT      NONE          SYN_SENT!
SYN_SENT2    inside  SYN_SENT2     SYN_RECV      SYN_SENT2!    SYN_SENT2!    CLOSE         SYN_SENT2!
SYN_SENT2    remote  SYN_SENT2     SYN_RECV      SYN_SENT2!    SYN_SENT2     CLOSE         SYN_SENT2!
SYN_RECV     inside  SYN_RECV      SYN_RECV      FIN_WAIT      ESTABLISHED   CLOSE         SYN_RECV!
SYN_RECV     remote  SYN_RECV!     SYN_RECV      FIN_WAIT      SYN_RECV      CLOSE         SYN_RECV!
ESTABLISHED  inside  ESTABLISHED   ESTABLISHED!  FIN_WAIT      ESTABLISHED   CLOSE         ESTABLISHED!
ESTABLISHED  remote  ESTABLISHED!  ESTABLISHED   FIN_WAIT      ESTABLISHED   CLOSE         ESTABLISHED!
FIN_WAIT     inside  FIN_WAIT      FIN_WAIT!     LAST_ACK      CLOSE_WAIT    CLOSE         FIN_WAIT!
FIN_WAIT     remote  FIN_WAIT!     FIN_WAIT      LAST_ACK      CLOSE_WAIT    CLOSE         FIN_WAIT!
CLOSE_WAIT   inside  CLOSE_WAIT    CLOSE_WAIT!   LAST_ACK      CLOSE_WAIT    CLOSE         CLOSE_WAIT!
CLOSE_WAIT   remote  CLOSE_WAIT!   CLOSE_WAIT    LAST_ACK      CLOSE_WAIT    CLOSE         CLOSE_WAIT!
LAST_ACK     inside  LAST_ACK      LAST_ACK!     LAST_ACK      TIME_WAIT     CLOSE         LAST_ACK!
LAST_ACK     remote  LAST_ACK!     LAST_ACK      LAST_ACK      TIME_WAIT     CLOSE         LAST_ACK!
TIME_WAIT    inside  SYN_SENT      TIME_WAIT!    TIME_WAIT     TIME_WAIT     CLOSE         TIME_WAIT!
TIME_WAIT    remote  NONE!         TIME_WAIT     TIME_WAIT     TIME_WAIT     CLOSE         TIME_WAIT!
CLOSE        inside  CLOSE         CLOSE!        CLOSE         CLOSE         CLOSE         CLOSE!
CLOSE        remote  CLOSE!        CLOSE         CLOSE         CLOSE         CLOSE         CLOSE!
`;

/** By "STATE side" and event. */
export const kernelTransitions: Readonly<Record<string, Readonly<Record<string, string>>>> = readTable(observed);

function readTable(text: string): Record<string, Record<string, string>> {
  const [, ...rows] = text.trim().split("\n");
  return Object.fromEntries(
    rows.map((row) => {
      const [state, side, ...cells] = row.split(/ +/);
      return [`${state} ${side}`, Object.fromEntries(Object.keys(events).map((event, i) => [event, cells[i]!]))];
    }),
  );
}
