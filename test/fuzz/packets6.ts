/** The packets of IPv6 among those of packets.ts: the same kinds, with extension headers, and what never leaves its link. */
import { firstPort, type Left6, uplinkAddresses6 } from "../path/rig.ts";
import { ACK, concat, ESP, FIN, GRE, ICMP, pattern, RST, SCTP, SYN, TCP, UDP, words } from "../support/packets.ts";
import {
  DESTINATION_OPTIONS,
  echo6,
  fragmentsOf6,
  HOP_BY_HOP,
  ICMPV6,
  icmpError6,
  ip6,
  type Layer46Fields,
  padding,
  partialVnet6,
  ROUTING,
  tcp6,
  udp6,
} from "../support/packets6.ts";
import { type Made, type Packets, ports } from "./packets.ts";

const remembered = 64;
const data = pattern(4000);
const otherProtocols = [GRE, ESP, SCTP, ICMP, 59, 255];
/** What is of the link: listener reports and neighbour discovery. */
const linkTypes = [130, 131, 133, 134, 135, 136, 137, 143];
/** First bytes of addresses: of nobody, documentation, unique local, link-local, multicast. */
const firstBytes = [0, 0x20, 0xfd, 0xfe, 0xff];

export class Packets6 {
  readonly #dice: Packets;
  readonly #links: readonly number[];
  readonly #left: Left6[][];

  /** `dice`: where the numbers come from. */
  constructor(dice: Packets, links: readonly number[]) {
    this.#dice = dice;
    this.#links = links;
    this.#left = links.map(() => []);
  }

  remember(left: Left6, uplink: number): void {
    this.#left[uplink]![this.#dice.below(remembered)] = left;
  }

