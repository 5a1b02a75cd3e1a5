/**
 * The program that replays packets: it holds the far ends of the router's LAN and uplinks, sends what a plan says and
 * tells what came out. Run in the namespace that has the three devices: `node replay.ts PLAN-FILE`, which prints a `Replayed`.
 *
 * Every step is followed by a fence on each way that its packets may take, a datagram that is sure to pass: when the
 * fences are through, so is what was not dropped. So nothing waits for a time, and a drop costs no more than a packet that passes.
 */

import { readFileSync } from "node:fs";
import { loadNative } from "../../../src/io/native.ts";
import { DeviceLoop } from "../../support/device-loop.ts";
import { describeLink } from "../../support/own-network.ts";
import { concat, parse, udp, words } from "../../support/packets.ts";
import { client1, uplinkAddress } from "../../support/topology.ts";
import { Mapped } from "./mapped.ts";
import type { Outcome, Plan, Replayed } from "./plan.ts";

const ETH_P_ALL = 0x0003;
const fenceRemote = "192.0.2.60:9";
const firstFencePort = 61_000;
/** Tried for a fence flow on every uplink: fewer than one in a million runs finds none. */
const fenceTries = 40;
const fenceMark = new TextEncoder().encode("fence of sluice ");
const deadlineMs = 5000;
/** Room for a datagram in 190 fragments. */
const slots = { receiveSlots: 256, scratchSlots: 256 };
const uplinkAddresses = [uplinkAddress.isp1, uplinkAddress.isp2];
const names = ["inside", "uplink0", "uplink1"];
const inside = 0;

interface Fence {
  /** Inside. */
  source: string;
  /** Outside. */
  mapped: string;
}

class Replay {
  readonly #plan: Plan;
  readonly #links = names.map(describeLink);
  readonly #loop: DeviceLoop;
  readonly #mapped = new Mapped();
  readonly #fences: Fence[] = [];
  #sequence = 0;
  #left = 0;
  #foreign = 0;
  #private = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    const native = loadNative();
    const options = { protocol: ETH_P_ALL, vnetHeader: true, ignoreOutgoing: true, filter: null };
    const buffers = { receiveBufferBytes: 8 << 20, sendBufferBytes: 8 << 20 };
    const fds = this.#links.map(({ ifindex }) => native.packetOpen({ ifindex, ...options, ...buffers }));
    this.#loop = new DeviceLoop(
      fds.map((fd) => ({ fd, kind: "packet" })),
      slots,
    );
  }

  run(): Replayed {
    this.#findFences();
    const outcomes = this.#plan.steps.map(({ side, packets }) => {
      const bytes = packets.map((packet) => new Uint8Array(Buffer.from(packet, "hex")));
      return side === "inside" ? this.#out(bytes) : this.#in(bytes);
    });
    return { outcomes, left: this.#left, foreign: this.#foreign, private: this.#private };
  }

  #out(packets: Uint8Array[]): Outcome {
    for (const packet of packets) this.#send(inside, packet);
    const [inwards, ...outwards] = this.#fenced();
    for (const [uplink, left] of outwards.entries()) {
      for (const packet of left) if (packets.length === 1) this.#mapped.learn(packets[0]!, uplink, packet);
    }
    return { passed: outwards.flat().length, answered: inwards!.length };
  }

  #in(packets: Uint8Array[]): Outcome {
    const fallback = Uint8Array.from(uplinkAddresses[0]!.split(".").map(Number));
    for (const { uplink, bytes } of this.#mapped.address(packets, fallback)) this.#send(uplink + 1, bytes);
    const [inwards, ...outwards] = this.#fenced();
    return { passed: inwards!.length, answered: outwards.flat().length };
  }

  /** Sends fences after a step's packets and returns what comes out, by device, until all of them have. */
  #fenced(): Uint8Array[][] {
    this.#sequence++;
    for (const [uplink, { source, mapped }] of this.#fences.entries()) {
      this.#send(inside, fence(source, fenceRemote, this.#sequence));
      this.#send(uplink + 1, fence(fenceRemote, mapped, this.#sequence));
    }
    return this.#until(2 * this.#fences.length);
  }

  /** What comes, without the fences, by device until this step's fences have come. */
  #until(fences: number): Uint8Array[][] {
    const received: Uint8Array[][] = names.map(() => []);
    const deadline = performance.now() + deadlineMs;
    for (let missing = fences; missing > 0; ) {
      if (performance.now() > deadline) throw new Error(`step ${this.#sequence}: ${missing} fences are lost`);
      for (const [device, frames] of this.#loop.turn(100).entries()) {
        for (const packet of frames.flatMap(ipv4Of)) {
          if (device !== inside) this.#judge(device - 1, packet);
          const number = fenceNumber(packet);
          if (number === undefined) received[device]!.push(packet);
          else if (number === this.#sequence) missing--;
        }
      }
    }
    return received;
  }

  #judge(uplink: number, packet: Uint8Array): void {
    const source = packet.subarray(12, 16).join(".");
    this.#left++;
    if (source === uplinkAddresses[uplink]) return;
    this.#foreign++;
    if (/^(10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(source)) this.#private++;
  }

  /** A flow on each uplink, found by trying ports. */
  #findFences(): void {
    for (let tries = 0; tries < fenceTries; tries++) {
      const source = `${client1}:${firstFencePort + tries}`;
      this.#send(inside, fence(source, fenceRemote, 0));
      const deadline = performance.now() + deadlineMs;
      for (let found = false; !found; ) {
        if (performance.now() > deadline) throw new Error("nothing gets through the router");
        for (const [device, frames] of this.#loop.turn(100).entries()) {
          for (const packet of frames.flatMap(ipv4Of)) {
            if (fenceNumber(packet) !== 0 || device === inside) continue;
            found = true;
            const left = parse(packet);
            this.#fences[device - 1] ??= { source, mapped: `${left.source}:${left.sourcePort}` };
          }
        }
      }
      if (this.#fences[0] !== undefined && this.#fences[1] !== undefined) return;
    }
    throw new Error(`${fenceTries} flows found but one uplink`);
  }

  #send(device: number, packet: Uint8Array): void {
    const { inside: lan, uplinks } = this.#plan.routerMacs;
    const to = Buffer.from((device === inside ? lan : uplinks[device - 1]!).replaceAll(":", ""), "hex");
    this.#loop.send(device, concat(new Uint8Array(10), to, this.#links[device]!.mac, words(0x0800), packet));
  }
}

function fence(source: string, destination: string, sequence: number): Uint8Array {
  return udp({ source, destination, data: concat(fenceMark, words(sequence >>> 16, sequence & 0xffff)) });
}

function fenceNumber(packet: Uint8Array): number | undefined {
  const at = 28 + fenceMark.length;
  if (packet[9] !== 17 || packet.length !== at + 4) return undefined;
  if (Buffer.compare(packet.subarray(28, at), fenceMark) !== 0) return undefined;
  return new DataView(packet.buffer, packet.byteOffset + at).getUint32(0);
}

/** The IPv4 packet of a frame with its vnet header; none for ARP and the like. */
function ipv4Of(frame: Uint8Array): Uint8Array[] {
  const isIpv4 = frame.length >= 44 && frame[22] === 8 && frame[23] === 0;
  return isIpv4 ? [frame.slice(24)] : [];
}

const plan = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Plan;
process.stdout.write(JSON.stringify(new Replay(plan).run()));
