/** Answers to all that a test has opened: flows without one are the first to give way when something runs out. */
import { flowFlag } from "../../src/dataplane/flow-state.ts";
import { flowWord, flowWords } from "../../src/tables/flow-table.ts";
import { formatAddress } from "../../src/wire/ipv4.ts";
import { openFlows } from "../model/invariants.ts";
import { ACK, echo, ICMP, SYN, tcp, UDP, udp } from "../support/packets.ts";
import type { Rig } from "./rig.ts";

/** Lets the other end of every flow answer, and whoever opened a TCP connection complete it; whatever leaves is taken away. `opened` is the number of the SYNs. */
export function answerAll(rig: Rig, opened = 1): void {
  for (const each of openFlows(rig.forwarder.conntrack)) {
    const { protocol, uplink } = each;
    const state = rig.forwarder.conntrack.flows.words[each.flow * flowWords + flowWord.state]!;
    const isFromRemote = (state & flowFlag.openedByRemote) !== 0;
    const outside = `${formatAddress(each.mapped)}:${each.mappedPort}`;
    const inside = `${formatAddress(each.inside)}:${each.insidePort}`;
    const remote = `${formatAddress(each.remote)}:${each.remotePort}`;
    const fromInside = { source: inside, destination: remote };
    const fromRemote = { source: remote, destination: outside };
    const [question, answer] = isFromRemote ? [fromRemote, fromInside] : [fromInside, fromRemote];
    const send = (packet: Uint8Array, fields: object) =>
      fields === fromRemote ? rig.in(packet, uplink) : rig.out(packet, uplink);
    if (protocol === UDP) send(udp(answer), answer);
    else if (protocol === ICMP) {
      const [source] = remote.split(":");
      const [destination] = outside.split(":");
      send(echo({ source: source!, destination: destination!, identifier: each.mappedPort, type: 0 }), fromRemote);
    } else {
      const last = { sequence: opened + 1, acknowledgment: 301 };
      send(tcp({ ...answer, flags: SYN | ACK, sequence: 300, acknowledgment: opened + 1 }), answer);
      send(tcp({ ...question, flags: ACK, ...last }), question);
    }
  }
}
