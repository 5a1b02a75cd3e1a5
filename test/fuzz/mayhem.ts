/**
 * A box with one worker or two, and both sides of it full of packets of all sorts (packets.ts), while uplinks come, go and
 * change. What must hold whatever happens is checked at once, beside what the rig refuses already (a foreign source on an
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
import { errorSource, firstPort, type Left, openWorkers, type Rig, uplinkAddresses } from "../path/rig.ts";
import { finishPartial, ICMP, parse, TCP, UDP } from "../support/packets.ts";
import { ownerInside, ownerOutside } from "./owner.ts";
import { forwardedHost, forwards, Packets, ports, sourceOf } from "./packets.ts";
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
  /** Packets made, packets that left anywhere, and turns in which a worker got mail. */
  made = 0;
  left = 0;
  mails = 0;
  readonly #packets: Packets;
  /** Every source that was seen inside, broken ones too. */
  readonly #insiders = new Set<string>();
  /** Whether all packets of this turn are whole. */
  #isWhole = false;

  constructor({ seed, workers, filtering }: MayhemOptions) {
    this.#packets = new Packets(seed, links);
    this.rigs = openWorkers(workers, {
      ...{ links, seed, startMs, filtering, forwards, flows: 300, flowsPerHost: 150 },
      ...{ lastPort: firstPort + ports - 1, receiveSlots: turnPackets, scratchSlots: 64 },
    });
    this.#first.steerTo((hash) => hash % 2);
    this.#insiders.add(forwardedHost);
  }

  turn(): void {
    const packets = this.#packets;
    this.#isWhole = packets.below(3) > 0;
    for (let i = 0; i < turnPackets; i++) {
      const side = packets.below(3) - 1;
      const { bytes, vnet } = this.#isWhole || packets.below(2) > 0 ? packets.whole(side) : packets.broken(side);
      if (side < 0) {
        this.#insiders.add(sourceOf(bytes));
        this.rigs[ownerInside(bytes, this.rigs.length)]!.injectInside(bytes, vnet);
      } else {
        const owner = ownerOutside(bytes, side, this.rigs.length, forwards);
        this.rigs[owner]!.injectUplink(side, bytes, vnet);
      }
      this.made++;
    }
    this.#run();
    for (const rig of this.rigs) {
      for (const uplink of [0, 1]) for (const left of rig.left(uplink)) this.#judgeOutside(left, uplink);
      for (const left of rig.left(-1)) this.#judgeInside(left);
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
    const port = isQuery ? left.identifier : left.sourcePort;
    if (left.offset > 0 || (!isQuery && left.protocol !== TCP && left.protocol !== UDP)) return;
    const isOurs = port >= firstPort && port < firstPort + ports;
    const isForwarded = forwards.some((forward) => port >= forward.firstPort && port <= forward.lastPort);
    assert.ok(isOurs || (isForwarded && !isQuery), `a packet left with the port ${port}`);
  }

  #judgeInside(left: Left): void {
    this.left++;
    this.#judge(left, 0);
    assert.ok(
      this.#insiders.has(left.destination) || left.source === errorSource,
      `a packet for ${left.destination} went inside`,
    );
  }

  #judge(left: Left, linkBytes: number): void {
    checkVnet(left, linkBytes);
    if (!this.#isWhole || left.moreFragments || left.offset > 0) return;
    if (left.protocol !== TCP && left.protocol !== UDP && left.protocol !== ICMP) return;
    const finished = (left.vnet.flags & 1) === 0 ? left : parse(finishPartial(left.bytes));
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
    else if (dice < 14) this.#first.steerTo(packets.pick([0, 1, noUplink]));
    else if (dice < 20) this.#first.steerTo((hash) => hash % 2);
    for (const rig of this.rigs) rig.nowMs += passedMs;
  }
}
