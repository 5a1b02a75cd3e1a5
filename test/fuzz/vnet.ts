/**
 * What the kernel asks of a vnet header that it is given with a packet (Linux include/linux/virtio_net.h,
 * virtio_net_hdr_to_skb, and net/packet/af_packet.c, packet_snd): what breaks one of these rules is refused with EINVAL.
 */
import assert from "node:assert/strict";
import type { Left, Left6 } from "../path/rig.ts";
import { gsoTcp, gsoUdp, TCP, UDP } from "../support/packets.ts";
import { gsoTcp6 } from "../support/packets6.ts";

const needsChecksum = 1;
const withEcn = 0x80;

/** Throws when the vnet header that a packet left with could be refused. `linkBytes`: its MAC header. */
export function checkVnet(left: Left | Left6, linkBytes: number): void {
  const { bytes, vnet, protocol } = left;
  const isIpv6 = "l4" in left;
  const l4 = isIpv6 ? left.l4 : left.headerBytes;
  const isFragment = isIpv6 ? left.fragment !== null : left.moreFragments || left.offset > 0;
  const { flags, gsoType, headerLength, gsoSize, checksumStart, checksumOffset } = vnet;
  const seen = JSON.stringify(vnet);
  if (flags === 0) {
    assert.deepEqual([gsoType, headerLength, gsoSize, checksumStart, checksumOffset], [0, 0, 0, 0, 0], seen);
    return;
  }
  assert.equal(flags, needsChecksum, seen);
  assert.ok(!isFragment, `a fragment left with ${seen}`);
  assert.ok(protocol === TCP || protocol === UDP, `protocol ${protocol} left with ${seen}`);
  assert.equal(checksumStart, linkBytes + l4, seen);
  assert.equal(checksumOffset, protocol === TCP ? 16 : 6, seen);
  assert.ok(headerLength <= linkBytes + bytes.length, `${seen} is longer than the packet`);
  assert.ok(checksumStart + checksumOffset + 2 <= linkBytes + bytes.length, `${seen} lies outside the packet`);
  assert.equal(gsoType & ~withEcn, gsoType === 0 ? 0 : protocol === UDP ? gsoUdp : isIpv6 ? gsoTcp6 : gsoTcp, seen);
  assert.ok(gsoType === 0 || gsoSize > 0, seen);
}
