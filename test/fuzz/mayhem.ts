/**
 * A box with one worker or two, and both sides of it full of packets of all sorts (packets.ts), while uplinks come, go and
 * change. What must hold whatever happens is checked at once, beside what leaves.ts refuses already (a foreign source on an
 * uplink, a wrong header checksum, a length that is not true):
 *
 *   - what leaves has one of our ports, and what goes inside is for somebody inside
 *   - a vnet header that leaves is one that the kernel takes
 *   - in a turn without broken packets, every checksum that leaves is right
 *   - the tables keep their promises, and no two workers have one external tuple
 */
import assert from "node:assert/strict";
import { noUplink } from "../../src/tables/shared-state.ts";
import { checkInvariants, openFlows } from "../model/invariants.ts";
import {
  firstPort,
  type Left,
  type Left6,
  openWorkers,
  type Rig,
  uplinkAddresses,
  uplinkAddresses6,
} from "../path/rig.ts";
import { finishPartial, ICMP, parse, TCP, UDP } from "../support/packets.ts";
import { finishPartial6, ICMPV6, parse6 } from "../support/packets6.ts";
import { plainPolicy } from "../support/plain-policy.ts";
import { takeLeft } from "./leaves.ts";
import { ownerInside, ownerOutside } from "./owner.ts";
import { forwardedHost, forwards, Packets, ports } from "./packets.ts";
import { Packets6 } from "./packets6.ts";
import { checkVnet } from "./vnet.ts";

export interface MayhemOptions {
  seed: number;
  workers: number;
  /** A number of `filtering`. */
  filtering: number;
}

const links = [14, 0];
const turnPackets = 64;
/** The clock of the flows wraps at 2^31 ms: early in a long run. */
const startMs = 2 ** 31 - 50_000_000;
/** Turns of the loop that a batch may take until all is quiet. */
const mostTurns = 200;

export class Mayhem {
  readonly rigs: Rig[];
  /** Packets made, packets that left anywhere, those of IPv6 on an uplink, and turns in which a worker got mail. */
  made = 0;
  left = 0;
  left6 = 0;
  mails = 0;
  readonly #packets: Packets;
  readonly #packets6: Packets6;
  /** Every source that was seen inside, broken ones too. */
  readonly #insiders = new Set<string>();
  /** Whether all packets of this turn are whole. */
  #isWhole = false;

  constructor({ seed, workers, filtering }: MayhemOptions) {
    this.#packets = new Packets(seed, links);
    this.#packets6 = new Packets6(this.#packets, links);
    this.rigs = openWorkers(workers, {
      ...{ links, seed, startMs, filtering, hasIpv6: true, forwards, flows: 300, flowsPerHost: 150 },
      policy: { ...plainPolicy, rescue: true },
      ...{ lastPort: firstPort + ports - 1, receiveSlots: turnPackets, scratchSlots: 64 },
    });
    this.#first.steerTo((hash) => hash % 2);
    this.#insiders.add(Buffer.from(forwardedHost.split(".").map(Number)).toString("hex"));
  }

  turn(): void {
    const packets = this.#packets;
    this.#isWhole = packets.below(3) > 0;
    for (let i = 0; i < turnPackets; i++) {
      const side = packets.below(3) - 1;
      const family = packets.below(3) === 0 ? this.#packets6 : packets;
      const { bytes, vnet } = this.#isWhole || packets.below(2) > 0 ? family.whole(side) : family.broken(side);
      if (side < 0) {
        this.#insiders.add(addressOf(bytes, "source"));
        this.rigs[ownerInside(bytes, this.rigs.length)]!.injectInside(bytes, vnet);
      } else {
        const owner = ownerOutside(bytes, side, this.rigs.length, forwards);
        this.rigs[owner]!.injectUplink(side, bytes, vnet);
      }
      this.made++;
    }
    this.#run();
    for (const rig of this.rigs) {
      for (const uplink of [0, 1]) {
        const { four, six } = takeLeft(rig, uplink);
        for (const left of four) this.#judgeOutside(left, uplink);
        for (const left of six) this.#judgeOutside6(left, uplink);
      }
      const { four, six } = takeLeft(rig, -1);
      for (const left of [...four, ...six]) this.#judgeInside(left);
    }
    this.#shake();
  }

  /** Walks all tables. */
  check(): void {
    const tuples = new Set<string>();
    for (const [worker, rig] of this.rigs.entries()) {
      checkInvariants(rig.forwarder.conntrack, this.#first.shared.counters(worker));
      for (const { protocol, remote, remotePort, mapped, mappedPort } of openFlows(rig.forwarder.conntrack)) {
        const tuple = [protocol, remote, remotePort, mapped, mappedPort].join(" ");
        assert.ok(!tuples.has(tuple), `two flows have the external tuple ${tuple}`);
        tuples.add(tuple);
      }
    }
  }

  /** Lets everything end, and shows that nothing is left. */
  finish(): void {
    for (const rig of this.rigs) {
      rig.pass(8_000_000);
      rig.pass(1000);
      assert.equal(rig.openFlows, 0);
      assert.equal(rig.forwarder.conntrack.mappings.open, 0);
    }
    for (let worker = 0; worker < this.rigs.length; worker++) {
      for (const value of this.#first.shared.counters(worker)) assert.ok(Number.isSafeInteger(value) && value >= 0);
    }
  }

  /** Drops by name, all workers together. */
  get drops(): Record<string, number> {
    const sum: Record<string, number> = {};
    for (const { drops } of this.rigs) {
      for (const [name, count] of Object.entries(drops)) sum[name] = (sum[name] ?? 0) + count;
    }
    return sum;
  }

  get #first(): Rig {
    return this.rigs[0]!;
  }

  /** All workers' turns, until nobody has anything to do. */
  #run(): void {
    for (let turns = 0, quiet = 0; quiet < 2; turns++) {
      assert.ok(turns < mostTurns, `not quiet after ${turns} turns`);
      let busy = 0;
      for (const rig of this.rigs) {
        busy += rig.forwarder.breath(0) + rig.woken.length;
        this.mails += rig.woken.length;
        rig.woken.length = 0;
      }
      quiet = busy === 0 ? quiet + 1 : 0;
    }
  }

