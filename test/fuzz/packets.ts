/**
 * Packets of all kinds for the whole path, from a seed: whole and broken ones, from the inside, as answers from outside, as
 * errors about what went by, and out of the blue. What has left lately is remembered, so that much of it belongs to a flow.
 */

import { firstPort, type Left, uplinkAddresses } from "../path/rig.ts";
import {
  ACK,
  addressNumber,
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
  type Layer4Fields,
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
  words,
} from "../support/packets.ts";
import { mendHeader } from "./mend.ts";

export interface Made {
  bytes: Uint8Array;
  vnet: VnetFields;
}

export const ports = 64;
const remembered = 64;
const otherProtocols = [0, DCCP, GRE, ESP, SCTP, UDP_LITE, 255];
/** Not payload that means anything, but bytes that differ from their neighbours. */
const data = pattern(4000);
/** What a broken source address is made of, so that there are not more of them than a test can remember. */
const sourceBytes = [0, 10, 127, 192, 203, 224, 255];

export const forwardedHost = "192.168.10.200";
const to = addressNumber(forwardedHost);
/** On both uplinks for TCP, on the first for UDP. */
export const forwards = [
  { uplinks: 3, protocol: TCP, firstPort: 80, lastPort: 89, to, toPort: 8080 },
  { uplinks: 1, protocol: UDP, firstPort: 80, lastPort: 89, to, toPort: 8080 },
];

export class Packets {
  readonly #random: () => number;
  readonly #links: readonly number[];
  /** By uplink. */
  readonly #left: Left[][];

