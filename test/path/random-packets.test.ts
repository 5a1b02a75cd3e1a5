/**
 * Packets of all sorts, whole and broken, from all sides, while uplinks come and go: nothing throws,
 * nothing leaves untranslated, nothing grows. A failure names its seed; SLUICE_SEED runs one again.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { filtering } from "../../src/dataplane/conntrack.ts";
import { noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants } from "../model/invariants.ts";
import {
  ACK,
  addressNumber,
  addressText,
  concat,
  DCCP,
  ESP,
  echo,
  FIN,
  fragmentsOf,
  GRE,
  ICMP,
  icmpError,
  ip,
  parse,
  partialVnet,
  pattern,
  RST,
  randomFrom,
  SCTP,
  SYN,
  TCP,
  tcp,
  UDP,
  UDP_LITE,
  udp,
  type VnetFields,
} from "../support/packets.ts";
import { errorSource, type Left, Rig, uplinkAddresses } from "./rig.ts";

const packetCount = 70_000;
const batch = 64;
const seed = Number(process.env.SLUICE_SEED ?? 20_260_728);

const portProtocols = [ICMP, TCP, UDP];
const otherProtocols = [0, DCCP, GRE, ESP, SCTP, UDP_LITE, 255];
/** On both uplinks for TCP, on the first for UDP. */
const forwarded = {
  uplinks: 3,
  protocol: TCP,
  firstPort: 80,
  lastPort: 89,
  to: addressNumber("192.168.10.200"),
  toPort: 8080,
};

interface Made {
  bytes: Uint8Array;
  vnet: VnetFields;
}

class Mayhem {
  readonly rig: Rig;
  /** What left lately, on uplinks: the outside answers to some of it. */
  readonly #left: Left[] = [];
  /** Every source that was seen inside, broken ones too. */
  readonly #insiders = new Set<string>();
  readonly #random: () => number;
  made = 0;
  forwarded = 0;

  constructor(seed: number, filtering: number) {
    this.#random = randomFrom(seed);
    const links = [14, 0];
    this.rig = new Rig({
      links,
      seed,
      flows: 200,
      flowsPerHost: 120,
      lastPort: 16_415,
      receiveSlots: batch,
      scratchSlots: 64,
      filtering,
      forwards: [forwarded, { ...forwarded, protocol: UDP, uplinks: 1 }],
    });
    this.rig.steerTo((hash) => hash % 2);
  }

  turn(): void {
    for (let i = 0; i < batch; i++) {
      const side = this.#below(3) - 1;
      const { bytes, vnet } = this.#broken(side < 0 ? this.#fromInside() : this.#fromOutside(side));
      if (side < 0) {
        this.#insiders.add(addressText(bytes.subarray(12, 16)));
        this.rig.injectInside(bytes, vnet);
      } else this.rig.injectUplink(side, bytes, vnet);
      this.made++;
    }
    this.rig.run();
    for (const uplink of [0, 1]) this.#judgeOutside(this.rig.left(uplink));
    this.#judgeInside(this.rig.left(-1));
    this.#shake();
  }