  /** A packet for the inside (-1) or an uplink, as its sender makes it. */
  whole(side: number): Made {
    if (side < 0) return this.#fromInside();
    const left = this.#left[this.#dice.below(20) === 0 ? 1 - side : side]![this.#dice.below(remembered)];
    return left === undefined ? { bytes: this.#unasked(side), vnet: {} } : this.#fromOutside(side, left);
  }

  broken(side: number): Made {
    const dice = this.#dice;
    const { bytes, vnet } = this.whole(side);
    switch (dice.below(4)) {
      case 0:
        return { bytes: bytes.slice(0, dice.below(bytes.length + 1)), vnet };
      case 1:
        return { bytes: concat(bytes, data.subarray(0, dice.below(60))), vnet };
      case 2: {
        const extended = dice.pick([HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS]);
        return { bytes: scratched(bytes.with(6, extended), dice), vnet };
      }
      default:
        return { bytes: scratched(bytes, dice), vnet };
    }
  }

  #fromInside(): Made {
    const dice = this.#dice;
    const source = `fd00:10::${1 + dice.below(4)}`;
    const destination = `2001:db8:ff::${1 + dice.below(5)}`;
    const hosts = { source, destination };
    const fields = {
      ...{ source: `[${source}]:${1 + dice.below(20)}`, destination: `[${destination}]:${dice.pick([53, 80, 443])}` },
      ...{
        data: this.#data([0, 1, 11, 100, 1400, 3000]),
        flowLabel: dice.below(2 ** 20),
        hopLimit: 1 + dice.below(255),
      },
    };
    switch (dice.below(12)) {
      case 0:
        return plain(
          echo6({ ...hosts, data: fields.data, identifier: dice.below(40), type: dice.pick([128, 128, 129]) }),
        );
      case 1: {
        const bytes = tcp6({ ...fields, flags: dice.pick([SYN, ACK]), checksum: "partial" });
        return { bytes, vnet: partialVnet6(bytes, 0, dice.pick([0, 1, 536, 1428])) };
      }
      case 2: {
        const bytes = udp6({ ...fields, checksum: "partial" });
        return { bytes, vnet: partialVnet6(bytes, 0, dice.pick([0, 0, 500, 1452])) };
      }
      case 3:
        return plain(dice.pick(fragmentsOf6(udp6({ ...fields, data }), 1232, dice.below(20))));
      case 4:
        return plain(this.#errorFromInside(source));
      case 5: {
        const extensions = [padding(HOP_BY_HOP), padding(DESTINATION_OPTIONS, dice.below(3))];
        return plain(udp6({ ...fields, extensions: extensions.slice(dice.below(2)) }));
      }
      case 6:
        return plain(ip6({ ...hosts, protocol: dice.pick(otherProtocols), payload: fields.data }));
      case 7:
        return plain(this.#hairpin(fields));
      case 8:
        return plain(
          echo6({ source: dice.pick([source, "fe80::1"]), destination: "ff02::1", type: dice.pick(linkTypes) }),
        );
      case 9:
        return plain(udp6(fields));
      default:
        return plain(this.#segment(fields, [SYN, SYN, SYN, ACK, ACK, RST, FIN | ACK, SYN | ACK]));
    }
  }

  #fromOutside(uplink: number, left: Left6): Made {
    const dice = this.#dice;
    const hosts = { source: left.destination, destination: left.source };
    const fields = {
      source: `[${left.destination}]:${left.destinationPort}`,
      destination: `[${left.source}]:${left.sourcePort}`,
      data: this.#data([0, 5, 100, 1200, 2000]),
    };
    switch (dice.below(9)) {
      case 0: {
        const quoted = left.bytes.slice(0, dice.pick([48, 60, 1232]));
        return plain(icmpError6({ ...hosts, source: "2001:db8:77::1", type: dice.pick([1, 3, 4]), quoted }));
      }
      case 1:
        return plain(icmpError6({ ...hosts, type: 2, mtu: dice.below(2000), quoted: left.bytes.slice(0, 1232) }));
      case 2:
        return plain(dice.pick(fragmentsOf6(udp6({ ...fields, data }), 1232, dice.below(20))));
      case 3: {
        if (left.protocol !== TCP) return plain(this.#answer(left, fields));
        const bytes = tcp6({ ...fields, ...numbers(left), flags: ACK, data, checksum: "partial" });
        return { bytes, vnet: partialVnet6(bytes, this.#links[uplink], 1400) };
      }
      case 4:
        return plain(this.#unasked(uplink));
      default:
        return plain(this.#answer(left, fields));
    }
  }

  #answer(left: Left6, fields: Layer46Fields): Uint8Array {
    const hosts = { source: left.destination, destination: left.source };
    const { protocol, identifier } = left;
    if (protocol === UDP) return udp6(fields);
    if (protocol === ICMPV6) return echo6({ ...hosts, data: fields.data!, type: 129, identifier });
    if (protocol !== TCP) return ip6({ ...hosts, protocol, payload: fields.data! });
    return this.#segment({ ...fields, ...numbers(left) }, [SYN | ACK, SYN | ACK, ACK, ACK, RST, FIN | ACK]);
  }

  #segment(fields: Layer46Fields, flags: readonly number[]): Uint8Array {
    const dice = this.#dice;
    const chosen = dice.pick(flags);
    if ((chosen & SYN) === 0) return tcp6({ ...fields, flags: chosen });
    const tcpOptions = concat(new Uint8Array(dice.below(4)).fill(1), words(0x0204, dice.pick([536, 1440, 8940])));
    return tcp6({ ...fields, flags: chosen, tcpOptions });
  }

  #hairpin(fields: Layer46Fields): Uint8Array {
    const port = this.#dice.pick([80, firstPort + this.#dice.below(ports)]);
    const destination = `[${this.#dice.pick(uplinkAddresses6.slice(0, 2))}]:${port}`;
    const turned = { ...fields, destination };
    return this.#dice.below(2) === 0 ? udp6(turned) : this.#segment(turned, [SYN, SYN | ACK, ACK]);
  }

  #unasked(uplink: number): Uint8Array {
    const dice = this.#dice;
    const destination = `[${uplinkAddresses6[uplink]}]:${dice.pick([80, firstPort + dice.below(ports)])}`;
    const source = `[2001:db8:ff::${1 + dice.below(8)}]:${dice.pick([53, 80, 4000])}`;
    const fields = { source, destination, data: this.#data([0, 3, 30]) };
    return dice.below(2) === 0 ? udp6(fields) : this.#segment(fields, [SYN, SYN, ACK, RST]);
  }

  #errorFromInside(source: string): Uint8Array {
    const dice = this.#dice;
    const left = this.#left[dice.below(2)]![dice.below(remembered)];
    if (left === undefined) return udp6({ source: `[${source}]:1`, destination: "[2001:db8:ff::1]:53" });
    const inside = `[fd00:10::${1 + dice.below(6)}]:${1 + dice.below(40)}`;
    const quoted = udp6({ source: `[${left.destination}]:${left.destinationPort}`, destination: inside });
    return icmpError6({ source, destination: left.destination, type: 1, code: 4, quoted });
  }

  #data(lengths: readonly number[]): Uint8Array {
    return data.subarray(0, this.#dice.pick(lengths));
  }
}

/** Some bytes changed, of the source only the first, so that there are not too many of them to remember. */
function scratched(whole: Uint8Array, dice: Packets): Uint8Array {
  const bytes = whole.slice();
  for (let i = dice.below(4); i >= 0; i--) {
    const at = dice.below(Math.min(bytes.length, 80));
    if (at === 8) bytes[at] = dice.pick(firstBytes);
    else if (at < 8 || at >= 24) bytes[at] = dice.below(256);
  }
  return bytes;
}

/** Numbers that follow from a segment that left, as if nothing else had been said. */
function numbers(left: Left6): { sequence: number; acknowledgment: number } {
  return { sequence: 1, acknowledgment: 1 + left.data.length + ((left.flags & (SYN | FIN)) === 0 ? 0 : 1) };
}

function plain(bytes: Uint8Array): Made {
  return { bytes, vnet: {} };
}