  /** `links`: MAC header bytes of each uplink. */
  constructor(seed: number, links: readonly number[]) {
    this.#random = randomFrom(seed);
    this.#links = links;
    this.#left = links.map(() => []);
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  /** Something that has left on an uplink: the outside answers to some of it. */
  remember(left: Left, uplink: number): void {
    this.#left[uplink]![this.below(remembered)] = left;
  }

  /** A packet for the inside (-1) or an uplink, as its sender makes it. */
  whole(side: number): Made {
    return side < 0 ? this.#fromInside() : this.#fromOutside(side);
  }

  /** The same, broken in one of the ways in which packets break. */
  broken(side: number): Made {
    const { bytes, vnet } = this.whole(side);
    switch (this.below(6)) {
      case 0:
        return { bytes: bytes.slice(0, this.below(bytes.length + 1)), vnet };
      case 1:
        return { bytes: concat(bytes, data.subarray(0, this.below(60))), vnet };
      case 2:
        return { bytes: this.#scratched(bytes), vnet };
      case 3:
        return plain(this.#garbage());
      case 4:
        return { bytes, vnet: this.#lyingVnet() };
      default:
        return { bytes: this.#cutAnywhere(bytes), vnet };
    }
  }

  #fromInside(): Made {
    const source = `192.168.10.${1 + this.below(6)}:${1 + this.below(40)}`;
    const destination = `192.0.2.${1 + this.below(5)}:${this.pick([53, 80, 443])}`;
    const fields = {
      ...{ source, destination, identification: this.below(20), dontFragment: this.below(2) === 0 },
      ...{ data: this.#data([0, 1, 11, 100, 100, 1400, 3000]), tos: this.below(256), ttl: 1 + this.below(255) },
    };
    const hosts = { source: hostOf(source), destination: hostOf(destination) };
    switch (this.below(12)) {
      case 0:
        return plain(echo({ ...fields, ...hosts, type: this.pick([8, 8, 13, 0]), identifier: this.below(40) }));
      case 1: {
        const bytes = tcp({ ...fields, flags: ACK, checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, 0, this.pick([0, 1, 536, 1448])) };
      }
      case 2: {
        const bytes = udp({ ...fields, checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, 0, this.pick([0, 0, 500, 1472])) };
      }
      case 3:
        return plain(this.pick(fragmentsOf(udp({ ...fields, data }), 1480)));
      case 4:
        return plain(this.#errorFromInside(hosts.source));
      case 5:
        return plain(
          udp({ ...fields, options: Uint8Array.of(1, 1, 148, 4, 0, 0), checksum: this.pick(["right", "none"]) }),
        );
      case 6:
        return plain(ip({ ...fields, ...hosts, protocol: this.pick(otherProtocols), payload: fields.data }));
      case 7:
        return plain(this.#hairpin(fields));
      default:
        return plain(this.#segment(fields, [SYN, SYN, SYN, ACK, ACK, RST, FIN | ACK, SYN | ACK]));
    }
  }

  /** An answer to something that left, an error about it, or a stranger. */
  #fromOutside(uplink: number): Made {
    // Now and then to what left by another uplink.
    const left = this.#anyLeft(this.below(20) === 0 ? 1 - uplink : uplink);
    if (left === undefined) return plain(this.#garbage());
    const { source: destination, destination: source, sourcePort, destinationPort } = left;
    const ends = { source: `${source}:${destinationPort}`, destination: `${destination}:${sourcePort}` };
    const fields = { ...ends, data: this.#data([0, 5, 100, 1200, 2000]), identification: this.below(20) };
    const hosts = { source, destination };
    if (sourcePort === 0 && this.below(2) === 0) return plain(this.#answer(left, fields));
    switch (this.below(12)) {
      case 0:
        return plain(
          icmpError({ ...hosts, source: "198.51.100.77", type: this.pick([3, 11, 12]), quoted: left.bytes }),
        );
      case 1: {
        const quoted = left.bytes.slice(0, 28);
        return plain(icmpError({ ...hosts, type: 3, code: 4, nextHopMtu: this.below(2000), quoted }));
      }
      case 2:
        return plain(this.pick(fragmentsOf(udp({ ...fields, data }), 1480)));
      case 4: {
        const bytes = tcp({ ...this.#numbers(left), ...ends, flags: ACK, data, checksum: "partial" });
        return { bytes, vnet: partialVnet(bytes, this.#links[uplink], 1400) };
      }
      case 3:
        return plain(ip({ ...hosts, protocol: this.pick(otherProtocols), payload: fields.data }));
      case 5:
        return plain(this.#unasked(uplink));
      default:
        return plain(this.#answer(left, fields));
    }
  }

  #answer(left: Left, fields: Layer4Fields): Uint8Array {
    const hosts = { source: left.destination, destination: left.source };
    const { protocol, identifier, type } = left;
    if (protocol === UDP) return udp(fields);
    if (protocol === ICMP) return echo({ ...hosts, data: fields.data!, type: type === 13 ? 14 : 0, identifier });
    if (protocol !== TCP) return ip({ ...hosts, protocol, payload: fields.data! });
    return this.#segment({ ...fields, ...this.#numbers(left) }, [SYN | ACK, SYN | ACK, ACK, ACK, RST, FIN | ACK]);
  }

  #segment(fields: Layer4Fields, flags: readonly number[]): Uint8Array {
    const chosen = this.pick(flags);
    if ((chosen & SYN) === 0) return tcp({ ...fields, flags: chosen });
    // A maximum segment size, at an even or an odd place.
    const tcpOptions = concat(new Uint8Array(this.below(4)).fill(1), words(0x0204, this.pick([536, 1460, 8960])));
    return tcp({ ...fields, flags: chosen, tcpOptions });
  }

  /** Numbers that follow from a segment that left, as if nothing else had been said. */
  #numbers(left: Left): { sequence: number; acknowledgment: number } {
    return { sequence: 1, acknowledgment: 1 + left.data.length + ((left.flags & (SYN | FIN)) === 0 ? 0 : 1) };
  }

  /** To one of our own addresses: a port that is forwarded, a mapping, or neither. */
  #hairpin(fields: Layer4Fields): Uint8Array {
    const port = this.pick([80, 85, 90, firstPort + this.below(ports)]);
    const destination = `${this.pick(uplinkAddresses.slice(0, 2))}:${port}`;
    const turned = { ...fields, destination };
    return this.below(2) === 0 ? udp(turned) : this.#segment(turned, [SYN, SYN | ACK, ACK]);
  }

  /** The first packet of somebody outside: to a forwarded port, one near it, or any of the translator's. */
  #unasked(uplink: number): Uint8Array {
    const port = this.pick([79, 80, 85, 89, 90, firstPort + this.below(ports)]);
    const destination = `${uplinkAddresses[this.below(10) === 0 ? 1 - uplink : uplink]}:${port}`;
    const source = `192.0.2.${1 + this.below(8)}:${this.pick([53, 80, 4000 + this.below(20)])}`;
    const fields = { source, destination, data: this.#data([0, 3, 30]) };
    return this.below(2) === 0 ? udp(fields) : this.#segment(fields, [SYN, SYN, SYN, ACK, RST, FIN | ACK]);
  }

  #errorFromInside(source: string): Uint8Array {
    const left = this.#anyLeft(this.below(2));
    if (left === undefined) return this.#garbage();
    const inside = `192.168.10.${1 + this.below(6)}:${1 + this.below(40)}`;
    const quoted = udp({ source: `${left.destination}:${left.destinationPort}`, destination: inside });
    return icmpError({ source, destination: left.destination, type: 3, code: 3, quoted });
  }

  #scratched(whole: Uint8Array): Uint8Array {
    const bytes = whole.slice();
    for (let i = this.below(4); i >= 0; i--) {
      const at = this.below(Math.min(bytes.length, 60));
      bytes[at] = at >= 12 && at < 16 ? this.pick(sourceBytes) : this.below(256);
    }
    if (this.below(2) === 0) mendHeader(bytes);
    return bytes;
  }

  /** Garbage, which is among the whole packets while nothing has left yet, is no packet to cut. */
  #cutAnywhere(bytes: Uint8Array): Uint8Array {
    if (bytes.length < 20 || ((bytes[2]! << 8) | bytes[3]!) !== bytes.length) return bytes;
    const whole = parse(bytes);
    const payload = whole.payload.slice(0, this.below(whole.payload.length + 1));
    return ip({ ...whole, payload, offset: this.below(8192) * 8, moreFragments: this.below(2) === 0 });
  }

  #lyingVnet(): VnetFields {
    return {
      flags: this.below(4),
      gsoType: this.pick([0, 1, 3, 4, 5, 0x80, 0x81, 0xff]),
      headerLength: this.pick([0, 40, 54, 65_535]),
      gsoSize: this.pick([0, 1, 1448, 65_535]),
      checksumStart: this.pick([0, 20, 34, 65_530]),
      checksumOffset: this.pick([0, 6, 16, 65_535]),
    };
  }

  /** Hardly ever a header whose checksum is right. */
  #garbage(): Uint8Array {
    return Uint8Array.from({ length: this.below(200) }, (_, i) =>
      i === 0 ? 0x45 : i >= 12 && i < 16 ? this.pick(sourceBytes) : this.below(256),
    );
  }

  #data(lengths: readonly number[]): Uint8Array {
    return data.subarray(0, this.pick(lengths));
  }

  #anyLeft(uplink: number): Left | undefined {
    return this.#left[uplink]![this.below(remembered)];
  }
}

function plain(bytes: Uint8Array): Made {
  return { bytes, vnet: {} };
}

function hostOf(endpoint: string): string {
  return endpoint.split(":")[0]!;
}