  /** The rig has already refused a foreign source and a wrong header checksum. */
  #judgeOutside(left: Left[]): void {
    for (const packet of left) {
      this.forwarded++;
      this.#left[this.#below(64)] = packet;
      if (packet.type === 3 || packet.type === 11 || !portProtocols.includes(packet.protocol)) continue;
      const isForwarded = packet.sourcePort >= forwarded.firstPort && packet.sourcePort <= forwarded.lastPort;
      if (packet.offset === 0 && packet.sourcePort + packet.identifier < 16_384 && !isForwarded)
        throw new Error(`a packet left with the port ${packet.sourcePort || packet.identifier}`);
    }
  }

  #judgeInside(left: Left[]): void {
    for (const packet of left) {
      this.forwarded++;
      const isExpected = this.#insiders.has(packet.destination) || addressNumber(packet.destination) === forwarded.to;
      if (!isExpected && packet.source !== errorSource)
        throw new Error(`a packet for ${packet.destination} went inside`);
    }
  }

  /** What happens beside the packets. */
  #shake(): void {
    const dice = this.#below(100);
    const { rig } = this;
    const uplink = this.#below(2);
    rig.nowMs += this.#below(50);
    if (dice < 4) rig.nowMs += this.#below(400_000);
    else if (dice < 8) rig.setUplink(uplink, { ready: this.#below(3) === 0 ? 0 : 1 });
    else if (dice < 10) rig.setUplink(uplink, { mtu: this.#pick([68, 576, 1280, 1500, 9000, 65_535]) });
    else if (dice < 12)
      rig.setUplink(uplink, { address: this.#pick([uplinkAddresses[uplink]!, `203.0.113.${90 + uplink}`]) });
    else if (dice < 14) rig.steerTo(this.#pick([0, 1, noUplink]));
    else if (dice < 20) rig.steerTo((hash) => hash % 2);
  }

  #fromInside(): Made {
    const source = `192.168.10.${1 + this.#below(6)}:${1 + this.#below(40)}`;
    const destination = `192.0.2.${1 + this.#below(5)}:${this.#pick([53, 80, 443])}`;
    const fields = { source, destination, identification: this.#below(20), dontFragment: this.#below(2) === 0 };
    const address = { source: source.split(":")[0]!, destination: destination.split(":")[0]! };
    const data = pattern(this.#pick([0, 1, 11, 100, 1400, 3000]));
    switch (this.#below(10)) {
      case 8:
        return plain(ip({ ...fields, ...address, protocol: this.#pick(otherProtocols), payload: data }));
      case 0:
        return plain(echo({ ...fields, ...address, identifier: this.#below(40), data }));
      case 1: {
        const bytes = tcp({ ...fields, flags: ACK, data, checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, 0, this.#pick([0, 1, 536, 1448])) };
      }
      case 2: {
        const bytes = udp({ ...fields, data, checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, 0, this.#pick([0, 0, 500, 1472])) };
      }
      case 3:
        return plain(this.#pick(fragmentsOf(udp({ ...fields, data: pattern(4000) }), 1480)));
      case 4:
        return plain(this.#errorAbout(address.source, this.#anyLeft()));
      case 5:
        return plain(udp({ ...fields, data, options: Uint8Array.of(1, 1, 148, 4, 0, 0) }));
      default:
        return plain(tcp({ ...fields, data, flags: this.#pick([SYN, SYN, ACK, RST, FIN | ACK, SYN | ACK]) }));
    }
  }

  /** An answer to something that left, an error about it, or a stranger. */
  #fromOutside(uplink: number): Made {
    const left = this.#anyLeft();
    const linkBytes = this.rig.links[uplink]!;
    if (left === undefined) return plain(this.#garbage());
    const { source: destination, destination: source, sourcePort, destinationPort } = left;
    const ends = { source: `${source}:${destinationPort}`, destination: `${destination}:${sourcePort}` };
    const data = pattern(this.#pick([0, 5, 1200, 2000]));
    switch (this.#below(8)) {
      case 6:
        return plain(ip({ source, destination, protocol: this.#pick(otherProtocols), payload: data }));
      case 7:
        return plain(this.#unasked(uplink));
      case 0:
        return plain(icmpError({ source: "198.51.100.77", destination, type: 11, quoted: left.bytes }));
      case 1:
        return plain(
          icmpError({
            source,
            destination,
            type: 3,
            code: 4,
            nextHopMtu: this.#below(2000),
            quoted: left.bytes.slice(0, 28),
          }),
        );
      case 2:
        return plain(
          this.#pick(fragmentsOf(udp({ ...ends, data: pattern(3000), identification: this.#below(20) }), 1480)),
        );
      case 3:
        if (left.identifier > 0)
          return plain(echo({ source, destination, type: 0, identifier: left.identifier, data }));
        return plain(udp({ ...ends, data }));
      case 4: {
        const bytes = tcp({ ...ends, flags: ACK, data: pattern(4000), checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, linkBytes, 1400) };
      }
      default:
        return plain(
          left.protocol === UDP
            ? udp({ ...ends, data })
            : tcp({ ...ends, data, flags: this.#pick([SYN | ACK, ACK, RST, FIN | ACK]) }),
        );
    }
  }

  /** The first packet of somebody outside: to a forwarded port, one near it, or any of the translator's. */
  #unasked(uplink: number): Uint8Array {
    const port = this.#pick([79, 80, 85, 89, 90, 16_384 + this.#below(32)]);
    const destination = `${uplinkAddresses[this.#below(10) === 0 ? 1 - uplink : uplink]}:${port}`;
    const source = `192.0.2.${1 + this.#below(8)}:${this.#pick([53, 80, 4000 + this.#below(20)])}`;
    const flags = this.#pick([SYN, SYN, SYN, ACK, RST, FIN | ACK]);
    const data = pattern(this.#below(30));
    return this.#below(2) === 0 ? udp({ source, destination, data }) : tcp({ source, destination, flags, data });
  }

  /** Breaks every third packet, in one of the ways in which they break. */
  #broken(made: Made): Made {
    let { bytes, vnet } = made;
    if (this.#below(3) > 0) return made;
    switch (this.#below(6)) {
      case 0:
        bytes = bytes.slice(0, this.#below(bytes.length + 1));
        break;
      case 1:
        bytes = concat(bytes, pattern(this.#below(60)));
        break;
      case 2:
        bytes = bytes.slice();
        for (let i = this.#below(4); i >= 0; i--) bytes[this.#below(Math.min(bytes.length, 60))] = this.#below(256);
        if (this.#below(2) === 0) setHeaderChecksum(bytes);
        break;
      case 3:
        bytes = this.#garbage();
        break;
      case 4:
        vnet = {
          flags: this.#below(4),
          gsoType: this.#pick([0, 1, 3, 4, 5, 0x80, 0x81, 0xff]),
          headerLength: this.#pick([0, 40, 54, 65_535]),
          gsoSize: this.#pick([0, 1, 1448, 65_535]),
          checksumStart: this.#pick([0, 20, 34, 65_530]),
          checksumOffset: this.#pick([0, 6, 16, 65_535]),
        };
        break;
      default: {
        const whole = parseOrNull(bytes);
        if (whole !== null) {
          const payload = whole.payload.slice(0, this.#below(whole.payload.length + 1));
          bytes = ip({ ...whole, payload, offset: this.#below(8192) * 8, moreFragments: this.#below(2) === 0 });
        }
      }
    }
    return { bytes, vnet };
  }

  #errorAbout(source: string, left: Left | undefined): Uint8Array {
    if (left === undefined) return this.#garbage();
    const inside = `192.168.10.${1 + this.#below(6)}:${1 + this.#below(40)}`;
    const quoted = udp({ source: `${left.destination}:${left.destinationPort}`, destination: inside });
    return icmpError({ source, destination: left.destination, type: 3, code: 3, quoted });
  }

  #garbage(): Uint8Array {
    return Uint8Array.from({ length: this.#below(200) }, (_, i) => (i === 0 ? 0x45 : this.#below(256)));
  }

  #anyLeft(): Left | undefined {
    return this.#left[this.#below(64)];
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

function parseOrNull(bytes: Uint8Array): ReturnType<typeof parse> | null {
  try {
    return parse(bytes);
  } catch {
    return null;
  }
}

function setHeaderChecksum(bytes: Uint8Array): void {
  const end = Math.min((bytes[0]! & 15) * 4, bytes.length & ~1);
  if (end < 20) return;
  bytes.set([0, 0], 10);
  let sum = 0;
  for (let i = 0; i < end; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.set([(~sum >> 8) & 255, ~sum & 255], 10);
}

function usedHeapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

test.each(Object.entries(filtering))(
  `${packetCount} packets, filtering %s, seed ${seed}`,
  { timeout: 120_000 },
  (_, mode) => {
    const mayhem = new Mayhem(seed, mode);
    const counters = mayhem.rig.shared.counters(0);
    let halfway = 0;
    for (let turn = 0; mayhem.made < packetCount; turn++) {
      try {
        mayhem.turn();
        if (turn % 20 === 0) checkInvariants(mayhem.rig.forwarder.conntrack, counters);
      } catch (error) {
        throw new Error(`seed ${seed}, turn ${turn}`, { cause: error });
      }
      if (halfway === 0 && mayhem.made >= packetCount / 2) halfway = usedHeapBytes();
    }
    expect(usedHeapBytes() - halfway).toBeLessThan(2_000_000);
    for (const value of counters) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
    // The mixture is worth something only where much of it gets through, and all of the rest is dropped by name.
    expect(mayhem.forwarded).toBeGreaterThan(packetCount / 10);
    expect(Object.keys(mayhem.rig.drops).length).toBeGreaterThan(25);
    mayhem.rig.pass(8_000_000);
    mayhem.rig.pass(1000);
    expect([mayhem.rig.openFlows, mayhem.rig.forwarder.conntrack.mappings.open]).toEqual([0, 0]);
  },
);
