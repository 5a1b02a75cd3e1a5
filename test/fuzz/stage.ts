/** A data plane that targets use again and again: after `clear` it has no flow, no fragment and nothing queued, as when it was opened. */
import { firstPort, type Left, Rig, type RigOptions } from "../path/rig.ts";
import { forwards, ports } from "./packets.ts";

/** Fragments wait for 30 s. */
const fragmentTimeMs = 31_000;
/** MAC header bytes of the uplinks. */
export const links = [14, 0];

export function openStage(options: RigOptions = {}): Rig {
  const rig = new Rig({
    ...{ links, forwards, receiveSlots: 16, scratchSlots: 64, flows: 64, flowsPerHost: 64 },
    ...{ lastPort: firstPort + ports - 1, ...options },
  });
  rig.steerTo((hash) => hash % 2);
  return rig;
}

export function clear(rig: Rig): void {
  const { conntrack } = rig.forwarder;
  for (let flow = 1; flow < conntrack.flows.end; flow++) if (conntrack.flows.isOpen(flow)) conntrack.close(flow);
  rig.pass(fragmentTimeMs);
  everything(rig);
}

/** What has left, by uplink; -1: towards the inside. */
export function everything(rig: Rig): { uplink: number; left: Left[] }[] {
  return [-1, 0, 1].map((uplink) => ({ uplink, left: rig.left(uplink) }));
}
