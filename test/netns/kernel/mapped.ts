/**
 * Where answers go. The translator chooses ports, so packets from outside cannot be written down in advance: a plan has
 * them as the inside shall see them, and they are sent to the mapping that was seen to leave.
 */

import { datagramOf, type End, flowOf, isError, isLaterFragment, withInside } from "./rewrite.ts";

interface Mapping {
  readonly uplink: number;
  readonly end: End;
}

export class Mapped {
  readonly #byFlow = new Map<string, Mapping>();
  /** Of the first fragment, for the later ones. */
  readonly #byDatagram = new Map<string, Mapping>();

  /** Remembers how a packet of the inside left. */
  learn(packet: Uint8Array, uplink: number, left: Uint8Array): void {
    const flow = flowOf(packet, "inside");
    if (flow === undefined || isError(packet)) return;
    const port = flow.portAt < 0 ? new Uint8Array(2) : left.slice(flow.portAt, flow.portAt + 2);
    this.#byFlow.set(flow.key, { uplink, end: { address: left.slice(12, 16), port } });
  }

  /**
   * The packets of a step as they arrive outside, and by which uplink: by the first, at its address, when nothing of their
   * flow has left. Later fragments go where their first goes, wherever in the step it stands.
   */
  address(packets: readonly Uint8Array[], firstUplink: Uint8Array): { uplink: number; bytes: Uint8Array }[] {
    for (const packet of packets) this.#noteDatagram(packet);
    return packets.map((packet) => {
      const mapping = this.#find(packet);
      if (mapping !== undefined) return { uplink: mapping.uplink, bytes: withInside(packet, "outside", mapping.end) };
      return { uplink: 0, bytes: withInside(packet, "outside", { address: firstUplink, port: ownPort(packet) }) };
    });
  }

  #noteDatagram(packet: Uint8Array): void {
    const mapping = this.#byFlow.get(flowOf(packet, "outside")?.key ?? "");
    if (mapping !== undefined) this.#byDatagram.set(datagramOf(packet), mapping);
  }

  #find(packet: Uint8Array): Mapping | undefined {
    if (isLaterFragment(packet)) return this.#byDatagram.get(datagramOf(packet));
    return this.#byFlow.get(flowOf(packet, "outside")?.key ?? "");
  }
}

/** The port that a packet from outside has already. */
function ownPort(packet: Uint8Array): Uint8Array {
  const flow = flowOf(packet, "outside");
  return flow === undefined || flow.portAt < 0 ? new Uint8Array(2) : packet.slice(flow.portAt, flow.portAt + 2);
}
