/**
 * A TCP connection between two ends that keep their own numbers, for tests that say what happens and not which
 * number comes next. `inside` began it unless told; every segment goes through the rig.
 */
import { tcpStateNames } from "../../src/dataplane/tcp-state.ts";
import { ACK, concat, FIN, partialVnet, SYN, type TcpFields, tcp, words } from "../support/packets.ts";
import { client, type Left, Rig, type RigOptions, server, uplinkAddresses } from "./rig.ts";

export interface End {
  /** The number of the next byte to send. */
  next: number;
  /** What it acknowledges: the number of the byte it expects. */
  expects: number;
  /** The field as it stands in segments after the SYN. */
  window: number;
  /** The shift it offers with its SYN; undefined: none. */
  scale: number | undefined;
}

export interface ConnectionOptions extends RigOptions {
  insideStart?: number;
  remoteStart?: number;
  insideWindow?: number;
  remoteWindow?: number;
  insideScale?: number;
  remoteScale?: number;
}

/** Fields of one segment that are not what the end's own numbers say. */
export interface SegmentFields extends Pick<TcpFields, "data" | "flags" | "window" | "tcpOptions" | "checksum"> {
  /** Where it begins, counted from the next byte to send. */
  ahead?: number;
  /** What it acknowledges, counted from what the end expects. */
  acknowledgesAhead?: number;
  /** Send it as a super-packet with segments of this size. */
  gsoSize?: number;
}

export class Connection {
  readonly rig: Rig;
  readonly inside: End;
  readonly remote: End;
  readonly insideEndpoint = `${client}:5000`;
  readonly remoteEndpoint = `${server}:80`;
  /** As the remote sees the inside; known once something has left. */
  mappedEndpoint = "";

  constructor(options: ConnectionOptions = {}) {
    const { insideStart = 1000, remoteStart = 5_000_000, insideWindow = 0xfaf0, remoteWindow = 0xfaf0 } = options;
    this.rig = new Rig(options);
    this.inside = { next: insideStart, expects: 0, window: insideWindow, scale: options.insideScale };
    this.remote = { next: remoteStart, expects: 0, window: remoteWindow, scale: options.remoteScale };
  }

  /** One that has shaken hands. */
  static open(options: ConnectionOptions = {}): Connection {
    const connection = new Connection(options);
    connection.send({ flags: SYN });
    connection.answer({ flags: SYN | ACK });
    connection.send();
    return connection;
  }

  /** A segment of the inside's; what left of it on the uplink, undefined when nothing did. The ends' numbers follow, unless it was sent out of order. */
  send(fields: SegmentFields = {}): Left | undefined {
    const { bytes, gsoSize } = this.#segment(this.inside, this.insideEndpoint, this.remoteEndpoint, fields);
    const [left] = this.rig.out(bytes, 0, gsoSize === 0 ? {} : partialVnet(bytes, 0, gsoSize));
    if (left !== undefined) this.mappedEndpoint = `${uplinkAddresses[0]}:${left.sourcePort}`;
    if (fields.ahead === undefined) this.#follow(this.inside, this.remote, fields, left !== undefined);
    return left;
  }

  /** A segment of the remote's, likewise. */
  answer(fields: SegmentFields = {}): Left | undefined {
    const { bytes, gsoSize } = this.#segment(this.remote, this.remoteEndpoint, this.mappedEndpoint, fields);
    const [left] = this.rig.in(bytes, 0, gsoSize === 0 ? {} : partialVnet(bytes, 14, gsoSize));
    if (fields.ahead === undefined) this.#follow(this.remote, this.inside, fields, left !== undefined);
    return left;
  }

  /** Its flow's state, by name; "gone" when there is no flow. */
  get state(): string {
    const { conntrack } = this.rig.forwarder;
    for (let flow = 1; flow < conntrack.flows.end; flow++) {
      if (conntrack.flows.isOpen(flow)) return tcpStateNames[conntrack.state(flow)]!;
    }
    return "gone";
  }

  #segment(end: End, source: string, destination: string, fields: SegmentFields) {
    const { ahead = 0, acknowledgesAhead = 0, gsoSize = 0, flags = ACK, ...rest } = fields;
    const isSyn = (flags & SYN) !== 0;
    const tcpOptions = isSyn && end.scale !== undefined ? scaleOption(end.scale) : new Uint8Array();
    const bytes = tcp({
      source,
      destination,
      sequence: (end.next + ahead) >>> 0,
      acknowledgment: (flags & ACK) === 0 ? 0 : (end.expects + acknowledgesAhead) >>> 0,
      window: end.window,
      tcpOptions,
      checksum: gsoSize === 0 ? "right" : "partial",
      ...rest,
      flags,
    });
    return { bytes, gsoSize };
  }

  /** The other end has got it, if it got through, and will acknowledge it with what it sends next. */
  #follow(end: End, other: End, { data, flags = ACK }: SegmentFields, arrived: boolean): void {
    const length = (data?.length ?? 0) + ((flags & (SYN | FIN)) === 0 ? 0 : 1);
    if (arrived && ((flags & SYN) !== 0 || other.expects === end.next >>> 0)) other.expects = (end.next + length) >>> 0;
    end.next = (end.next + length) >>> 0;
  }
}

/** Window scale, after a no-operation. */
export function scaleOption(shift: number): Uint8Array {
  return concat(words(0x0103), Uint8Array.of(3, shift));
}
