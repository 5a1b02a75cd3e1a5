/**
 * IPv6 packets of all sorts, whole and broken, from all sides, while uplinks come and go: nothing throws, nothing leaves with a
 * source that is not the uplink's own (the rig sees to it), nothing goes inside that is for nobody there, and no name is
 * lost. A failure names its seed; SLUICE_SEED runs one again.
 */
import { expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import { ACK, concat, FIN, pattern, RST, randomFrom, SYN, type VnetFields } from "../support/packets.ts";
import {
  address6Text,
  address6Words,
  DESTINATION_OPTIONS,
  echo6,
  fragment6,
  fragmentsOf6,
  HOP_BY_HOP,
  icmpError6,
  ip6,
  padding,
  partialVnet6,
  ROUTING,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { type Left6, openRig6, type Rig, uplinkAddresses6 } from "./rig.ts";

const packetCount = 30_000;
const batch = 32;
const seed = Number(process.env.SLUICE_SEED ?? 20_261_121);
const forwardedTo = "fd00:10::200";
const forward = { uplinks: 3, protocol: 6, firstPort: 80, lastPort: 89, to: 0, toPort: 8080 };

interface Made {
  bytes: Uint8Array;
  vnet: VnetFields;
}

class Mayhem6 {
  readonly rig: Rig;
  readonly #left: Left6[] = [];
  /** Every source that was seen inside, broken ones too. */
  readonly #insiders = new Set([forwardedTo]);
  readonly #random: () => number;
  readonly #letsAllIn: boolean;
  made = 0;
  forwarded = 0;

  constructor(mode: number) {
    this.#random = randomFrom(seed);
    this.#letsAllIn = mode === filtering.endpointIndependent;
    this.rig = openRig6({
      ...{ links: [14, 0], seed, flows: 150, flowsPerHost: 90, lastPort: 16_415, filtering: mode },
      policy: { ...plainPolicy, rescue: true },
      forwards: [{ ...forward, to6: address6Words(forwardedTo) }],
      insidePrefix: { words: address6Words("fd00:10::"), length: 48 },
    });
    this.rig.setUplink(1, { prefix6: "2001:db8:b::/48" });
    this.rig.steerTo((hash) => hash % 2);
  }

  turn(): void {
    for (let i = 0; i < batch; i++) {
      const side = this.#below(3) - 1;
      const { bytes, vnet } = this.#broken(side < 0 ? this.#fromInside() : this.#fromOutside(side), side);
      if (bytes.length > 0) bytes[0] = 0x60 | (bytes[0]! & 15);
      if (side < 0) {
        if (bytes.length >= 24) this.#insiders.add(address6Text(bytes.subarray(8, 24)));
        this.rig.injectInside(bytes, vnet);
      } else this.rig.injectUplink(side, bytes, vnet);
      this.made++;
    }
    this.rig.run();
    for (const uplink of [0, 1])
      for (const packet of this.rig.left6(uplink)) {
        this.forwarded++;
        this.#left[this.#below(64)] = packet;
      }
    for (const packet of this.rig.left6(-1)) {
      this.forwarded++;
      const isInside = this.#insiders.has(packet.destination);
      if (!isInside && !(this.#letsAllIn && packet.destination.startsWith("fd00:10:")))
        throw new Error(`a packet for ${packet.destination} went inside`);
    }
    this.#shake();
  }

  /** What happens beside the packets. */
  #shake(): void {
    const { rig } = this;
    const dice = this.#below(100);
    const uplink = this.#below(2);
    const own = uplinkAddresses6[uplink]!;
    rig.nowMs += this.#below(50);
    if (dice < 4) rig.nowMs += this.#below(400_000);
    else if (dice < 8) rig.setUplink(uplink, { ready6: this.#below(5) === 0 ? 0 : 1 });
    else if (dice < 10) rig.setUplink(uplink, { mtu: this.#pick([1280, 1500, 9000, 65_535]) });
    else if (dice < 13) rig.setUplink(uplink, { address6: this.#pick([own, own, own, `2001:db8:9::${uplink}`, ""]) });
    else if (dice < 16) rig.setUplink(1, { prefix6: this.#pick(["", "2001:db8:b::/48", "2001:db8:c::/56"]) });
    else if (dice < 18) rig.steerTo(this.#pick([0, 1, noUplink]));
    else if (dice < 26) rig.steerTo((hash) => hash % 2);
    else if (dice < 29) rig.setUplink(uplink, { cutAll: this.made });
    else if (dice < 31) rig.setUplink(uplink, { cutDisplaced: this.made, standsIn: this.#below(2) });
  }

  #fromInside(): Made {
    const inside = `fd00:${this.#pick(["10", "10", "11"])}::${1 + this.#below(6)}`;
    // Every eighth is for one of our own addresses, and turns back.
    const ours = [...uplinkAddresses6.slice(0, 2), `2001:db8:b:cf4c::${1 + this.#below(6)}`];
    const remote = this.#below(8) === 0 ? this.#pick(ours) : `2001:db8:ff::${1 + this.#below(5)}`;
    const ends = {
      source: `[${inside}]:${1 + this.#below(40)}`,
      destination: `[${remote}]:${this.#pick([53, 80, 16_384 + this.#below(32)])}`,
    };
    const address = { source: inside, destination: remote };
    const data = pattern(this.#pick([0, 1, 11, 100, 1200, 3000]));
    const extensions = this.#below(4) === 0 ? [padding(this.#pick([HOP_BY_HOP, DESTINATION_OPTIONS, ROUTING]))] : [];
    switch (this.#below(10)) {
      case 0:
        return plain(echo6({ ...address, identifier: this.#below(40), data, extensions }));
      case 1: {
        const bytes = tcp6({ ...ends, flags: ACK, data, checksum: "partial", extensions });
        return { bytes, vnet: partialVnet6(bytes, 0, this.#pick([0, 1, 536, 1428])) };
      }
      case 2: {
        const bytes = udp6({ ...ends, data, checksum: "partial" });
        return { bytes, vnet: partialVnet6(bytes, 0, this.#pick([0, 0, 500, 1452])) };
      }
      case 3:
        return plain(this.#pick(fragmentsOf6(udp6({ ...ends, data: pattern(3000) }), 1400, this.#below(20))));
      case 4: {
        const left = this.#left[this.#below(64)];
        if (left === undefined) return plain(this.#garbage());
        const quoted = udp6({ source: `[${left.destination}]:${left.destinationPort}`, destination: ends.source });
        return plain(icmpError6({ source: inside, destination: left.destination, type: 1, code: 4, quoted }));
      }
      case 5:
        return plain(ip6({ ...address, protocol: this.#pick([1, 33, 47, 50, 51, 59, 132, 136, 255]), payload: data }));
      default:
        return plain(
          tcp6({ ...ends, data, extensions, flags: this.#pick([SYN, SYN, ACK, RST, FIN | ACK, SYN | ACK]) }),
        );
    }
  }

  /** An answer to something that left, an error about it, or a stranger. */
  #fromOutside(uplink: number): Made {
    const left = this.#left[this.#below(64)];
    if (left === undefined) return plain(this.#garbage());
    const { source: destination, destination: source, sourcePort, destinationPort, identifier } = left;
    const ends = { source: `[${source}]:${destinationPort}`, destination: `[${destination}]:${sourcePort}` };
    const data = pattern(this.#pick([0, 5, 1200, 2000]));
    const hop = "2001:db8:77::1";
    switch (this.#below(9)) {
      case 0:
        return plain(icmpError6({ source: hop, destination, type: 3, quoted: left.bytes }));
      case 1: {
        const quoted = left.bytes.slice(0, 40 + this.#below(60));
        return plain(icmpError6({ source: hop, destination, type: 2, mtu: this.#below(2000), quoted }));
      }
      case 2:
        return plain(this.#pick(fragmentsOf6(udp6({ ...ends, data: pattern(3000) }), 1400, this.#below(20))));
      case 3:
        return plain(echo6({ source, destination, type: this.#pick([128, 129]), identifier, data }));
      case 4: {
        const bytes = tcp6({ ...ends, flags: ACK, data: pattern(4000), checksum: "partial" });
        return { bytes, vnet: partialVnet6(bytes, this.rig.links[uplink]!, 1400) };
      }
      case 5: {
        const to = this.#pick([uplinkAddresses6[uplink]!, `2001:db8:b:1::${1 + this.#below(6)}`, destination]);
        const unasked = { source: `[${source}]:99`, destination: `[${to}]:${this.#pick([79, 80, 89, 16_384, 5])}` };
        return plain(this.#below(2) === 0 ? udp6(unasked) : tcp6({ ...unasked, flags: SYN }));
      }
      case 6:
        return plain(ip6({ source, destination, protocol: this.#pick([47, 50, 132]), payload: data }));
      default:
        return plain(
          left.protocol === 17
            ? udp6({ ...ends, data })
            : tcp6({ ...ends, data, flags: this.#pick([SYN | ACK, ACK, RST, FIN | ACK]) }),
        );
    }
  }

  /** Breaks every third packet, in one of the ways in which they break. */
  #broken(made: Made, side: number): Made {
    const { bytes, vnet } = made;
    if (this.#below(3) > 0) return made;
    switch (this.#below(5)) {
      case 0:
        return { bytes: bytes.slice(0, this.#below(bytes.length + 1)), vnet };
      case 1:
        return { bytes: concat(bytes, pattern(this.#below(60))), vnet };
      case 2: {
        const copy = bytes.slice();
        for (let i = this.#below(4); i >= 0; i--) copy[this.#below(Math.min(copy.length, 90))] = this.#below(256);
        return { bytes: copy, vnet };
      }
      case 3: {
        const lie = {
          flags: this.#below(4),
          gsoType: this.#pick([0, 1, 3, 4, 5, 0x84, 0xff]),
          headerLength: this.#pick([0, 60, 74, 65_535]),
          gsoSize: this.#pick([0, 1, 1428, 65_535]),
          checksumStart: this.#pick([0, 40, 54, 65_530]),
          checksumOffset: this.#pick([0, 6, 16, 65_535]),
        };
        return { bytes, vnet: lie };
      }
      default: {
        const inside = `fd00:10::${1 + this.#below(6)}`;
        const [source, destination] =
          side < 0 ? [inside, "2001:db8:ff::1"] : ["2001:db8:ff::1", uplinkAddresses6[side]!];
        const piece = { payload: this.#garbage(), offset: this.#below(300) * 8, more: this.#below(2) === 0 };
        return plain(fragment6({ ...piece, source, destination, protocol: 17, identification: this.#below(20) }));
      }
    }
  }

  #garbage(): Uint8Array {
    return Uint8Array.from({ length: this.#below(200) }, () => this.#below(256));
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)]!;
  }
}

function plain(bytes: Uint8Array): Made {
  return { bytes, vnet: {} };
}

test.each(Object.entries(filtering))(
  `${packetCount} packets, filtering %s, seed ${seed}`,
  { timeout: 60_000 },
  (_, mode) => {
    const mayhem = new Mayhem6(mode);
    const { rig } = mayhem;
    for (let turn = 0; mayhem.made < packetCount; turn++) {
      try {
        mayhem.turn();
        if (turn % 20 === 0) checkInvariants(rig.forwarder.conntrack, rig.shared.counters(0));
      } catch (error) {
        throw new Error(`seed ${seed}, turn ${turn}`, { cause: error });
      }
    }
    // The mixture is worth something only where much of it gets through, and all of the rest is dropped by name.
    expect(mayhem.forwarded).toBeGreaterThan(packetCount / 10);
    expect(Object.keys(rig.drops).length).toBeGreaterThan(20);
    for (const uplink of [0, 1]) rig.setUplink(uplink, { address6: uplinkAddresses6[uplink]! });
    rig.pass(8_000_000);
    rig.pass(1000);
    const { conntrack } = rig.forwarder;
    expect([rig.openFlows, conntrack.mappings.open, conntrack.names.count]).toEqual([0, 0, 2]);
  },
);
