/** A data plane that targets use again and again: after `clear` it has no flow, no fragment and nothing queued, as when it was opened. */
import assert from "node:assert/strict";
import { ipOffset } from "../../src/tables/packet-memory.ts";
import { firstPort, Rig, type RigOptions } from "../path/rig.ts";
import type { VnetFields } from "../support/packets.ts";
import { type Leaves, takeLeft } from "./leaves.ts";
import { forwards, ports } from "./packets.ts";

/** Fragments wait for 30 s. */
const fragmentTimeMs = 31_000;
/** Behind a packet: more than any header that could be written there. */
const watchedBytes = 128;
/** MAC header bytes of the uplinks. */
export const links = [14, 0];

export function openStage(options: RigOptions = {}): Rig {
  const rig = new Rig({
    ...{ links, hasIpv6: true, forwards, receiveSlots: 16, scratchSlots: 64, flows: 64, flowsPerHost: 64 },
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

/** Injects one packet on an uplink, or with -1 from the inside, and runs until all is quiet. Not a byte behind the packet may change. */
export function runOne(rig: Rig, uplink: number, packet: Uint8Array, vnet: VnetFields = {}): void {
  const device = rig.io.devices[uplink + 1]!;
  // A turn's first packet is received into the first slot.
  const behind = new Uint8Array(rig.io.memory, device.firstSlotAt + ipOffset + packet.length, watchedBytes);
  const before = behind.slice();
  if (uplink < 0) rig.injectInside(packet, vnet);
  else rig.injectUplink(uplink, packet, vnet);
  rig.run();
  assert.equal(Buffer.compare(behind, before), 0, "a byte behind the packet has changed");
}

/** What has left, by uplink; -1: towards the inside. */
export function everything(rig: Rig): (Leaves & { uplink: number })[] {
  return [-1, 0, 1].map((uplink) => ({ uplink, ...takeLeft(rig, uplink) }));
}