  #judgeOutside(left: Left, uplink: number): void {
    this.left++;
    this.#packets.remember(left, uplink);
    this.#judge(left, links[uplink]!);
    const isQuery = left.protocol === ICMP && left.type !== 3 && left.type !== 11 && left.type !== 12;
    if (left.offset > 0 || (!isQuery && left.protocol !== TCP && left.protocol !== UDP)) return;
    const port = isQuery ? left.identifier : left.sourcePort;
    const isForwarded = forwards.some((forward) => port >= forward.firstPort && port <= forward.lastPort);
    assert.ok(isOurs(port) || (isForwarded && !isQuery), `a packet left with the port ${port}`);
  }

  #judgeOutside6(left: Left6, uplink: number): void {
    this.left++;
    this.left6++;
    this.#packets6.remember(left, uplink);
    this.#judge(left, links[uplink]!);
    const isEcho = left.protocol === ICMPV6 && left.type >= 128;
    if ((left.fragment?.offset ?? 0) > 0 || (!isEcho && left.protocol !== TCP && left.protocol !== UDP)) return;
    const port = isEcho ? left.identifier : left.sourcePort;
    assert.ok(isOurs(port), `a packet left with the port ${port}`);
  }

  #judgeInside(left: Left | Left6): void {
    this.left++;
    this.#judge(left, 0);
    const isInsider = this.#insiders.has(addressOf(left.bytes, "destination"));
    assert.ok(isInsider, `a packet for ${left.destination} went inside`);
  }

  #judge(left: Left | Left6, linkBytes: number): void {
    checkVnet(left, linkBytes);
    const isPartial = (left.vnet.flags & 1) !== 0;
    if (!this.#isWhole || !hasChecksum(left)) return;
    const finished = !isPartial
      ? left
      : "l4" in left
        ? parse6(finishPartial6(left.bytes))
        : parse(finishPartial(left.bytes));
    assert.ok(finished.checksumOk, `a packet of protocol ${left.protocol} left with a wrong checksum`);
  }

  /** What happens beside the packets. */
  #shake(): void {
    const packets = this.#packets;
    const dice = packets.below(100);
    const uplink = packets.below(2);
    let passedMs = packets.below(50);
    if (dice < 4) passedMs += packets.below(400_000);
    else if (dice < 8) this.#first.setUplink(uplink, { ready: packets.below(3) === 0 ? 0 : 1 });
    else if (dice < 10) this.#first.setUplink(uplink, { mtu: packets.pick([68, 576, 1280, 1500, 9000, 65_535]) });
    else if (dice < 12)
      this.#first.setUplink(uplink, { address: packets.pick([uplinkAddresses[uplink]!, `203.0.113.${90 + uplink}`]) });
    else if (dice < 13) this.#first.setUplink(uplink, { ready6: packets.below(4) === 0 ? 0 : 1 });
    else if (dice < 14) {
      const usual = uplinkAddresses6[uplink]!;
      this.#first.setUplink(uplink, { address6: packets.pick([usual, usual, usual, `2001:db8:9${uplink}::9`, ""]) });
    } else if (dice < 16) this.#first.steerTo(packets.pick([0, 1, noUplink]));
    else if (dice < 22) this.#first.steerTo((hash) => hash % 2);
    else if (dice < 26) this.#first.setUplink(uplink, { cutAll: packets.below(2 ** 30) });
    else if (dice < 28) this.#first.setUplink(uplink, { cutDisplaced: packets.below(2 ** 30) });
    else if (dice < 30) this.#first.setUplink(uplink, { standsIn: packets.below(2) });
    for (const rig of this.rigs) rig.nowMs += passedMs;
  }
}

/** The bytes of an end's address in hexadecimal, as far as the packet has them. */
function addressOf(bytes: Uint8Array, end: "source" | "destination"): string {
  const [at, length] = bytes[0]! >>> 4 === 6 ? [8, 16] : [12, 4];
  const from = end === "source" ? at : at + length;
  return Buffer.from(bytes.subarray(from, from + length)).toString("hex");
}

/** Whether a packet is whole and of a protocol whose checksum is known here. */
function hasChecksum(left: Left | Left6): boolean {
  if ("l4" in left) return left.fragment === null && [TCP, UDP, ICMPV6].includes(left.protocol);
  return !left.moreFragments && left.offset === 0 && [TCP, UDP, ICMP].includes(left.protocol);
}

function isOurs(port: number): boolean {
  return port >= firstPort && port < firstPort + ports;
}
