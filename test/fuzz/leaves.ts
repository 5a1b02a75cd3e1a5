/**
 * What left a rig's device, of either family, judged as the rig judges what a test asks for by family: lengths and header
 * checksum are right, and on an uplink the source is that uplink's own address.
 */
import assert from "node:assert/strict";
import { uplinkWord, uplinkWords } from "../../src/tables/shared-state.ts";
import type { Left, Left6, Rig } from "../path/rig.ts";
import { parse, readVnetHeader } from "../support/packets.ts";
import { parse6 } from "../support/packets6.ts";

export interface Leaves {
  four: Left[];
  six: Left6[];
}

/** On an uplink, or with -1 towards the inside, since last asked. */
export function takeLeft(rig: Rig, uplink: number): Leaves {
  const linkBytes = uplink < 0 ? 0 : rig.links[uplink]!;
  const leaves: Leaves = { four: [], six: [] };
  for (const frame of rig.io.takeSent(uplink + 1)) {
    const bytes = frame.slice(10 + linkBytes);
    const rest = { bytes, vnet: readVnetHeader(frame), ethernet: frame.slice(10, 10 + linkBytes) };
    const view = new DataView(bytes.buffer);
    const isIpv6 = bytes[0]! >>> 4 === 6;
    if (uplink >= 0) {
      checkLink(rest.ethernet, isIpv6);
      const own = rig.shared.uplinks.subarray(uplink * uplinkWords, (uplink + 1) * uplinkWords);
      const [sourceAt, addressAt, count] = isIpv6 ? [8, uplinkWord.address6, 4] : [12, uplinkWord.address, 1];
      for (let word = 0; word < count; word++)
        assert.equal(
          view.getInt32(sourceAt + word * 4),
          own[addressAt + word],
          `a foreign source left uplink ${uplink}`,
        );
    }
    if (isIpv6) leaves.six.push(Object.assign(parse6(bytes), rest));
    else {
      const left = Object.assign(parse(bytes), rest);
      assert.ok(left.headerChecksumOk, "a packet left with a wrong header checksum");
      leaves.four.push(left);
    }
  }
  return leaves;
}

function checkLink(ethernet: Uint8Array, isIpv6: boolean): void {
  if (ethernet.length > 0) assert.deepEqual([...ethernet.subarray(12)], isIpv6 ? [0x86, 0xdd] : [8, 0]);
}
