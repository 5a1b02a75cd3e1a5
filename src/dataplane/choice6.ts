/** Which uplink a new IPv6 flow gets: the addresses as numbers for choice.ts, the rest as admission.ts has it. */
import { packetWord } from "../tables/batch.ts";
import type { SharedState } from "../tables/shared-state.ts";
import { ipv6 } from "../wire/ipv6.ts";
import { ableUplinks, type ChoiceOptions, isIn, UplinkChoice } from "./choice.ts";
import { addressHash6, networkHash6 } from "./classify.ts";
import type { Conntrack } from "./conntrack.ts";
import type { FlowPolicy } from "./flow-policy.ts";
import type { Uplinks6 } from "./uplinks6.ts";

export interface Choice6Options extends ChoiceOptions {
  shared: SharedState;
}

export class Choice6 {
  /** The group of the flow that was asked for last. */
  group = 0;
  readonly #options: Choice6Options;
  readonly #view: DataView;
  readonly #conntrack: Conntrack;
  readonly #uplinks: Uplinks6;
  readonly #choice: UplinkChoice;
  /** What stands for its addresses: names say nothing outside of this worker and change with time. */
  #from = 0;
  #to = 0;

  constructor(options: Choice6Options, view: DataView, conntrack: Conntrack, uplinks: Uplinks6) {
    this.#options = options;
    this.#view = view;
    this.#conntrack = conntrack;
    this.#uplinks = uplinks;
    this.#choice = new UplinkChoice(options);
  }

  /** Chooses by another policy from now on. */
  follow(policy: FlowPolicy): void {
    this.#choice.follow(policy);
  }

  /** An uplink, `noUplink` or `notReady`, for the packet at `p` between these names; not `avoid`. */
  choose(rows: Int32Array, p: number, source: number, destination: number, avoid: number, nowS: number): number {
    const { shared, balanceKey0, balanceKey1 } = this.#options;
    const ports = rows[p + packetWord.ports]!;
    const protocol = rows[p + packetWord.protocol]!;
    this.#from = this.#addressHash(source);
    this.#to = this.#addressHash(destination);
    const group = this.#groupOf(rows, p, nowS);
    this.group = group;
    const mask = shared.masks6[group]!;
    const able = ableUplinks(this.#uplinks, avoid);
    const mapped = this.#conntrack.mappedUplink(source, ports, protocol);
    if (isIn(mask & able, mapped)) return mapped;
    const { names } = this.#conntrack;
    const network = this.#choice.wantsNearest
      ? networkHash6(balanceKey0, balanceKey1, names.word(destination, 0), names.word(destination, 1))
      : 0;
    const lookup6 = shared.lookups6[group]!;
    return this.#choice.choose(lookup6, group, mask, able, this.#from, this.#to, network, ports, protocol, nowS);
  }

  /** Takes note of where the flow that was asked for last went. */
  remember(uplink: number, nowS: number): void {
    this.#choice.remember(this.group, this.#from, this.#to, uplink, nowS);
  }

  /** The group of uplinks that the rules send a flow to. */
  #groupOf(rows: Int32Array, p: number, nowS: number): number {
    if (!this.#choice.hasRules) return 0;
    const view = this.#view;
    const at = rows[p + packetWord.at]!;
    // The traffic class lies across the first two bytes.
    const dscp = (view.getUint16(at) >>> 6) & 0x3f;
    const ports = rows[p + packetWord.ports]!;
    const protocol = rows[p + packetWord.protocol]!;
    const sourceAt = at + ipv6.source;
    return this.#choice.groupOf6(view, sourceAt, at + ipv6.destination, this.#to, ports, protocol, dscp, nowS);
  }

  #addressHash(name: number): number {
    const { balanceKey0, balanceKey1 } = this.#options;
    const { names } = this.#conntrack;
    const word3 = names.word(name, 3);
    return addressHash6(balanceKey0, balanceKey1, names.word(name, 0), names.word(name, 1), names.word(name, 2), word3);
  }
}
